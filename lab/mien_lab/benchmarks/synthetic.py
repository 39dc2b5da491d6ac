"""Benchmark: what federation gains and loses on the synthetic set, whose answer is known.

20 sites of one invented person each, no two alike; each person's last recording is tested. The same code as
``mien lab compare``. No evidence about people.

Centralised training, and each site alone, take a learning rate of 5e-3, federated training 1e-2: the best by
validation CCC of 3e-3, 5e-3, 1e-2, 2e-2 for the one and of 1e-2, 2e-2 for the other. At 1e-2 centralised
training does worse, and the comparison would flatter federation.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien_common.architecture import Architecture
from mien_common.errors import MienError
from mien_common.files import make_folder
from mien_common.messages import TrainingSettings
from mien_lab.benchmarks.figures import Figure, Say, figure
from mien_lab.corpora.corpus import Corpus
from mien_lab.corpora.opening import open_corpus
from mien_lab.corpora.synthetic import Planted, planted
from mien_lab.experiments.comparison import Standing, run_comparison
from mien_lab.experiments.config import Config, CorpusChoice, Method, ModelChoice, Ratings, Split
from mien_lab.experiments.outcome import Job, Outcome
from mien_lab.experiments.scores import score_run
from mien_server.rules.settings import RuleSettings

SITES: Final = 20
SEED: Final = 7
"""Of the people; those of training are :data:`TRAINING_SEEDS`."""
TRAINING_SEEDS: Final = (1, 2, 3)
FEDERATED_SHARE: Final = 0.97
LAG_ERROR_S: Final = 0.2
CLEARLY: Final = 1.1
"""How many times better than a site alone federation should be, to be clearly better."""
SMALLEST_ERROR_S: Final = 1e-3

_RULE: Final = RuleSettings(name="fedavgm", server_momentum=0.5)
TOGETHER: Final = Config(
    name="synthetic in one place",
    corpus=CorpusChoice(kind="synthetic", seed=SEED, participants=SITES),
    split=Split(kind="sessions"),
    ratings=Ratings(lag_s="grid"),
    training=TrainingSettings(local_epochs=1, learning_rate=5e-3, window_s=5.0, batch_windows=4),
    rounds=60,
    seeds=TRAINING_SEEDS,
    models=(ModelChoice(name="GRU", architecture=Architecture(kind="gru", hidden_units=32, layers=1)),),
    methods=(Method(name="centralised", kind="centralised"), Method(name="local only", kind="local-only")),
    device="cpu",
)
FEDERATED: Final = TOGETHER.model_copy(
    update={
        "name": "synthetic federated",
        "training": TOGETHER.training.model_copy(update={"learning_rate": 1e-2}),
        "methods": (
            Method(name="federated", kind="federated", rule=_RULE),
            Method(
                name="fine-tuned",
                kind="federated",
                rule=_RULE,
                personalisation="fine-tuning",
                fine_tuning_epochs=15,
            ),
        ),
    }
)


def synthetic_federation(folder: Path, say: Say) -> tuple[Figure, ...]:
    """Federated against centralised, the lag, each site alone, and the worst site after fine-tuning."""
    make_folder(folder)
    corpus = open_corpus(TOGETHER.corpus, folder)
    answer = planted(SEED, SITES)
    say(f"  {SITES} sites, {len(corpus.recordings)} recordings; planted lag {answer.lag_s:.2f} s on average")
    outcomes: dict[str, list[Outcome]] = {}
    for config in (TOGETHER, FEDERATED):
        for outcome in _outcomes(config, corpus, folder, say):
            outcomes.setdefault(outcome.job.method, []).append(outcome)
    return figures_of(outcomes, answer, say)


def figures_of(outcomes: Mapping[str, Sequence[Outcome]], answer: Planted, say: Say) -> tuple[Figure, ...]:
    """The figures, from an outcome per method and seed: means over seeds."""
    mean, worst = {}, {}
    for method, seeds in outcomes.items():
        each = np.stack([site_ccc(outcome) for outcome in seeds])
        by_seed = each.mean(axis=(1, 2))
        worst_by_seed = _worst(each)
        mean[method], worst[method] = float(by_seed.mean()), float(worst_by_seed.mean())
        valence, arousal = each.mean(axis=(0, 1))
        spread = f" ± {by_seed.std(ddof=1):.3f}" if len(by_seed) > 1 else ""
        say(
            f"  {method:<12} valence {valence:.3f}  arousal {arousal:.3f}  both {mean[method]:.3f}{spread}  "
            f"worst site {worst[method]:.3f} (by seed {', '.join(f'{ccc:.3f}' for ccc in worst_by_seed)})"
        )
    lags_s = [lag_s for outcome in outcomes["federated"] for lag_s in outcome.lag_s["all"]]
    error_s = max(abs(lag_s - answer.lag_s) for lag_s in lags_s)
    say(f"  lags chosen {min(lags_s):g} to {max(lags_s):g} s, planted {answer.lag_s:.2f} s")
    return (
        figure(
            "synthetic-federation",
            mean["federated"],
            "CCC",
            "the same GRU, centralised",
            mean["centralised"],
            FEDERATED_SHARE,
            "higher",
        ),
        figure(
            "synthetic-lag", max(error_s, SMALLEST_ERROR_S), "s off", "what may be", LAG_ERROR_S, 1.0, "lower"
        ),
        figure(
            "synthetic-local-only",
            *(mean["federated"], "CCC", "each site alone", mean["local only"], CLEARLY, "higher"),
        ),
        figure(
            "synthetic-worst-site",
            *(worst["fine-tuned"], "CCC fine-tuned", "without fine-tuning", worst["federated"]),
            *(1.0, "higher"),
        ),
    )


def site_ccc(outcome: Outcome) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(sites, 2) CCC of valence and arousal on each site's test recording; AVEC's rule is their mean."""
    return np.array(
        [[target.ccc for target in recording.targets] for recording in score_run(outcome).recordings]
    )


def _worst(each: NDArray[np.float64]) -> NDArray[np.float64]:
    """(seeds,) of (seeds, sites, 2): of the sites' means over valence and arousal, the lowest."""
    lowest: NDArray[np.float64] = each.mean(axis=2).min(axis=1)
    return lowest


def _outcomes(config: Config, corpus: Corpus, folder: Path, say: Say) -> tuple[Outcome, ...]:
    made = run_comparison(
        config, corpus, folder / config.name.replace(" ", "-"), len(os.sched_getaffinity(0)), _Quiet(say)
    )
    if made.interrupted:
        raise KeyboardInterrupt
    if made.failed:
        raise MienError(f"{config.name}: {next(iter(made.failed.values()))}")
    return made.outcomes


class _Quiet:
    """Says when a run is done, and little else."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def began(self, _every: Sequence[Job], _done: Mapping[Job, Outcome], _workers: int, /) -> None:
        """Nothing to say."""

    def say(self, line: str) -> None:
        """As it is."""
        self._say(f"  {line}")

    def finished(self, outcome: Outcome, standing: Standing) -> None:
        """Which, and how long it took."""
        self._say(
            f"  {outcome.job.method}, seed {outcome.job.seed}: {outcome.seconds:.0f} s, "
            f"{standing.done} of {standing.total}"
        )

    def failed(self, job: Job, reason: str, standing: Standing) -> None:
        """Which, and why."""
        self._say(f"  {job.id} failed, {standing.failed} of {standing.total}: {reason}")

    def moved(self, _standing: Standing, /) -> None:
        """Nothing to say."""
