"""The tables of a paper, in Markdown and LaTeX.

Enters: summaries of contenders and their paired tests. Leaves: text. Both forms are made from one
:class:`Table`, so that they cannot differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mien_common.schema import TARGETS

from .captions import RULES, about, how_to_read
from .config import Config
from .latex import escaped, latex_cell
from .paired_tests import LEVEL, PairedTest, surely_best
from .statistics import Estimate, Summary

UNKNOWN: Final = "–"


@dataclass(frozen=True)
class Cell:
    """A value, and in LaTeX on a line below it, what belongs to it."""

    text: str
    below: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table before it is Markdown or LaTeX."""

    groups: tuple[tuple[str, int], ...]
    """Headings over columns, and how many columns each is over."""
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...]
    """Sentences."""
    label: str
    names: int = 2
    """How many columns from the left are names."""


def ccc_table(
    config: Config,
    summaries: Sequence[Summary],
    tests: Sequence[PairedTest],
    note: str,
    partial: str | None,
) -> Table:
    """A row per model × method: CCC by both rules with spread and interval, and the worst site.

    Parameters
    ----------
    partial : what is missing, where something is.
    """
    best = {target: surely_best(summaries, tests, target) for target in TARGETS}
    rows = []
    for one in summaries:
        cells = [Cell(one.contender.model), Cell(one.contender.method), Cell(str(one.persons), _defined(one))]
        for target in TARGETS:
            for rule in RULES:
                bold = rule == "mean_over_recordings" and best[target] is one.contender
                cells.append(_estimate_cell(one.estimates[rule, target], bold))
            worst = one.worst[target]
            cells.append(Cell(number(worst.ccc), f"({worst.group})" if worst.group else ""))
        rows.append(tuple(cells))
    return Table(
        groups=(("", 3), *((f"{target}, CCC", 3) for target in TARGETS)),
        header=("model", "method", "people", *(*RULES.values(), "worst site") * len(TARGETS)),
        rows=tuple(rows),
        caption=(*about(config, note, partial), *how_to_read(config, summaries)),
        label="tab:ccc",
    )


def paired_table(
    config: Config,
    summaries: Sequence[Summary],
    tests: Sequence[PairedTest],
    note: str,
    partial: str | None,
) -> Table:
    """A row per pair of contenders and target."""
    several = len({one.contender.model for one in summaries}) > 1
    rows = [
        (
            Cell(test.target),
            Cell(test.a.name if several else test.a.method),
            Cell(test.b.name if several else test.b.method),
            Cell(str(test.pairs)),
            Cell(number(test.difference, sign=True)),
            Cell(f"{test.gain} / {test.lose}"),
            Cell(number(test.rank_biserial, digits=2, sign=True)),
            Cell(p_value(test.p_permutation)),
            Cell(p_value(test.adjusted_permutation), bold=test.adjusted_permutation < LEVEL),
            Cell(p_value(test.p_wilcoxon)),
            Cell(p_value(test.adjusted_wilcoxon), bold=test.adjusted_wilcoxon < LEVEL),
        )
        for test in tests
    ]
    reasons = sorted({test.why_undefined for test in tests if test.why_undefined is not None})
    return Table(
        groups=(("", 4), ("b − a", 3), ("sign flips", 2), ("Wilcoxon", 2)),
        header=("target", "a", "b", "people", "mean", "gain / lose", "r", "p", "p, Holm", "p", "p, Holm"),
        rows=tuple(rows),
        caption=(
            *about(config, note, partial),
            "Each person's CCC (mean over their recordings and over seeds) under b minus that under a.",
            "Sign flips: permutation test of the mean difference; Wilcoxon: signed-rank test; two-sided.",
            "r: matched-pairs rank-biserial correlation, −1 (everyone loses by b) to 1 (everyone gains).",
            f"Holm: adjusted over all pairs on that target with a p value; bold below {LEVEL:g}.",
            *(f"{UNKNOWN}: no test, {reason}." for reason in reasons),
            "Models tested on different people share most of their training people, so the p values are "
            "approximate.",
        ),
        label="tab:tests",
        names=3,
    )


def markdown(table: Table) -> str:
    """The caption, then the table."""
    caption = " ".join(_markdown_text(sentence) for sentence in table.caption)
    return f"{caption}\n\n{markdown_rows(table)}"


def markdown_list(sentences: Sequence[str]) -> str:
    """A caption, a line for each sentence."""
    return "\n".join(f"- {_markdown_text(sentence)}" for sentence in sentences)


def markdown_rows(table: Table) -> str:
    """The table without its caption."""
    over = [name for name, width in table.groups for _ in range(width)]
    heads = [
        f"{group}: {name}" if group and not name.startswith(group) else name
        for group, name in zip(over, table.header, strict=True)
    ]
    align = [":--"] * table.names + ["--:"] * (len(heads) - table.names)
    lines = [
        _markdown_row([_markdown_text(head) for head in heads]),
        _markdown_row(align),
        *(_markdown_row([_markdown_cell(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """A ``table*`` for the packages booktabs and graphicx, escaped, with a small line for what is below."""
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{' '.join(escaped(sentence) for sentence in table.caption)}}}",
        rf"\label{{{table.label}}}",
        r"\vskip 4pt",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_latex_groups(table.groups),
        " & ".join(escaped(head) for head in table.header) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        lines.append(" & ".join(latex_cell(cell.text, cell.bold) for cell in row) + r" \\")
        if any(cell.below for cell in row):
            small = [rf"{{\scriptsize {escaped(cell.below)}}}" if cell.below else "" for cell in row]
            lines.append(" & ".join(small) + r" \\[2pt]")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}"]) + "\n"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """With a real minus sign; a dash for what is not known."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "").replace("+", "")


def p_value(p: float) -> str:
    """Three digits, or that it is smaller."""
    if not math.isfinite(p):
        return UNKNOWN
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _estimate_cell(found: Estimate, bold: bool) -> Cell:
    mean = number(found.mean)
    if math.isfinite(found.mean) and math.isfinite(found.sd):
        mean += f" ± {number(found.sd)}"
    interval = found.interval
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return Cell(mean, f"[{number(interval.low)}, {number(interval.high)}]" if known else "", bold)


def _defined(one: Summary) -> str:
    """Of how many people a CCC of valence, of arousal is defined; nothing where of all."""
    if not any(one.undefined):
        return ""
    return f"(CCC: {', '.join(str(one.persons - missing) for missing in one.undefined)})"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(cell.text)
    text = f"**{text}**" if cell.bold and text else text
    return f"{text} {_markdown_text(cell.below)}".rstrip() if cell.below else text


def _markdown_text(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "`", "<", "$"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _latex_groups(groups: Sequence[tuple[str, int]]) -> list[str]:
    heads, rules, column = [], [], 1
    for name, width in groups:
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    return [" & ".join(heads) + r" \\", " ".join(rules)] if rules else []
