"""Benchmark: frames/s of ``mien agent ingest`` against bare MediaPipe FaceLandmarker on the same clip.

The peer decodes the clip beforehand and is timed in the landmarker's calls alone, so the ratio is what
decoding, confinement, features and the session's files cost us. Both are held to one core.
"""

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from mien_client.ingest import ingest
from mien_client.site import Site, SiteSettings
from mien_common.files import make_folder
from mien_lab.bench import Figure, Say, figure
from mien_lab.commands import follow
from mien_lab.puppet import PuppetSettings, make_puppets

CLIP_S: Final = 80.0
REPEATS: Final = 3
GOAL: Final = 0.85


def ingest_speed(folder: Path, say: Say) -> Figure:
    """Median frames/s over three turns each, one after the other."""
    say(f"  making a clip of {CLIP_S:g} s ...")
    puppets = PuppetSettings(participants=1, sessions=1, seconds=CLIP_S)
    (clip,) = make_puppets(puppets, folder / "clip", None, lambda _done, _total: None).videos
    ours, bare = [], []
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # what we start inherits it
    try:
        for turn in range(REPEATS):
            say(f"  turn {turn + 1} of {REPEATS} ...")
            ours.append(_ingest(clip, folder / f"site-{turn}"))
            bare.append(_bare(clip))
    finally:
        os.sched_setaffinity(0, cores)
    return figure(
        *("ingest-speed", statistics.median(ours), "frames/s", "bare MediaPipe FaceLandmarker"),
        *(statistics.median(bare), GOAL, "higher"),
    )


def _ingest(clip: Path, folder: Path) -> float:
    site = Site(make_folder(folder), SiteSettings(name="bench", server="localhost:1"))
    started = time.monotonic()
    done = ingest(site, clip, None, held_out=False, csv=False, progress=lambda _done, _total: None)
    return done.frames / (time.monotonic() - started)


def _bare(clip: Path) -> float:
    (line,) = follow([sys.executable, "-m", "mien_lab.bench_ingest", str(clip)])
    return float(line)


def main() -> None:
    """``python -m mien_lab.bench_ingest CLIP``: print the bare landmarker's frames/s on a clip."""
    import numpy as np

    from mien_client.capture import open_video
    from mien_client.confinement import confine
    from mien_client.landmarks import Landmarker

    with open_video(Path(sys.argv[1])) as video:
        frames = [
            (round(frame.time_s * 1000), np.ascontiguousarray(frame.bgr[..., ::-1]))
            for frame in video.frames()
        ]
    sys.stdout.flush()
    confine()  # bare, but MediaPipe gets no network here either
    with Landmarker() as landmarker:
        started = time.monotonic()
        for timestamp_ms, rgb in frames:
            landmarker.detect(rgb, timestamp_ms)
        seconds = time.monotonic() - started
    sys.stdout.write(f"{len(frames) / seconds}\n")


if __name__ == "__main__":
    main()
