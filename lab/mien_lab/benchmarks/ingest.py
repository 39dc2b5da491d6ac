"""Benchmarks: how many frames ``mien agent ingest`` takes in a second of one core's time, beside its peers.

Against bare MediaPipe FaceLandmarker: the peer gets the clip decoded beforehand, and its start-up is not
counted; it is timed in the public calls alone, with the same options. So the ratio is what decoding,
confinement, our start-up, features and the session's files cost. Both are held to one core, and timed by
the processor's clock: what else runs on the machine then counts for neither. Turns alternate.

Against py-feat: its published figure, which was not measured here.
"""

import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien_client.ingest import ingest
from mien_client.site import Site, SiteSettings
from mien_common.files import make_folder
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.mien_command import follow
from mien_lab.puppet import PuppetSettings, make_puppets

CLIP_S: Final = 80.0
REPEATS: Final = 3
GOAL: Final = 0.85
PYFEAT_FRAMES_PER_S: Final = 9.0
"""Published for py-feat 2 on a CPU."""
PYFEAT_GOAL: Final = 6.0


@dataclass(frozen=True)
class _Speed:
    """Frames per second, by two clocks."""

    of_core_time: float
    of_wall_time: float


def ingest_speed(folder: Path, say: Say) -> tuple[Figure, Figure]:
    """Medians over the turns: against bare FaceLandmarker by core time, against py-feat by wall time."""
    clip = _clip(folder, say)
    ours, bare = [], []
    with _one_core():
        for turn in range(REPEATS):
            ours.append(_ingest(clip, folder / f"site-{turn}"))
            bare.append(_bare(clip))
            say(
                f"  turn {turn + 1} of {REPEATS}: {ours[-1].of_core_time:.0f} against "
                f"{bare[-1].of_core_time:.0f} frames/s of core time, {ours[-1].of_wall_time:.0f} against "
                f"{bare[-1].of_wall_time:.0f} by the clock on the wall"
            )
    against_bare = figure(
        *("ingest-speed", statistics.median(speed.of_core_time for speed in ours), "frames/s of core time"),
        "bare MediaPipe FaceLandmarker",
        *(statistics.median(speed.of_core_time for speed in bare), GOAL, "higher"),
    )
    against_pyfeat = figure(
        *("ingest-against-pyfeat", statistics.median(speed.of_wall_time for speed in ours), "frames/s"),
        "py-feat 2 on a CPU, as published, not measured here",
        *(PYFEAT_FRAMES_PER_S, PYFEAT_GOAL, "higher"),
    )
    return against_bare, against_pyfeat


def _clip(folder: Path, say: Say) -> Path:
    say(f"  making a clip of {CLIP_S:g} s ...")
    puppets = PuppetSettings(participants=1, sessions=1, seconds=CLIP_S)
    (clip,) = make_puppets(puppets, folder / "clip", None, lambda _done, _total: None).videos
    return clip


@contextmanager
def _one_core() -> Iterator[None]:
    """Holds this process, and what it starts, to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _ingest(clip: Path, folder: Path) -> _Speed:
    site = Site(make_folder(folder), SiteSettings(name="bench", server="localhost:1"))
    started, used = time.monotonic(), _core_seconds()
    done = ingest(site, clip, None, held_out=False, csv=False, progress=lambda _done, _total: None)
    return _Speed(done.frames / (_core_seconds() - used), done.frames / (time.monotonic() - started))


def _core_seconds() -> float:
    """Of this process and of those it started that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _bare(clip: Path) -> _Speed:
    (line,) = follow([sys.executable, "-m", "mien_lab.benchmarks.ingest", str(clip)])
    core, wall = line.split()
    return _Speed(float(core), float(wall))


def main() -> None:
    """``python -m mien_lab.benchmarks.ingest CLIP``: print the bare landmarker's frames/s, by both clocks."""
    import numpy as np

    from mien_client.face.confinement import confine
    from mien_client.face.landmarks import Landmarker
    from mien_client.sources import open_source

    with open_source(Path(sys.argv[1])) as video:
        frames = [
            (round(frame.time_s * 1000), np.ascontiguousarray(frame.bgr[..., ::-1]))
            for frame in video.frames()
        ]
    sys.stdout.flush()
    # Bare, but MediaPipe gets no network here either.
    confine(extra_memory_bytes=sum(rgb.nbytes for _, rgb in frames))
    with Landmarker() as landmarker:
        started, used = time.monotonic(), time.process_time()
        for timestamp_ms, rgb in frames:
            landmarker.detect(rgb, timestamp_ms)
        core, wall = time.process_time() - used, time.monotonic() - started
    sys.stdout.write(f"{len(frames) / core} {len(frames) / wall}\n")


if __name__ == "__main__":
    main()
