"""The synthetic benchmark's figures follow from what was predicted."""

from dataclasses import replace

import numpy as np
import pytest

from mien_lab.benchmarks.synthetic import figures_of
from mien_lab.corpora.synthetic import Planted, make_person
from mien_lab.experiments.outcome import Job, Outcome, Scored

CLOCK_S = np.arange(200) / 25
GOLD = np.stack([np.sin(CLOCK_S), np.cos(CLOCK_S)], axis=1).astype(np.float32)
EVERY = np.ones(len(GOLD), bool)


def outcome(method: str, seed: int, offsets: tuple[float, float]) -> Outcome:
    """Two sites whose predictions are right but for a bias."""
    scored = tuple(
        Scored(f"P{site}-3", f"P{site}", None, GOLD + np.float32(offset), GOLD, EVERY)
        for site, offset in enumerate(offsets)
    )
    job = Job("GRU", method, seed, "sessions")
    return Outcome(job, scored, (), 1, {"all": (2.6, 3.0)}, "", 1, 1.0, "cpu")


def biased(offset: float) -> float:
    """Mean CCC of a trace and itself moved: 2σ² / (2σ² + offset²) (Lin, 1989, equation 1)."""
    variance = np.var(GOLD.astype(float), axis=0)
    return float(np.mean(2 * variance / (2 * variance + offset**2)))


def test_figures_compare_means_worst_sites_and_lags() -> None:
    offsets = {  # of each seed's two sites
        "centralised": ((0.0, 0.2), (0.0, 0.2)),
        "federated": ((0.1, 0.5), (0.3, 0.1)),
        "local only": ((1.0, 1.0), (1.0, 1.0)),
        "fine-tuned": ((0.1, 0.2), (0.2, 0.2)),
    }
    people = tuple(replace(make_person(1, number), lag_s=lag) for number, lag in enumerate((2.5, 3.0)))
    said: list[str] = []
    outcomes = {
        method: [outcome(method, seed, sites) for seed, sites in enumerate(seeds, start=1)]
        for method, seeds in offsets.items()
    }
    figures = {found.name: found for found in figures_of(outcomes, Planted(people), said.append)}
    mean = {
        method: np.mean([biased(offset) for sites in seeds for offset in sites])
        for method, seeds in offsets.items()
    }
    share = mean["federated"] / mean["centralised"]
    assert figures["synthetic-federation"].ratio == pytest.approx(share, abs=1e-3)
    assert not figures["synthetic-federation"].reached
    assert figures["synthetic-local-only"].ratio == pytest.approx(
        mean["federated"] / mean["local only"], abs=2e-3
    )
    assert figures["synthetic-worst-site"].ratio == pytest.approx(
        biased(0.2) / np.mean([biased(0.5), biased(0.3)]), abs=1e-3
    ), "the worst of each seed"
    assert figures["synthetic-lag"].value == pytest.approx(0.25), "planted 2.75 s, chosen 2.6 and 3 s"
    assert not figures["synthetic-lag"].reached
    by_seed = [np.mean([biased(offset) for offset in sites]) for sites in offsets["federated"]]
    (line,) = [line for line in said if line.strip().startswith("federated")]
    assert f"both {mean['federated']:.3f} ± {np.std(by_seed, ddof=1):.3f}  worst site" in line
