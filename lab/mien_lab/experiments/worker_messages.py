"""What a comparison and its workers say to each other.

Enters: nothing; these are the types, apart from the worker, whose module is a program's main.
"""

from dataclasses import dataclass

from mien_lab.corpora.corpus import Corpus

from .config import Config
from .outcome import Outcome


@dataclass(frozen=True)
class Material:
    """What a worker is given first."""

    corpus: Corpus
    config: Config


@dataclass(frozen=True)
class Ready:
    """It has its material, and waits for jobs."""


@dataclass(frozen=True)
class Advance:
    """Rounds of the job done, and how many there are at most."""

    done: int
    total: int


@dataclass(frozen=True)
class Ended:
    """The job is done."""

    outcome: Outcome


@dataclass(frozen=True)
class Broke:
    """The job could not be done; one sentence for a person."""

    reason: str


Message = Ready | Advance | Ended | Broke
