"""Benchmark: from frame to prediction in ``mien agent watch``, at 30 frames/s on one core.

The command itself is run, as a user would, and measured from outside: raw frames are written into it at
a camera's pace, and a frame's time runs from the moment it was due to the moment its JSON line is read.
So the pipe's copying counts, and so does whatever kept the command from taking a frame in time. There is
no peer; the figures stand beside their limits.
"""

import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mien_client.sources import open_source
from mien_common.architecture import Architecture
from mien_common.errors import FederationError
from mien_common.network import build
from mien_common.published import ModelCard, publish
from mien_common.schema import AU_V1
from mien_common.weights import weights_of
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.mien_command import mien
from mien_lab.puppet import PuppetSettings, make_puppets

RATE_HZ: Final = 30.0
WARM_UP_S: Final = 15.0
"""Predictions begin after 10 s of face."""
MEASURED_S: Final = 60.0
START_PATIENCE_S: Final = 60.0
CLIP_FRAMES: Final = 100
"""Shown forwards and backwards; more would only take memory."""
MEDIAN_LIMIT_MS: Final = 40.0
P99_LIMIT_MS: Final = 80.0


def watch_latency(folder: Path, say: Say) -> tuple[Figure, ...]:
    """Median and 99th percentile over a minute, and how many frames were dropped."""
    puppets = PuppetSettings(participants=1, sessions=1, seconds=CLIP_FRAMES / AU_V1.rate_hz + 1)
    (clip,) = make_puppets(puppets, folder / "clip", None, lambda _done, _total: None).videos
    with open_source(clip) as source:
        frames = [frame.bgr.copy() for frame, _ in zip(source.frames(), range(CLIP_FRAMES), strict=False)]
    model = _model(folder / "model")
    say(f"  watching for {WARM_UP_S + MEASURED_S:g} s ...")
    latencies_ms, unpredicted, dropped = _measure(frames, model)
    say(f"  {len(latencies_ms)} frames, {dropped} dropped, {unpredicted} without a prediction")
    limit = "the limit; there is no peer"
    median, worst = statistics.median(latencies_ms), float(np.percentile(latencies_ms, 99))
    return (
        figure("watch-latency", median, "ms", limit, MEDIAN_LIMIT_MS, 1.0, "lower"),
        figure("watch-latency-p99", worst, "ms", limit, P99_LIMIT_MS, 1.0, "lower"),
    )


def _measure(frames: list[NDArray[np.uint8]], model: Path) -> tuple[list[float], int, int]:
    """Milliseconds of each frame after the warm-up; how many had no prediction; how many were dropped."""
    height, width, _ = frames[0].shape
    cores = sorted(os.sched_getaffinity(0))
    command = mien(
        "agent", "watch", "-", "--raw", f"{width}x{height}@{RATE_HZ:g}", "--json", "--model", model
    )
    os.sched_setaffinity(0, cores[:1])  # what we start inherits it
    try:
        watch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        os.sched_setaffinity(0, cores[1:] or cores)
    try:
        reader = _Reader(_pipe(watch.stdout))
        first_s = _feed(_pipe(watch.stdin), frames, reader)
        reader.join()
        if watch.wait(30):
            raise FederationError(f"`mien agent watch` ended with {watch.returncode}")
    except BrokenPipeError as error:
        raise FederationError("`mien agent watch` ended early; what it said stands above") from error
    finally:
        watch.kill()
        watch.wait()
        os.sched_setaffinity(0, cores)
    measured = [(at_s, event) for at_s, event in reader.frames if event["time_s"] >= WARM_UP_S]
    if not measured:
        raise FederationError("`mien agent watch` showed no frame; is the machine very busy?")
    latencies_ms = [1000 * (at_s - first_s - event["time_s"]) for at_s, event in measured]
    unpredicted = sum(event["valence"] is None for _, event in measured)
    return latencies_ms, unpredicted, measured[-1][1]["dropped"] - measured[0][1]["dropped"]


class _Reader(threading.Thread):
    """Notes when each frame's line came."""

    def __init__(self, lines: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._lines = lines
        self.frames: list[tuple[float, dict[str, Any]]] = []
        self.has_begun = threading.Event()
        self.start()

    def run(self) -> None:
        with self._lines:
            for line in self._lines:
                at_s = time.monotonic()
                event = json.loads(line)
                if event["event"] == "frame":
                    self.frames.append((at_s, event))
                    self.has_begun.set()


def _feed(pipe: IO[bytes], frames: list[NDArray[np.uint8]], reader: "_Reader") -> float:
    """Write frames as a camera would give them; the time of the first, by ``time.monotonic``.

    The first is written beforehand, and the clock runs from when its line was read: until then the command
    is still starting.
    """
    content = [frame.tobytes() for frame in frames]
    order = _there_and_back(len(content))
    with pipe:
        pipe.write(content[next(order)])
        pipe.flush()
        if not reader.has_begun.wait(START_PATIENCE_S):
            raise FederationError(f"`mien agent watch` showed nothing within {START_PATIENCE_S:g} s")
        first_s = time.monotonic()
        for number in range(1, round((WARM_UP_S + MEASURED_S) * RATE_HZ)):
            time.sleep(max(first_s + number / RATE_HZ - time.monotonic(), 0.0))
            pipe.write(content[next(order)])
            pipe.flush()
    return first_s


def _there_and_back(count: int) -> Iterator[int]:
    while True:
        yield from range(count)
        yield from range(count - 2, 0, -1)


def _model(folder: Path) -> Path:
    """A model of the usual size; what it predicts does not matter here."""
    architecture = Architecture()
    card = ModelCard(
        schema_name=AU_V1.name,
        channels=AU_V1.channels,
        rate_hz=AU_V1.rate_hz,
        architecture=architecture,
        run="bench",
        round=0,
        created="2026-01-01T00:00:00+00:00",
        sites=(),
        ccc={},
        weights_bytes=0,
        versions={},
        sha256="0" * 64,
    )
    return publish(folder, weights_of(build(architecture, seed=0)), card)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise FederationError("a process without the pipe it was started with")
    return pipe
