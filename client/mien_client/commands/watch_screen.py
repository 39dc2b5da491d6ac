"""What ``mien agent watch`` prints: one calm line that is redrawn, a line a second, or JSON lines.

Enters: what :mod:`mien_client.watch` shows. Leaves: text, to standard output.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mien_common.errors import StorageError
from mien_common.published import ModelCard
from mien_common.schema import AU_CHANNELS, POSE_CHANNELS

from ..face.action_units import EXPERIMENTAL
from ..observations import FaceState
from ..state_words import WORDS
from ..watch_report import Setup, Shown, Summary
from .options import print_json

REDRAW_EVERY_S: Final = 0.1
LINE_EVERY_S: Final = 1.0
LINE_WIDTH: Final = 110
STRONGEST: Final = 4
"""How many action units a line names, the experimental ones left out."""
FAINT: Final = 0.5
"""Intensities below this are not named."""
NO_MODEL: Final = (
    "no model yet, features only: rounds of `mien agent join` bring one; or give a published one with --model"
)


class TextScreen:
    """Words for a person: redrawn in place on a terminal, else a line a second."""

    def __init__(self) -> None:
        self._redraws = (
            sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        )
        self._next_s = 0.0
        self._latency_s = 0.0

    def begin(self, setup: Setup) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        model = "no model" if setup.card is None else model_in_words(setup.card)
        parts = [f"watching {setup.source}, {setup.width}×{setup.height}: {model}", setup.neutral_in_words]
        parts.append(_scaling(setup))
        if not setup.confined:
            parts.append("THE FACE PROCESS IS NOT CONFINED")
        self._line("; ".join(parts))
        if setup.card is None:
            self._line(NO_MODEL)

    def show(self, shown: Shown) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        if shown.latency_s is not None:  # a slow average, so that the figure can be read
            self._latency_s += (
                0.1 * (shown.latency_s - self._latency_s) if self._latency_s else shown.latency_s
            )
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (REDRAW_EVERY_S if self._redraws else LINE_EVERY_S)
        if self._redraws:
            line = in_words(shown, self._latency_s, shutil.get_terminal_size().columns - 1)
            _print(f"\r{line}\x1b[K", end="")
        else:
            _print(in_words(shown, self._latency_s, LINE_WIDTH))

    def notice(self, text: str) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        self._line(text)

    def model(self, card: ModelCard) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        self._line(f"a newer model came: {model_in_words(card)}")

    def end(self, summary: Summary) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        if not summary.frames:
            self._line(f"watched {summary.seconds:.0f} s: no frame came")
            return
        self._line(
            f"watched {summary.seconds:.0f} s: {summary.frames} frames, "
            f"face seen in {100 * summary.with_face / summary.frames:.0f} %, "
            f"predicted in {100 * summary.predicted / summary.frames:.0f} %, {summary.dropped} dropped; "
            f"frame to prediction {summary.latency_ms(0.5)} ms at the median, "
            f"{summary.latency_ms(0.99)} ms for 99 %"
        )

    def _line(self, text: str) -> None:
        """A line of its own, above the one that is redrawn."""
        _print(f"\r{text}\x1b[K" if self._redraws else text)
        self._next_s = 0.0


class JsonScreen:
    """A JSON line per frame, for programs."""

    def begin(self, setup: Setup) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        _print_json(
            "watching",
            source=setup.source,
            width=setup.width,
            height=setup.height,
            model=_model(setup.card),
            neutral=setup.neutral,
            neutral_in_words=setup.neutral_in_words,
            scaled_by=setup.scaled_by,
            confined=setup.confined,
        )
        if setup.card is None:
            self.notice(NO_MODEL)

    def show(self, shown: Shown) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        features, affect = shown.moment.features, shown.moment.affect
        numbers = [None if math.isnan(number) else round(number, 4) for number in features.values.tolist()]
        units = len(AU_CHANNELS)
        _print_json(
            "frame",
            time_s=round(features.time_s, 4),
            state=features.state.name.lower(),
            face=features.face,
            valence=None if affect is None else round(affect[0], 6),
            arousal=None if affect is None else round(affect[1], 6),
            action_units=dict(zip(AU_CHANNELS, numbers[:units], strict=True)),
            pose=dict(zip(POSE_CHANNELS, numbers[units : units + len(POSE_CHANNELS)], strict=True)),
            latency_ms=None if shown.latency_s is None else round(1000 * shown.latency_s, 2),
            rate_hz=round(shown.rate_hz, 1),
            dropped=shown.dropped,
            model=_model(shown.card),
        )

    def notice(self, text: str) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        _print_json("notice", text=text)

    def model(self, card: ModelCard) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        _print_json("model", model=_model(card))

    def end(self, summary: Summary) -> None:
        """See :class:`~mien_client.watch.Screen`."""
        _print_json(
            "done",
            seconds=round(summary.seconds, 2),
            frames=summary.frames,
            with_face=summary.with_face,
            predicted=summary.predicted,
            dropped=summary.dropped,
            latency_ms={"median": summary.latency_ms(0.5), "p99": summary.latency_ms(0.99)},
        )


def _print(text: str, end: str = "\n") -> None:
    with _output():
        print(text, end=end, flush=True)


def _print_json(event: str, **fields: object) -> None:
    with _output():
        print_json(event, **fields)


@contextmanager
def _output() -> Iterator[None]:
    """What goes wrong with standard output, in words: a watch may fill a disk with its lines."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What could not be written must not be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError(
            f"cannot write to standard output: {error.strerror}. Free some space, or pipe it elsewhere."
        ) from error


def in_words(shown: Shown, latency_s: float, width: int) -> str:
    """A frame as a line of at most ``width`` characters; its parts stay at their places.

    The strongest action units come last, as many as there is room for.
    """
    features, affect = shown.moment.features, shown.moment.affect
    state = WORDS[FaceState(features.state)]
    parts = [f"{features.time_s:5.1f} s", f"{'face ' + state if state == 'seen' else state:11}"]
    if affect is not None:
        parts.append(f"valence {affect[0]:+.2f} arousal {affect[1]:+.2f}")
    elif shown.card is not None:
        waits = f"predictions in {math.ceil(shown.moment.wait_s)} s" if shown.moment.wait_s else ""
        parts.append(f"{waits or 'valence   –   arousal   –':27}")
    parts.append(f"{shown.rate_hz:2.0f} frames/s {1000 * latency_s:3.0f} ms")
    if shown.dropped:
        parts.append(f"{shown.dropped} dropped")
    line = "  ".join(parts)
    for number, unit in enumerate(_strongest(features.values.tolist())):
        longer = f"{line}{'  ' if number == 0 else ' '}{unit}"
        if len(longer) > width:
            break
        line = longer
    return line[:width]


def model_in_words(card: ModelCard) -> str:
    """Which model it is."""
    return f"model of run {card.run}, round {card.round}"


def _strongest(values: list[float]) -> list[str]:
    named = sorted(
        (
            (value, name)
            for name, value in zip(AU_CHANNELS, values, strict=False)
            if value >= FAINT and name not in EXPERIMENTAL
        ),
        reverse=True,
    )
    return [f"{name.removesuffix('_r')} {value:.1f}" for value, name in named[:STRONGEST]]


def _scaling(setup: Setup) -> str:
    if setup.scaled_by == "site":
        return "scaled by this site's training sessions"
    return (
        "scaled by this face's own statistics so far, as there is no session to train on, "
        "so predictions begin after 10 s of face"
    )


def _model(card: ModelCard | None) -> dict[str, str | int] | None:
    return None if card is None else {"run": card.run, "round": card.round}
