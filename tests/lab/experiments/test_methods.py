"""A run, from its job to predictions on the ratings' own clock."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mien_client.inference import predict
from mien_client.rated_recording import Recording
from mien_common.architecture import Architecture
from mien_common.ccc import ccc
from mien_common.errors import SettingsError
from mien_common.network import build
from mien_lab.corpora.corpus import Corpus
from mien_lab.experiments.config import Config
from mien_lab.experiments.methods import run_fold, run_job
from mien_lab.experiments.outcome import Job, Outcome
from mien_lab.experiments.scoring import why_undefined
from mien_lab.experiments.splits import folds
from mien_lab.experiments.time_left import Running, seconds_left
from mien_lab.experiments.validation import Measure, agreement, pool, score

TinyCorpus = Callable[..., Corpus]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def configured(method: dict[str, Any], **changes: Any) -> Config:
    values: dict[str, Any] = {
        "name": "tiny",
        "corpus": {"kind": "csv", "path": "x"},
        "split": {"kind": "k-fold", "folds": 2},
        "ratings": {"lag_s": 1.6},
        "rounds": 6,
        "training": {"window_s": 4.0, "batch_windows": 4, "local_epochs": 2, "learning_rate": 0.02},
        "models": [{"name": "GRU", "architecture": {"hidden_units": 8, "layers": 1}}],
        "methods": [{"name": "m", **method}],
        "device": "cpu",
    }
    return Config.model_validate(values | changes)


def run(corpus: Corpus, config: Config, fold: int = 0, seed: int = 1) -> Outcome:
    job = Job("GRU", "m", seed, folds(corpus, config.split)[fold].name)
    return run_job(job, corpus, config)


def mean_ccc(outcome: Outcome) -> float:
    values = [
        ccc(one.prediction[:, column], one.gold[:, column], one.counts)
        for one in outcome.scored
        for column in (0, 1)
    ]
    return float(np.mean(values))


@pytest.mark.parametrize("kind", ["centralised", "federated"])
def test_strangers_are_read_on_their_ratings_own_clock(tiny_corpus: TinyCorpus, kind: str) -> None:
    corpus = tiny_corpus(frames=1000)
    right = run(corpus, configured({"kind": kind}))
    assert [one.site for one in right.scored] == [None, None]
    assert all(one.prediction.shape == one.gold.shape == (1000, 2) for one in right.scored)
    assert (right.points_hz, right.device) == (25.0, "cpu")
    assert mean_ccc(right) > 0.5
    # The raters lag by 1.6 s; who takes off nothing predicts too early.
    assert mean_ccc(run(corpus, configured({"kind": kind}, ratings={"lag_s": 0.0}))) < mean_ccc(right) - 0.1


@pytest.mark.parametrize("method", [{"kind": "centralised"}, {"kind": "federated"}, {"kind": "local-only"}])
def test_the_same_job_gives_the_same_to_the_last_bit_and_another_seed_does_not(
    tiny_corpus: TinyCorpus, method: dict[str, Any]
) -> None:
    corpus = tiny_corpus(frames=300)
    config = configured(method, rounds=2)
    one, again, other = (run(corpus, config, seed=seed) for seed in (1, 1, 2))
    assert one.fitted == again.fitted != other.fitted
    for first, second in zip(one.scored, again.scored, strict=True):
        np.testing.assert_array_equal(first.prediction, second.prediction)


def test_each_sites_own_model_is_tried_on_every_stranger(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=300)
    config = configured({"kind": "local-only"}, rounds=2)
    outcome = run(corpus, config)
    fold = folds(corpus, config.split)[0]
    tried = {(one.site, one.recording) for one in outcome.scored}
    assert tried == {(site, recording) for site in fold.sites for recording in fold.test}
    assert set(outcome.lag_s) == set(fold.sites)


@pytest.mark.parametrize(
    "method",
    [
        {"kind": "local-only"},
        {"kind": "federated", "personalisation": "local-head"},
        {"kind": "federated", "personalisation": "local-normalisation"},
        {"kind": "federated", "personalisation": "fine-tuning"},
    ],
)
def test_under_sessions_a_sites_own_model_reads_its_own_people(
    tiny_corpus: TinyCorpus, method: dict[str, Any]
) -> None:
    corpus = tiny_corpus(frames=300, recordings_each=2)
    models = [{"name": "GRU", "architecture": {"hidden_units": 4, "layers": 1, "input_norm": True}}]
    for scaling in ("participant", "training"):
        config = configured(method, split={"kind": "sessions"}, models=models, rounds=2, scaling=scaling)
        outcome = run(corpus, config)
        assert [(one.site, one.recording) for one in outcome.scored] == [
            (person, f"{person}-2") for person in corpus.participants
        ]


def test_a_site_that_keeps_its_normalisation_keeps_its_scaler(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=300, recordings_each=2)
    models = [{"name": "GRU", "architecture": {"hidden_units": 4, "layers": 1, "input_norm": True}}]

    def scalers(method: dict[str, Any]) -> str:
        config = configured(method, split={"kind": "sessions"}, models=models, rounds=1, scaling="training")
        fold = folds(corpus, config.split)[0]
        return run_fold(Job("GRU", "m", 1, fold.name), corpus, fold, config).fingerprints["scalers"]

    alone, shared = scalers({"kind": "local-only"}), scalers({"kind": "federated"})
    assert scalers({"kind": "federated", "personalisation": "local-normalisation"}) == alone != shared


@pytest.mark.parametrize("predicts", ["window", "frames"])
def test_mase2021_scores_the_means_of_600_frames(tiny_corpus: TinyCorpus, predicts: str) -> None:
    corpus = tiny_corpus(frames=3700)
    models = [{"name": "GRU", "architecture": {"hidden_units": 4, "layers": 1, "predicts": predicts}}]
    training = {"window_s": 24.0, "batch_windows": 4, "local_epochs": 1}
    config = configured(
        {"kind": "federated"},
        protocol="mase2021",
        models=models,
        training=training,
        rounds=2,
        split={"kind": "k-fold", "folds": 2, "validation_share": 0.4},
    )
    outcome = run(corpus, config)
    for one in outcome.scored:
        assert one.prediction.shape == one.gold.shape == (6, 2)
        source = next(each for each in corpus.recordings if each.name == one.recording)
        lag = 40
        # Counted: rated, and the face a lag before was measured.
        counted = np.concatenate([np.repeat(source.valid[0], lag), source.valid[:-lag]])
        means = source.ratings.mean(axis=0)
        for window in range(6):
            kept = counted[window * 600 : (window + 1) * 600]
            expected = means[window * 600 : (window + 1) * 600][kept].mean(axis=0)
            assert one.gold[window] == pytest.approx(expected, abs=1e-5)
    assert outcome.points_hz == pytest.approx(25 / 600)
    assert np.isfinite(outcome.rounds[-1].validation).all()


def test_a_validation_part_without_a_window_is_refused(tiny_corpus: TinyCorpus) -> None:
    config = configured({"kind": "federated"}, protocol="mase2021")
    with pytest.raises(
        SettingsError, match=r"split\.validation_share: the longest validation part is \d+ frames"
    ):
        run(tiny_corpus(frames=1300), config)


def test_validation_pooled_over_sites_is_the_ccc_of_all_their_frames() -> None:
    network = build(Architecture(channels=3, hidden_units=4, layers=1), 1)
    random = np.random.default_rng(1)
    recordings = [
        Recording(
            random.normal(size=(200, 3)).astype(np.float32),
            random.uniform(-1, 1, size=(200, 2)).astype(np.float32),
            random.random(200) > 0.3,
        )
        for _ in range(3)
    ]
    measure = Measure("avec", CPU)
    pooled = agreement(pool(measure.of(network, [one]) for one in recordings))
    predictions = np.concatenate([predict(network, one.inputs, CPU)[one.counts] for one in recordings])
    targets = np.concatenate([one.targets[one.counts] for one in recordings])
    for column in (0, 1):
        assert pooled[column] == pytest.approx(ccc(predictions[:, column], targets[:, column]), abs=1e-9)


def test_a_validation_part_whose_ratings_never_change_has_no_ccc_and_stops_nothing(
    tiny_corpus: TinyCorpus,
) -> None:
    corpus = tiny_corpus(frames=400)
    flat = tuple(replace(one, ratings=np.full_like(one.ratings, 0.25)) for one in corpus.recordings)
    for kind in ("centralised", "federated", "local-only"):
        config = configured({"kind": kind}, patience=1, rounds=3)
        outcome = run(replace(corpus, recordings=flat), config)
        assert outcome.chosen_round == len(outcome.rounds) == 3
        assert all(np.isnan(point.validation).all() for point in outcome.rounds)
        assert all(one.why_undefined is not None for one in outcome.scored)


def test_rounds_are_compared_by_what_is_defined() -> None:
    assert score((0.2, 0.6)) == pytest.approx(0.4)
    assert score((float("nan"), 0.6)) == 0.6
    assert np.isnan(score((float("nan"), float("nan"))))


def test_why_a_recording_has_no_ccc_is_said() -> None:
    gold = np.column_stack([np.full(9, 0.3), np.linspace(0, 1, 9)]).astype(np.float32)
    everything = np.ones(9, np.bool_)
    assert why_undefined(gold, everything, "frame") == "the gold standard of valence is constant"
    assert why_undefined(gold[:, ::-1], everything, "frame") == "the gold standard of arousal is constant"
    assert (
        why_undefined(gold, ~everything, "window")
        == "no window counts; a CCC needs two (windows have 600 frames)"
    )
    moving = np.column_stack([gold[:, 1], gold[:, 1]])
    assert why_undefined(moving, everything, "frame") is None


def test_the_time_left_is_judged_by_runs_of_the_same_kind() -> None:
    def job(method: str, fold: int) -> Job:
        return Job("GRU", method, 1, f"fold-{fold}")

    waiting = [job("quick", 3), job("slow", 3)]
    assert seconds_left({}, [], waiting, 1) is None
    finished = {job("quick", 1): 1.0, job("quick", 2): 3.0, job("slow", 1): 100.0}
    assert seconds_left(finished, [], waiting, 1) == pytest.approx(102)
    assert seconds_left(finished, [], waiting, 2) == pytest.approx(51)
    # A run that is half through after 30 s has 30 s to go, whatever the others took.
    assert seconds_left(finished, [Running(job("slow", 2), 5, 10, 30.0)], [], 2) == pytest.approx(30)
    assert seconds_left({}, [Running(job("new", 1), 1, 4, 2.0)], [job("other", 1)], 1) == pytest.approx(14)
