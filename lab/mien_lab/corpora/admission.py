"""What every corpus must be before anything is fitted to it.

Enters: a reader's recordings. Leaves: a :class:`~mien_lab.corpora.corpus.Corpus`, or one sentence with the
file and the field that is wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.errors import FeatureFileError, InputError, RatingsError

from .corpus import Corpus, Partition, RatedRecording

_SAME_RATE: Final = 0.01


def admit(
    name: str,
    channels: tuple[str, ...],
    rate_hz: float,
    recordings: Sequence[RatedRecording],
    *,
    partitions: Mapping[str, Partition] | None = None,
    note: str = "",
) -> Corpus:
    """The corpus, when all of it can be used.

    Raises
    ------
    FeatureFileError
        A recording has other channels, or a participant no frame with a face.
    RatingsError
        A recording has neither raters nor a gold standard, or a rating outside −1 to 1.
    InputError
        There is no recording, or two have one name.
    """
    if not recordings:
        raise InputError(f"{name}: there is no recording in it.")
    twice = [each for each, times in Counter(r.name for r in recordings).items() if times > 1]
    if twice:
        paths = [str(r.source) for r in recordings if r.name == twice[0]]
        raise InputError(f"two recordings are called {twice[0]}: {' and '.join(paths[:2])}. Rename one.")
    for recording in recordings:
        _check(recording, channels)
    for person in dict.fromkeys(recording.participant for recording in recordings):
        own = [recording for recording in recordings if recording.participant == person]
        if not any(recording.valid.any() for recording in own):
            raise FeatureFileError(
                f"{own[0].source}: participant {person} has no frame in which the face was measured. "
                "Leave their files out, or extract them again."
            )
    note = "; ".join(filter(None, [note, in_one_note(lacking_raters(recordings))]))
    return Corpus(name, channels, rate_hz, tuple(recordings), dict(partitions or {}), note)


def lacking_raters(recordings: Sequence[RatedRecording]) -> list[str]:
    """A note for each recording without ratings of somebody who rated most of the others.

    Its gold standard is of fewer people: often meant so, sometimes a file that lost a column.
    """
    rated = Counter(rater for recording in recordings for rater in recording.raters)
    usual = [rater for rater, times in rated.items() if 2 * times > len(recordings)]
    lacking = [(each.name, [rater for rater in usual if rater not in each.raters]) for each in recordings]
    return [
        f"{name}: no ratings by {', '.join(raters)}, who rated most recordings"
        for name, raters in lacking
        if raters
    ]


def _check(recording: RatedRecording, channels: tuple[str, ...]) -> None:
    source, ratings = recording.source, recording.ratings
    if recording.features.shape[1] != len(channels):
        raise FeatureFileError(
            f"{source} has {recording.features.shape[1]} channels, the corpus {len(channels)}. "
            "Files of two schemas cannot be compared; keep them in two folders."
        )
    if not recording.raters and recording.gold is None:
        raise RatingsError(f"{source}: recording {recording.name} has neither raters nor a gold standard.")
    given = [ratings] if recording.gold is None else [ratings, recording.gold]
    if any(bool((np.abs(each) > 1.0).any()) for each in given):
        raise RatingsError(f"{source}: recording {recording.name} has ratings outside −1 to 1. Rescale them.")


def require_same_channels(
    first_path: Path, first: Sequence[str], path: Path, channels: Sequence[str]
) -> None:
    """Raise FeatureFileError, with the file and the channel, where two files are of two schemas."""
    if list(first) == list(channels):
        return
    lacking = [name for name in first if name not in channels]
    more = [name for name in channels if name not in first]
    what = f"has no {lacking[0]}" if lacking else f"has {more[0]} besides" if more else "has another order"
    raise FeatureFileError(
        f"{path} is of another schema than {first_path}: it {what} ({len(channels)} and {len(first)} "
        "channels). Keep them in two folders."
    )


def require_same_rate(first_path: Path, first_hz: float, path: Path, rate_hz: float) -> None:
    """Raise FeatureFileError where two files have frames at two rates."""
    if abs(rate_hz - first_hz) > _SAME_RATE * first_hz:
        raise FeatureFileError(
            f"{path} has {rate_hz:g} rows a second and {first_path} {first_hz:g}. "
            "All recordings of a corpus need one rate."
        )


def in_one_note(notes: Sequence[str], limit: int = 6) -> str:
    """What was said of single recordings (``NAME: …``), the same of several said once, in one line."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for note in notes:
        name, colon, said = note.partition(": ")
        names[said if colon else note] += [name] if colon else []
    lines = [f"{said} ({_listed(who)})" if who else said for said, who in names.items()]
    more = f"; and {len(lines) - limit} more" if len(lines) > limit else ""
    return "; ".join(lines[:limit]) + more


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", … {len(names)} recordings" if len(names) > 3 else "")
