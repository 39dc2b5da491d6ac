"""Benchmarks: each measures us and a peer in the same session, and prints the ratio.

Enters: nothing but this machine. Leaves: printed lines and ``bench.json``, a list of
``{name, value, unit, peer, peer_value, ratio, goal, better}``. ``ratio`` says how many times better than
the peer we are; ``goal`` is the least it should be. Timings on a shared machine are noisy, so a missed
goal is reported, never a failed test.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mien_common.files import write_atomic


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its peer's."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float
    """How many times better we are: above 1 is better, whichever way the unit runs."""
    goal: float
    better: Literal["higher", "lower"]

    @property
    def reached(self) -> bool:
        """Whether the ratio is at least the goal."""
        return self.ratio >= self.goal


def figure(
    name: str,
    value: float,
    unit: str,
    peer: str,
    peer_value: float,
    goal: float,
    better: Literal["higher", "lower"],
) -> Figure:
    """A figure with its ratio worked out."""
    ratio = value / peer_value if better == "higher" else peer_value / value
    return Figure(name, round(value, 4), unit, peer, round(peer_value, 4), round(ratio, 3), goal, better)


Say = Callable[[str], None]
Benchmark = Callable[[Path, Say], Figure | tuple[Figure, ...]]


def benchmarks() -> Mapping[str, Benchmark]:
    """Every benchmark by name; each takes a folder to work in."""
    from mien_lab.benchmarks.ingest import ingest_speed
    from mien_lab.benchmarks.memory import ingest_memory
    from mien_lab.benchmarks.rounds import round_overhead
    from mien_lab.benchmarks.simulation import simulation
    from mien_lab.benchmarks.synthetic import synthetic_federation
    from mien_lab.benchmarks.training import training_speed
    from mien_lab.benchmarks.watch import watch_latency

    return {
        "round-overhead": round_overhead,
        "ingest-speed": ingest_speed,
        "ingest-memory": ingest_memory,
        "watch-latency": watch_latency,
        "training-speed": training_speed,
        "synthetic-federation": synthetic_federation,
        "simulation": simulation,
    }


def write_figures(path: Path, figures: list[Figure]) -> None:
    """Write ``bench.json``; figures of other benchmarks already in it are kept."""
    kept: dict[str, object] = {}
    if path.exists():
        kept = {entry["name"]: entry for entry in json.loads(path.read_text())}
    kept |= {found.name: asdict(found) for found in figures}
    write_atomic(path, (json.dumps(list(kept.values()), indent=2) + "\n").encode())
