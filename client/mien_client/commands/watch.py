"""``mien agent watch``: a camera's features, valence and arousal, live."""

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, ParticipantOption, UnconfinedOption, ready_for_frames

if TYPE_CHECKING:
    from ..site import Site
    from ..sources import RawFormat


def watch(
    source: Annotated[
        str,
        typer.Argument(
            help="A camera's number or /dev/video*, a video file or folder of pictures (played at its own "
            "pace), an rtsp:// address, or - for raw frames on standard input."
        ),
    ] = "0",
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            envvar="MIEN_SITE_DIR",
            help="The site whose newest model, statistics and calibrations serve; this folder if it is one.",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A published model, instead of the site's newest one.")
    ] = None,
    participant: ParticipantOption = None,
    raw: Annotated[
        str | None, typer.Option(metavar="WxH@RATE", help="Size and rate of raw BGR frames: 640x480@30.")
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option("--rate-hz", help="Frames a second to ask a camera for, or of a folder.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
    as_json: JsonOption = False,
    allow_unconfined: UnconfinedOption = False,
) -> None:
    """Watch a face live: action units, and valence and arousal by the newest model. Ctrl-C ends it.

    Nothing is written to disk. A machine that is too slow drops frames and counts them.
    """
    from ..sources import RawFormat, needs_network

    form = RawFormat.parse(raw) if raw is not None else None
    confined = ready_for_frames(allow_unconfined, needs_network=needs_network(source))
    try:
        _watch(source, site, model, participant, form, rate_hz, seconds, confined, as_json)
    except KeyboardInterrupt:  # before the first frame, or for the second time
        print("stopped", file=sys.stderr)


def _watch(
    source: str,
    site: Path | None,
    model: Path | None,
    participant: str | None,
    raw: "RawFormat | None",
    rate_hz: float | None,
    seconds: float | None,
    confined: bool,
    as_json: bool,
) -> None:
    from ..participants import neutral_for
    from ..site import open_site
    from .watch_screen import JsonScreen, TextScreen

    stop = _Stop()
    opened = open_site(site) if site is not None else _site_here()
    neutral, neutral_in_words = neutral_for(opened, participant)
    from ..watch import What  # only now: it takes seconds to load
    from ..watch import watch as watch_source

    what = What(
        spec=source,
        neutral=neutral,
        neutral_in_words=neutral_in_words,
        site=opened,
        model=model,
        rate_hz=rate_hz,
        raw=raw,
        seconds=seconds,
        confined=confined,
    )
    # What has been loaded stays: searching it for rubbish would hold up a frame now and then.
    gc.collect()
    gc.freeze()
    watch_source(what, JsonScreen() if as_json else TextScreen(), stop)


class _Stop:
    """Whether somebody said Ctrl-C, or the machine goes down: the frame in hand is finished first.

    Until the first frame, and when it is said again, it interrupts.
    """

    def __init__(self) -> None:
        self._watching = self._said = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        self._watching = True
        return self._said

    def _hear(self, _signal: int, _frame: object) -> None:
        if self._said or not self._watching:
            raise KeyboardInterrupt
        self._said = True


def _site_here() -> "Site | None":
    """The site of the working folder, where it is one."""
    from ..site import SETTINGS_FILE, open_site

    return open_site(Path()) if Path(SETTINGS_FILE).exists() else None
