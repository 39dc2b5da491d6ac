"""The corpus that a configuration names.

Enters: ``[corpus]`` of a comparison's TOML. Leaves: its :class:`~mien_lab.corpora.corpus.Corpus`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mien_common.errors import SettingsError
from mien_lab.experiments.config import CorpusChoice

from .corpus import Corpus

_WITH_FEATURE_SETS: Final = ("avec2016", "avec2018", "recola")
_CACHE: Final = "made-data"


def open_corpus(
    choice: CorpusChoice,
    base: Path,
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Corpus:
    """Read or make the corpus.

    Parameters
    ----------
    base : folder of the configuration, from which ``choice.path`` is seen.
    cache : folder in which made data are kept for the next time; ``made-data`` in ``base`` when None.
    progress : called with a stage's name, frames done and frames in all, while puppets are made.

    Raises
    ------
    SettingsError
        ``choice`` names a set of features that its kind does not have.
    InputError
        The data cannot be used; the message names the file and the field.
    """
    if choice.features is not None and choice.kind not in _WITH_FEATURE_SETS:
        raise SettingsError(f"corpus.features: {choice.kind} has one set of features. Leave it out.")
    path = base / (choice.path or _CACHE)  # made data have no path, all others one: CorpusChoice sees to it
    match choice.kind:
        case "recola":
            from .recola import read_recola

            return read_recola(path, choice.features)
        case "avec2016":
            from .avec import read_avec2016

            return read_avec2016(path, choice.features)
        case "avec2018":
            from .avec import read_avec2018

            return read_avec2018(path, choice.features)
        case "openface" | "py-feat":
            from .extracted import read_extracted

            return read_extracted(path, choice.kind)
        case "csv":
            from .csv_pair import read_csv

            return read_csv(path)
        case "sessions":
            from .site_sessions import read_sessions

            return read_sessions(path)
        case "puppet":
            from .puppets import PARTICIPANTS, read_puppets

            people = choice.participants or PARTICIPANTS
            return read_puppets(cache or path, choice.seed, people, progress=progress)
        case "synthetic":
            from .synthetic import make_synthetic

            return make_synthetic(seed=choice.seed, participants=choice.participants or 20)
