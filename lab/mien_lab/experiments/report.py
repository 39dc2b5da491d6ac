"""Everything that is written about a comparison, in one folder.

Enters: a configuration and the outcomes of its runs, all of them or those that there are so far. Leaves: CSV
files, tables in Markdown and LaTeX, plots, and ``summary.md``, which links them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.files import make_folder, write_atomic
from mien_common.schema import TARGETS

from .captions import is_made
from .config import Config
from .outcome import Outcome
from .paired_tests import PairedTest, paired_tests
from .plots import draw_all
from .raters import RatedAgreement, sentences
from .scores import RunScore, contenders, groups_of_recordings, score_runs
from .statistics import Summary, summarise
from .tables import Table, ccc_table, latex, markdown, markdown_list, markdown_rows, number, paired_table
from .tidy import differences_csv, paired_csv, raters_csv, recordings_csv, rounds_csv, runs_csv, table_csv

SUMMARY_FILE: Final = "summary.md"
PLOTS_FOLDER: Final = "plots"

_ABOUT: Final = {
    "table.md": "the table: CCC of every model and method",
    "table.tex": "the same for LaTeX",
    "table.csv": "its numbers",
    "tests.md": "paired tests between all models and methods",
    "tests.tex": "the same for LaTeX",
    "tests.csv": "its numbers",
    "runs.csv": "a row per run, target and rule of CCC",
    "recordings.csv": "a row per run, test recording and target",
    "rounds.csv": "learning curves, a row per run and round",
    "raters.csv": "how far the raters agree with each other, a row per recording and target",
    "differences.csv": "who gains and who loses, a row per person and pair of methods",
}
_MOST_SHOWN: Final = 60
"""Rows of the tests, and notes, that the summary itself shows."""


@dataclass(frozen=True)
class Report:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    """In the order in which a reader wants them; ``summary.md`` first."""
    rows: tuple[Summary, ...] = ()
    """The table's, in its order."""
    tests: tuple[PairedTest, ...] = ()


def write_report(
    out: Path,
    config: Config,
    outcomes: Sequence[Outcome],
    note: str,
    *,
    final: bool,
    raters: Sequence[RatedAgreement] = (),
) -> Report:
    """Write tables, tests and plots of ``outcomes`` into ``out``, over those that are there.

    Parameters
    ----------
    note : what a reader of the results must know, such as that the data are synthetic; the corpus's own.
    final : whether the comparison is over: plots are drawn then. Before, the texts say that they are partial,
        and plots of an earlier comparison stay as they are.
    raters : how far each recording's raters agree; none where nobody is known to have rated.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    runs = score_runs(config, outcomes)
    everyone = contenders(runs)
    rows, tests = summarise(everyone, groups_of_recordings(runs)), paired_tests(everyone)
    partial = _partial(config, runs, final)
    table = ccc_table(config, rows, tests, note, partial)
    tests_as_table = paired_table(config, rows, tests, note, partial)
    texts = {
        "table.md": markdown(table),
        "table.tex": latex(table),
        "table.csv": table_csv(rows),
        "tests.md": markdown(tests_as_table),
        "tests.tex": latex(tests_as_table),
        "tests.csv": paired_csv(tests),
        "runs.csv": runs_csv(config, runs),
        "recordings.csv": recordings_csv(config, runs),
        "rounds.csv": rounds_csv(config, runs),
        "differences.csv": differences_csv(everyone),
        "raters.csv": raters_csv(raters),
    }
    make_folder(out)
    for name, text in texts.items():
        write_atomic(out / name, text.encode())
    remark = " · ".join(["synthetic data"] * is_made(config) + ["partial results"] * (partial is not None))
    plots = draw_all(out / PLOTS_FOLDER, rows, remark) if final else ()
    remarks = _list("Raters", sentences(raters)) + _list("Notes", _notes(runs))
    summary = _summary(config, rows, tests, table, remarks, [*texts], [plot.name for plot in plots])
    write_atomic(out / SUMMARY_FILE, summary.encode())
    return Report(out, (out / SUMMARY_FILE, *(out / name for name in texts), *plots), rows, tests)


def _partial(config: Config, runs: Sequence[RunScore], final: bool) -> str | None:
    """What is missing; a comparison that is over may have holes too, where runs failed."""
    jobs = {run.outcome.job for run in runs}
    folds = len({job.fold for job in jobs})
    expected = len(config.models) * len(config.methods) * len(config.seeds) * folds
    if not final:
        return f"{len(jobs)} runs so far, the comparison is not over"
    if len(jobs) < expected:
        return f"{len(jobs)} of {expected} runs"
    return None


def _summary(
    config: Config,
    rows: Sequence[Summary],
    tests: Sequence[PairedTest],
    table: Table,
    remarks: Sequence[str],
    files: Sequence[str],
    plots: Sequence[str],
) -> str:
    parts = [f"# {config.name}"]
    if is_made(config):
        parts += ["**Synthetic data: made by a program, no evidence about people.**"]
    parts += [markdown_rows(table).rstrip(), markdown_list(table.caption[1:]), *remarks]
    if tests:
        parts += ["## Who gains and who loses", *_gains(config, tests)]
    if any(one.undefined != (0, 0) for one in rows):
        parts += ["Some CCCs are undefined; `recordings.csv` says which and why."]
    parts += ["## Files", "\n".join(f"- [{name}]({name}): {_ABOUT[name]}" for name in files)]
    if plots:
        images = [name for name in plots if name.endswith(".png")]
        parts += ["## Plots", "Each is there as PDF too, for a paper."]
        parts += [f"![{Path(name).stem}]({PLOTS_FOLDER}/{name})" for name in images]
    return "\n\n".join(parts) + "\n"


def _notes(runs: Sequence[RunScore]) -> list[str]:
    """What the runs' data were found to be like, each once, with how many runs it is of."""
    counts = Counter(note for run in runs for note in run.outcome.notes)
    told = [
        f"{note} ({count} run{'s' if count > 1 else ''})."
        for note, count in list(counts.items())[:_MOST_SHOWN]
    ]
    more = len(counts) - len(told)
    return [*told, f"{more} more are in [runs.csv](runs.csv)."] if more else told


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", markdown_list(items)] if items else []


def _gains(config: Config, tests: Sequence[PairedTest]) -> list[str]:
    """A line per pair of a model's methods that has the plain federated one, or the first of all, in it.

    All pairs are in ``tests.csv``, the persons themselves in ``differences.csv``.
    """
    plain = [
        method.name
        for method in config.methods
        if method.kind == "federated" and method.personalisation == "none"
    ]
    reference = [*plain, config.methods[0].name][0]
    within = [
        test
        for test in tests
        if test.a.model == test.b.model and test.pairs and reference in (test.a.method, test.b.method)
    ]
    lines = [
        f"- {test.a.model}, {test.target}: {test.gain} of {test.pairs} people have a higher CCC under "
        f"{test.b.method} than under {test.a.method}, {test.lose} a lower one "
        f"(mean {number(test.difference, sign=True)}{_extremes(test)})."
        for test in within[:_MOST_SHOWN]
    ]
    if len(within) > _MOST_SHOWN:
        lines.append(f"- {len(within) - _MOST_SHOWN} more pairs are in [tests.csv](tests.csv).")
    return ["\n".join(lines)] if lines else ["No two methods of one model were tested on the same people."]


def _extremes(test: PairedTest) -> str:
    column = TARGETS.index(test.target)
    of_a = dict(zip(test.a.persons, test.a.person_ccc[:, column], strict=True))
    of_b = dict(zip(test.b.persons, test.b.person_ccc[:, column], strict=True))
    changes = {who: float(of_b[who] - of_a[who]) for who in of_a if who in of_b}
    known = {who: change for who, change in changes.items() if np.isfinite(change)}
    worst, best = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (
        f"; from {number(known[worst], sign=True)} for {worst} to {number(known[best], sign=True)} for {best}"
    )
