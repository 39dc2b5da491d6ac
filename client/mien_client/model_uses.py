"""What a published model can be used for: a live stream, or a trace of a recording.

Enters: a model's card. Leaves: nothing, or one clear error before anything is read or opened.
"""

from pathlib import Path

from mien_common.errors import ModelError
from mien_common.published import ModelCard


def check_live(card: ModelCard, model: Path) -> None:
    """Whether the model can follow a stream frame by frame.

    Raises
    ------
    ModelError
        It needs a whole recording.
    """
    if card.architecture.streams:
        return
    rest = (
        "`mien agent predict` uses it on a recording; live, use a unidirectional model."
        if card.architecture.predicts == "frames"
        else "Live, use a unidirectional model that predicts frames."
    )
    raise ModelError(f"{_named(card, model)} needs a whole recording, so it cannot be watched live. {rest}")


def check_traces(card: ModelCard, model: Path) -> None:
    """Whether the model gives a pair per frame, as a trace needs.

    Raises
    ------
    ModelError
        It gives one per window.
    """
    if card.architecture.predicts == "frames":
        return
    raise ModelError(
        f"{_named(card, model)} gives one pair per window of an experiment, and no trace of a recording. Use "
        "a model that predicts frames, as every one of `mien server run` does."
    )


def _named(card: ModelCard, model: Path) -> str:
    return f"the model in {model} (run {card.run}, round {card.round}: {card.architecture.in_words})"
