"""The corpus that a configuration names.

Enters: ``[corpus]`` of a comparison's TOML. Leaves: its :class:`~mien_lab.corpora.corpus.Corpus`.
"""

from pathlib import Path

from mien_common.errors import SettingsError
from mien_lab.experiments.config import CorpusChoice

from .corpus import Corpus


def open_corpus(choice: CorpusChoice, base: Path, *, cache: Path | None = None) -> Corpus:  # noqa: ARG001
    """Read or make the corpus.

    Parameters
    ----------
    base : folder of the configuration, from which ``choice.path`` is seen.
    cache : folder in which made data are kept for the next time; under ``base`` when None.

    Raises
    ------
    SettingsError
        ``choice`` lacks a value that its kind needs, or has one it does not know.
    InputError
        The data cannot be used; the message names the file and the field.
    """
    if choice.kind == "synthetic":
        from .synthetic import make_synthetic

        return make_synthetic(seed=choice.seed, participants=choice.participants or 20)
    path = _path(choice, base)
    match choice.kind:
        case "csv":
            from .csv_pair import read_csv

            return read_csv(path)
    raise SettingsError(f"corpus.kind: there is no reader of {choice.kind} yet.")


def _path(choice: CorpusChoice, base: Path) -> Path:
    if choice.path is None:
        raise SettingsError(f"corpus.path is missing: the folder of the {choice.kind} data.")
    return base / choice.path
