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


def outcome(method: str, offsets: tuple[float, float]) -> Outcome:
    """Two sites whose predictions are right but for a bias."""
    scored = tuple(
        Scored(f"P{site}-3", f"P{site}", None, GOLD + np.float32(offset), GOLD, EVERY)
        for site, offset in enumerate(offsets)
    )
    job = Job("GRU", method, 1, "sessions")
    return Outcome(job, scored, (), 1, {"all": (2.6, 3.0)}, "", 1, 1.0, "cpu")


def biased(offset: float) -> float:
    """Mean CCC of a trace and itself moved: 2σ² / (2σ² + offset²) (Lin, 1989, equation 1)."""
    variance = np.var(GOLD.astype(float), axis=0)
    return float(np.mean(2 * variance / (2 * variance + offset**2)))


def test_figures_compare_means_worst_sites_and_lags() -> None:
    offsets = {
        "centralised": (0.0, 0.2),
        "federated": (0.1, 0.5),
        "local only": (1.0, 1.0),
        "fine-tuned": (0.1, 0.2),
    }
    people = tuple(replace(make_person(1, number), lag_s=lag) for number, lag in enumerate((2.5, 3.0)))
    said: list[str] = []
    figures = {
        found.name: found
        for found in figures_of(
            {method: outcome(method, of) for method, of in offsets.items()}, Planted(people), said.append
        )
    }
    mean = {method: np.mean([biased(offset) for offset in of]) for method, of in offsets.items()}
    share = mean["federated"] / mean["centralised"]
    assert figures["synthetic-federation"].ratio == pytest.approx(share, abs=1e-3)
    assert not figures["synthetic-federation"].reached
    assert figures["synthetic-local-only"].ratio == pytest.approx(
        mean["federated"] / mean["local only"], abs=2e-3
    )
    assert figures["synthetic-worst-site"].ratio == pytest.approx(biased(0.2) / biased(0.5), abs=1e-3)
    assert figures["synthetic-lag"].value == pytest.approx(0.25), "planted 2.75 s, chosen 2.6 and 3 s"
    assert not figures["synthetic-lag"].reached
    assert any("worst site" in line for line in said)
