"""``mien agent calibrate``: a participant's neutral face, kept for all their sessions."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, SiteOption, UnconfinedOption, print_json, progress_bar, ready_for_frames

if TYPE_CHECKING:
    from ..participants import Calibration
    from ..resting_face import RestingFace
    from ..site import Site
    from ..sources import RawFormat


def calibrate(
    source: Annotated[
        str,
        typer.Argument(
            help="A camera's number or /dev/video*, a video file or folder of pictures, an rtsp:// address, "
            "or - for raw frames on standard input."
        ),
    ],
    participant: Annotated[
        str, typer.Option(metavar="NAME", help="Whose face it is; a code like p-07, no real name.")
    ],
    site: SiteOption = Path(),
    seconds: Annotated[
        float, typer.Option(min=5.0, max=120.0, help="How long to look at the resting face.")
    ] = 10.0,
    raw: Annotated[
        str | None, typer.Option(help="Size and rate of raw BGR frames, as WIDTHxHEIGHT@RATE.")
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option("--rate-hz", help="Frames a second to ask a camera for, or of a folder.")
    ] = None,
    unconfined: UnconfinedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a participant's neutral face: 10 s of looking calmly into the camera, without speaking.

    It is kept as 17 numbers in the site's folder and subtracted from this participant's action units in
    all later recordings (--participant NAME). Without it, each recording's first minute has to do.
    """
    from ..participants import calibration_file, write_calibration
    from ..site import open_site
    from ..sources import RawFormat, needs_network

    opened = open_site(site)
    earlier = calibration_file(opened, participant).exists()
    form = RawFormat.parse(raw) if raw is not None else None
    confined = ready_for_frames(unconfined, needs_network=needs_network(source))
    with progress_bar(f"look calmly into the camera, {seconds:g} s", as_json) as progress:
        measured, calibration, name = _measure(
            opened, source, participant, seconds, rate_hz, form, confined, progress
        )
    path = write_calibration(opened, calibration)
    if as_json:
        print_json(
            "done",
            participant=participant,
            file=str(path),
            seconds=calibration.seconds,
            frames=calibration.frames,
            unusual=measured.unusual(),
            units={unit: rest.neutral for unit, rest in calibration.units.items()},
            replaced=earlier,
        )
        return
    print(f"{participant}'s neutral face: {in_words(measured)}, from {name}.")
    if unusual := measured.unusual():
        print(
            f"{' and '.join(unusual)} lay further from an average face than resting faces usually do. If "
            f"{participant} was smiling or frowning, calibrate again."
        )
    print(f"It is kept in {path}" + (" in place of the earlier one." if earlier else "."))


def _measure(
    site: "Site",
    source: str,
    participant: str,
    seconds: float,
    rate_hz: float | None,
    raw: "RawFormat | None",
    confined: bool,
    progress: Callable[[int, int], None],
) -> "tuple[RestingFace, Calibration, str]":
    from ..face.confinement_record import write_face_process_record
    from ..face.process import FaceProcess
    from ..resting_face import measure_rest
    from ..sources import open_source

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    with (
        open_source(source, rate_hz=rate_hz, raw=raw, say=say) as opened,
        FaceProcess(opened.height, opened.width, confined=confined) as face,
    ):
        write_face_process_record(site.state, face.confinement, face.restarts)
        wanted = round(seconds * opened.rate_hz)
        measured = measure_rest(
            face.analyse(opened.frames()), seconds, lambda done: progress(done, max(wanted, done))
        )
        calibration = measured.calibration(participant, "camera" if opened.live else "recording")
        return measured, calibration, opened.name


def in_words(measured: "RestingFace") -> str:
    """What was measured, in half a sentence."""
    from mien_common.schema import AU_CHANNELS

    furthest = sorted(range(len(AU_CHANNELS)), key=lambda unit: -abs(measured.neutral[unit]))[:3]
    away = ", ".join(
        f"{AU_CHANNELS[unit].removesuffix('_r')} {measured.neutral[unit]:+.1f}".replace("-", "−")
        for unit in furthest
    )
    return f"{measured.frames} frames in {measured.seconds:.1f} s; furthest from an average face: {away}"
