"""Outcomes of runs that nobody ran: gold standards drawn at random, and predictions as good as one asks."""

from collections.abc import Sequence

import numpy as np

from mien_lab.experiments.config import Config, CorpusChoice, Method, ModelChoice, Split
from mien_lab.experiments.outcome import Job, Outcome, RoundPoint, Scored


def made_config(
    models: Sequence[str] = ("GRU",),
    methods: Sequence[str] = ("federated", "centralised"),
    seeds: Sequence[int] = (1, 2, 3),
) -> Config:
    return Config(
        name="Made for a test",
        corpus=CorpusChoice(kind="synthetic"),
        split=Split(kind="leave-one-out"),
        models=tuple(ModelChoice(name=name) for name in models),
        methods=tuple(
            Method(
                name=name,
                kind="centralised"
                if name == "centralised"
                else "local-only"
                if name == "local-only"
                else "federated",
            )
            for name in methods
        ),
        seeds=tuple(seeds),
    )


def made_outcomes(
    config: Config,
    persons: int = 8,
    points: int = 400,
    constant: Sequence[int] = (),
    noise: dict[str, float] | None = None,
) -> tuple[Outcome, ...]:
    """A run per model, method, seed and person.

    Parameters
    ----------
    constant : persons whose valence was rated alike all the time.
    noise : by method, how much of the prediction is noise; 1 where not given.
    """
    golds = [_gold(person, points) for person in range(persons)]
    for person in constant:
        golds[person][:, 0] = 0.25
    outcomes = []
    for row, (model, method) in enumerate(
        (model, method) for model in config.models for method in config.methods
    ):
        for seed in config.seeds:
            for person, gold in enumerate(golds):
                random = np.random.default_rng([row, seed, person])
                amount = (noise or {}).get(method.name, 1.0) * 0.25
                prediction = 0.7 * gold + amount * _walk(random, points) + 0.04 * random.normal(size=(1, 2))
                counts = np.ones(points, np.bool_)
                counts[points // 3 : points // 3 + points // 10] = False
                outcomes.append(
                    Outcome(
                        job=Job(model.name, method.name, seed, f"without-P{person + 1}"),
                        scored=(
                            Scored(
                                recording=f"P{person + 1}-1",
                                participant=f"P{person + 1}",
                                site=None,
                                prediction=prediction.astype(np.float32),
                                gold=gold,
                                counts=counts,
                            ),
                        ),
                        rounds=_rounds(random),
                        chosen_round=12,
                        lag_s={"all": (2.4, 3.0)},
                        fitted="0" * 64,
                        frames=7500 * (persons - 1),
                        seconds=12.5,
                        device="cpu",
                        rule=method.rule.name if method.kind == "federated" else "none",
                        points_hz=points / 300,
                    )
                )
    return tuple(outcomes)


def _gold(person: int, points: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (0.5 * _walk(np.random.default_rng(1000 + person), points)).astype(np.float32)


def _walk(random: np.random.Generator, points: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(points, 2) smooth, between −1 and 1."""
    time = np.linspace(0, 1, points)[:, None, None]
    waves = np.sin(2 * np.pi * (random.uniform(1, 12, (1, 2, 6)) * time + random.uniform(size=(1, 2, 6))))
    return np.asarray((waves * random.uniform(0, 1, (1, 2, 6))).sum(axis=-1) / 3)


def _rounds(random: np.random.Generator) -> tuple[RoundPoint, ...]:
    final = random.uniform(0.4, 0.6)
    return tuple(
        RoundPoint(
            number,
            float(1 - final * (1 - np.exp(-number / 4)) + 0.01 * random.normal()),
            (
                float(final * (1 - np.exp(-number / 5)) + 0.02 * random.normal()),
                float(0.8 * final * (1 - np.exp(-number / 7)) + 0.02 * random.normal()),
            ),
            0.5,
        )
        for number in range(1, 16)
    )
