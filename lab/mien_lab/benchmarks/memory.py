"""Benchmark: how much more memory a 30-minute file takes at its peak than a 1-minute one.

Measured from the kernel's own count of the largest resident set (``VmHWM``), of the agent's process and of
its face process, each by itself, in processes that ingest nothing else.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_client.site import Site, SiteSettings
from mien_common.files import make_folder
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.mien_command import follow
from mien_lab.puppet import PuppetSettings, make_puppets
from mien_lab.puppet_avi import MjpegWriter

SHORT_S: Final = 60
LONG_S: Final = 30 * 60
RATE_HZ: Final = 25
SIZE: Final = (320, 240)
"""Memory that grew with the length would grow with frames of any size; small ones are quick."""
MOST_GROWTH_MB: Final = 50.0
_LOOK_EVERY_S: Final = 0.05


def ingest_memory(folder: Path, say: Say) -> tuple[Figure, Figure]:
    """Peak of the long file against the short one's and 50 MB, for each of the two processes."""
    say("  making a clip of a minute and one of half an hour ...")
    pictures = _pictures(folder)
    peaks = {}
    for seconds in (SHORT_S, LONG_S):
        clip = folder / f"{seconds}-s.avi"
        write_repeating(clip, pictures, seconds)
        say(f"  ingesting {seconds} s ...")
        peaks[seconds] = peaks_of_ingest(clip, folder / f"site-{seconds}")
        say(f"  peaks: agent {peaks[seconds][0]:.0f} MB, face process {peaks[seconds][1]:.0f} MB")
    (agent, face), (long_agent, long_face) = peaks[SHORT_S], peaks[LONG_S]
    allowed = f"a {SHORT_S} s file's peak and {MOST_GROWTH_MB:g} MB"
    return (
        figure("ingest-memory-agent", long_agent, "MB", allowed, agent + MOST_GROWTH_MB, 1.0, "lower"),
        figure("ingest-memory-face", long_face, "MB", allowed, face + MOST_GROWTH_MB, 1.0, "lower"),
    )


def write_repeating(path: Path, pictures: list[NDArray[np.uint8]], seconds: float) -> None:
    """A film of ``pictures`` there and back, again and again, so that the face never jumps."""
    there_and_back = pictures + pictures[-2:0:-1]
    height, width = pictures[0].shape[:2]
    with MjpegWriter(path, (width, height), RATE_HZ, 90) as film:
        for picture in islice(cycle(there_and_back), round(seconds * RATE_HZ)):
            film.write(picture)


def peaks_of_ingest(clip: Path, site: Path) -> tuple[float, float]:
    """Largest resident sets in MB of an ingest's process and of its face process."""
    make_folder(site)
    (line,) = follow([sys.executable, "-m", "mien_lab.benchmarks.memory", str(clip), str(site)])
    agent, face = line.split()
    return float(agent), float(face)


def _pictures(folder: Path) -> list[NDArray[np.uint8]]:
    import cv2

    from mien_client.sources import open_source

    puppets = PuppetSettings(participants=1, sessions=1, seconds=10.0)
    (clip,) = make_puppets(puppets, folder / "clip", None, lambda _done, _total: None).videos
    with open_source(clip) as film:
        return [np.asarray(cv2.resize(frame.bgr, SIZE), np.uint8) for frame in film.frames()]


class _FacePeak(threading.Thread):
    """Looks again and again at the peak of this process's child: it is gone before ingest returns."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self.megabytes = max([self.megabytes, *map(_peak_megabytes, _children())])

    def end(self) -> None:
        self._over.set()
        self.join()


def _children() -> Iterator[Path]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread or a child that has just ended
            for child in (task / "children").read_text().split():
                process = Path("/proc", child)
                if b"face.worker" in (process / "cmdline").read_bytes():  # else it is not yet what it will be
                    yield process


def _peak_megabytes(process: Path) -> float:
    try:
        status = (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")] or ["0"]
    return int(peak) / 1000


def main() -> None:
    """``python -m mien_lab.benchmarks.memory CLIP SITE``: ingest, print both processes' peaks in MB."""
    from mien_client.ingest import ingest

    site = Site(Path(sys.argv[2]), SiteSettings(name="bench", server="localhost:1"))
    face = _FacePeak()
    face.start()
    ingest(site, Path(sys.argv[1]), None, held_out=False, csv=True, progress=lambda _done, _total: None)
    face.end()
    sys.stdout.write(f"{_peak_megabytes(Path('/proc/self'))} {face.megabytes}\n")


if __name__ == "__main__":
    main()
