"""How every plot looks: for a page 180 mm wide, on white, told apart without colour too.

Enters: names and figures. Leaves: colours, markers, legends, and the content of PNG and PDF files. There is
no pyplot here: a figure belongs to who draws it, and drawing one leaves nothing behind.
"""

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .scores import Contender

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_IN: Final = 7.09
"""180 mm: a page's two columns."""
MOST_ON_A_PAGE: Final = 8
"""As many as have a colour and a marker of their own."""

# Okabe & Ito's colours, which colour-blind readers can tell apart; grey for yellow, which paper swallows.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", ">")
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))
GOLD: Final = "#4D4D4D"
SHADE: Final = "#EEEEEE"

_LOOK: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "legend.frameon": False,
}
_FORMATS: Final[dict[str, dict[str, Any]]] = {
    # Without dates and program names, a plot drawn again is the same file.
    "png": {"dpi": 220, "metadata": {"Software": None}},
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}
FORMATS: Final = tuple(_FORMATS)
_TICK: Final = 26
"""Signs on a line beside an axis."""


@dataclass(frozen=True)
class Shown:
    """A contender on a page."""

    contender: Contender
    label: str
    """What tells it from the others on the page: model, method, or both."""
    tick: str
    """The same for a narrow place, over up to three lines."""
    colour: str
    marker: str
    dash: Any


@dataclass(frozen=True)
class Page:
    """Contenders that share a plot."""

    name: str
    """Goes into file names; empty for the only page."""
    title: str
    """What all of them have in common."""
    remark: str
    """What no reader of the plot may overlook, such as that the data are synthetic."""
    shown: tuple[Shown, ...]


def pages(everyone: Sequence[Contender], remark: str = "", most: int = MOST_ON_A_PAGE) -> tuple[Page, ...]:
    """All on one page where they fit, else a page per model, else as many at a time as fit."""
    if len(everyone) <= most:
        return (_page("", everyone, remark),)
    by_model: dict[str, list[Contender]] = {}
    for one in everyone:
        by_model.setdefault(one.model, []).append(one)
    if all(1 < len(group) <= most for group in by_model.values()):
        return tuple(_page(file_name(model), group, remark) for model, group in by_model.items())
    return tuple(
        _page(str(start // most + 1), everyone[start : start + most], remark)
        for start in range(0, len(everyone), most)
    )


def _page(name: str, group: Sequence[Contender], remark: str) -> Page:
    models, methods = {one.model for one in group}, {one.method for one in group}
    shared = next(iter(models)) if len(models) == 1 else next(iter(methods)) if len(methods) == 1 else ""
    shown = []
    for index, one in enumerate(group):
        label = one.method if len(models) == 1 else one.model if len(methods) == 1 else one.name
        if shared or len(label) <= _TICK:
            tick = wrapped(label, _TICK)
        else:
            tick = f"{shortened(one.model, _TICK)}\n{wrapped(one.method, _TICK)}"
        place = index % MOST_ON_A_PAGE
        shown.append(Shown(one, label, tick, COLOURS[place], MARKERS[place], DASHES[place]))
    return Page(name, shared, remark, tuple(shown))


@contextmanager
def look() -> Iterator[None]:
    """Within it, figures are drawn in this look."""
    import matplotlib

    with matplotlib.rc_context(_LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box in its place says enough
        yield


def new_figure(height_in: float) -> "Figure":
    """An empty one, as wide as a page."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def rendered(figure: "Figure", form: str) -> bytes:
    """The content of a file of ``form``."""
    content = io.BytesIO()
    figure.savefig(content, format=form, **_FORMATS[form])
    return content.getvalue()


def title(figure: "Figure", *parts: str) -> None:
    """Above all, at the left; wrapped where it is long. Names are read as they are, never as formulas."""
    text = " · ".join(part for part in parts if part)
    if text:
        lines = "\n".join(textwrap.wrap(text, 105))
        figure.suptitle(lines, x=0.01, ha="left", fontsize=8.5, parse_math=False)


def legend_below(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all axes, in as many columns as the longest label leaves room for."""
    longest = max((len(label) for label in labels), default=0)
    columns = max(1, min(len(labels), 4, int(118 / (longest + 7))))
    legend = figure.legend(
        handles, [shortened(label, 110) for label in labels], loc="outside lower center", ncols=columns
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def plain_ticks(axis: Any) -> None:
    """Names at ticks are names, whatever signs they hold."""
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        label.set_parse_math(False)


def shortened(name: str, most: int) -> str:
    """At most so many signs of a name, on one line; the middle goes, as names often differ at an end."""
    readable = " ".join(name.encode(errors="replace").decode().split())
    if len(readable) <= most:
        return readable
    start = most // 2
    return f"{readable[:start].rstrip()}…{readable[len(readable) - (most - start - 1) :].lstrip()}"


def wrapped(name: str, width: int) -> str:
    """A name over at most two lines."""
    lines = textwrap.wrap(shortened(name, 2 * width), width)
    return "\n".join(lines) if len(lines) <= 2 else f"{lines[0]}\n{shortened(' '.join(lines[1:]), width)}"


def file_name(name: str) -> str:
    """A name as a part of a file's."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-.+") else "_" for sign in name)
