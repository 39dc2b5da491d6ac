"""Benchmark: seconds of a simulated round against Flower's own simulation engine; memory against the sites.

Both engines do the same work on the same number of processes: the same sites, data, model, windows, steps
and FedAvg, and they must come to the same weights, to rounding; how far apart they are is printed. Flower's
trains each site by the deployed agents' own function, ours a block of sites side by side in the same tensors.
A round's seconds are the median without the first, in which either engine starts; what starting takes is
printed.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.errors import MienError
from mien_common.files import make_folder
from mien_common.weights import Weights, from_safetensors
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.mien_command import run_mien
from mien_lab.simulation import ARCHITECTURE, SimulationSettings, simulate
from mien_server.logs import interrupts_held_back
from mien_server.processes import die_with, end_group, last_line

SITES: Final = 50
ROUNDS: Final = 5
GOAL: Final = 10.0
FEW_SITES: Final = 100
MANY_SITES: Final = 1000
MOST_GROWTH_MB: Final = 30.0
_PATIENCE_S: Final = 600.0
_MOST_APART: Final = 2e-4
"""Rounding, round by round, which Adam makes larger where a gradient is nearly 0; one step of it is 1e-2."""


@dataclass(frozen=True)
class _Engine:
    """What an engine took, round by round, the first left out."""

    rounds: Sequence[float]
    weights: Weights

    @property
    def round_s(self) -> float:
        """A round's usual time."""
        return statistics.median(self.rounds[1:])


def simulation(folder: Path, say: Say) -> tuple[Figure, ...]:
    """Seconds of a round at 50 sites, and peak memory at 1,000 sites against 100."""
    make_folder(folder)
    return (*_speed(folder, say), _memory(say))


def _speed(folder: Path, say: Say) -> tuple[Figure, ...]:
    workers = len(os.sched_getaffinity(0))
    say(f"  ours, {SITES} sites, {ROUNDS} rounds, {workers} processes ...")
    result = simulate(SimulationSettings(sites=SITES, rounds=ROUNDS), workers)
    ours = _Engine([point.seconds for point in result.rounds], result.weights)
    say(f"  start {result.start_s + ours.rounds[0]:.1f} s, first round and all; then {_listed(ours)} s")
    if importlib.util.find_spec("ray") is None:
        say("  Flower's simulation engine needs ray, which is not installed (make setup does it): no figure")
        return ()
    say("  Flower's simulation engine, the same ...")
    peer = _flower(folder, workers)
    say(f"  start {peer.rounds[0]:.1f} s, first round and all; then {_listed(peer)} s")
    apart = max(float(np.abs(array - peer.weights[name]).max()) for name, array in ours.weights.items())
    say(f"  after {ROUNDS} rounds no weight of the two is further apart than {apart:.1e}")
    if apart > _MOST_APART:
        raise MienError(
            f"the two engines' weights are {apart:.1e} apart and may be {_MOST_APART:g} apart, so they did "
            "different work"
        )
    engine = f"Flower's simulation engine, the same {SITES} sites"
    return (figure("simulation", ours.round_s, "s/round", engine, peer.round_s, GOAL, "lower"),)


def _memory(say: Say) -> Figure:
    peaks = {}
    for sites in (FEW_SITES, MANY_SITES):
        say(f"  memory with {sites} sites ...")
        lines = run_mien("lab", "simulate", "--sites", sites, "--rounds", 1, "--json").splitlines()
        done = json.loads(lines[-1])
        peaks[sites] = done["own_peak_mb"] + sum(done["workers_peak_mb"])
        say(f"  {peaks[sites]:.0f} MB in {1 + len(done['workers_peak_mb'])} processes")
    few = peaks[FEW_SITES]
    allowed = f"{FEW_SITES} sites' peak and {MOST_GROWTH_MB:g} MB"
    return figure("simulation-memory", peaks[MANY_SITES], "MB", allowed, few + MOST_GROWTH_MB, 1.0, "lower")


def _flower(folder: Path, processes: int) -> _Engine:
    from . import flower_simulation as peer

    log_file = folder / "flower.log"
    # Ray puts sockets into its folder, and a socket's path may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="mien-") as short, log_file.open("wb") as output:
        command = [sys.executable, "-m", peer.__name__, str(SITES), str(ROUNDS), str(processes), short]
        code = _run(command, {**os.environ, **_QUIET, "HOME": short}, output.fileno())
        try:
            weights = from_safetensors((Path(short) / peer.WEIGHTS).read_bytes(), ARCHITECTURE)
            return _Engine(json.loads((Path(short) / peer.SECONDS).read_text()), weights)
        except FileNotFoundError:
            said = last_line(log_file)
            raise MienError(f"Flower's simulation engine ended with {code}: {said}") from None


_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "FLWR_TELEMETRY_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}
"""Nothing is told to their makers; one thread per process, as in ours."""


def _run(command: Sequence[str], environment: dict[str, str], output: int) -> int:
    """Run to the end, or end it and all it started."""
    with interrupts_held_back():
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
    try:
        return process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        end_group(process.pid, leader=process)


def _listed(engine: _Engine) -> str:
    return ", ".join(f"{seconds:.2f}" for seconds in engine.rounds[1:])
