"""Benchmark: pure overhead of a federated round, our resident agent against Flower's own SuperNode.

Both run the same ClientApp on the same sites against the same kind of server: TLS, node keys,
``--database``, three sites, a few frames to train on. Only the client side's process model differs.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from mien_client.features import Features
from mien_client.sessions import Session, session_record, write_session
from mien_common.schema import AU_V1
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.federation import Federation

SITES: Final = ("site-1", "site-2", "site-3")
FRAMES: Final = 50
OUR_ROUNDS: Final = 20
STOCK_ROUNDS: Final = 4
GOAL: Final = 8.0


def round_overhead(folder: Path, say: Say) -> Figure:
    """Median seconds of a train-only round, the first left out: its start-up is not a round's cost."""
    say(f"  our agents, {OUR_ROUNDS} rounds ...")
    ours = _seconds(folder / "ours", Federation.join, OUR_ROUNDS)
    say(f"  stock flower-supernode, {STOCK_ROUNDS} rounds ...")
    stock = _seconds(folder / "stock", Federation.join_stock, STOCK_ROUNDS)
    return figure(
        "round-overhead", ours, "s/round", "the same ClientApp under flower-supernode", stock, GOAL, "lower"
    )


def write_trivial_session(sessions: Path, seed: int, *, held_out: bool = False) -> None:
    """A session of noise: enough to run a round's whole path, next to nothing to compute."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(FRAMES, len(AU_V1.channels))).astype(np.float32)
    ratings = generator.uniform(-1, 1, size=(FRAMES, 2)).astype(np.float32)
    clock, always = np.arange(FRAMES) / AU_V1.rate_hz, np.ones(FRAMES, bool)
    features = Features(clock, values, always, np.zeros(FRAMES, np.uint8), np.zeros(FRAMES, np.int32))
    record = session_record(
        session_id=f"noise-{seed}",
        features=features,
        rated=True,
        held_out=held_out,
        source=Path("noise"),
        source_sha256="0" * 64,
        neutral="running",
        features_from="mediapipe",
        confined=True,
    )
    write_session(sessions, Session(record, features, ratings))


def _seconds(folder: Path, join: Callable[[Federation, tuple[str, ...]], None], rounds: int) -> float:
    with Federation(folder) as federation:
        federation.create(dict.fromkeys(SITES, 0.0))
        for seed, name in enumerate(SITES):
            write_trivial_session(federation.site(name) / "sessions", seed)
        federation.up()
        join(federation, SITES)
        events = federation.run(
            *(
                "--rounds",
                rounds,
                "--quorum",
                len(SITES),
                "--no-evaluate",
                "--local-epochs",
                1,
                "--window-s",
                1,
            )
        )
        times = [event["seconds"]["total"] for event in events if event["event"] == "round"]
    return float(statistics.median(times[1:]))
