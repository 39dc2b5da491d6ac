"""A leak of each kind, planted in an honest run and caught by its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien_client.early_stopping import EarlyStopping
from mien_client.inference import predict
from mien_client.rated_recording import Recording
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.ccc import ccc
from mien_common.messages import TrainingSettings
from mien_common.network import AffectNetwork, build
from mien_common.weights import network_from, weights_of
from mien_lab.corpora.corpus import Corpus
from mien_lab.experiments import preparation
from mien_lab.experiments.config import Config
from mien_lab.experiments.leaks import LeakError, find_leaks, spoilt
from mien_lab.experiments.postprocessing import fit_postprocessing
from mien_lab.experiments.preparation import TestRecording, digest, prepare
from mien_lab.experiments.splits import Fold, folds

TinyCorpus = Callable[..., Corpus]
Fit = Callable[[Corpus, Fold], Mapping[str, str]]

CONFIG = Config.model_validate(
    {
        "name": "tiny",
        "corpus": {"kind": "csv", "path": "tiny"},
        "split": {"kind": "k-fold", "folds": 3},
        "ratings": {"lag_s": "grid", "lag_to_s": 3.0, "centre": True, "scale": True, "smoothing_s": 0.4},
        "models": [{"name": "GRU"}],
        "methods": [{"name": "together", "kind": "centralised"}],
    }
)
ARCHITECTURE = Architecture(channels=6, hidden_units=4, layers=1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(config: Config = CONFIG, *, choose_on_test: bool = False, post_process_on_test: bool = False) -> Fit:
    """A whole run in small: prepare, train, choose the round, fit the post-processing."""

    def fit(corpus: Corpus, fold: Fold) -> Mapping[str, str]:
        prepared = prepare(corpus, fold, config)
        sites = [prepared.sites[site] for site in sorted(prepared.sites)]
        kept = [recording for site in sites for recording in site.validation]
        tested = [as_recording(test) for test in prepared.test]
        network = build(ARCHITECTURE, seed=1)
        stopping, curve = EarlyStopping(patience=None), []
        for round_ in range(1, 4):
            settings = TrainingSettings(local_epochs=1)
            train(network, [r for site in sites for r in site.train], settings, round_, CPU)
            curve.append(score(network, tested if choose_on_test else kept))
            stopping.observe(round_, curve[-1], weights_of(network))
        assert stopping.best_weights is not None
        best = network_from(stopping.best_weights, ARCHITECTURE)
        chosen = tested if post_process_on_test else kept
        chain = fit_postprocessing(
            [predict(best, r.inputs, CPU) for r in chosen],
            [r.targets for r in chosen],
            [r.counts for r in chosen],
            config.ratings,
            25.0,
        )
        return {
            **prepared.fingerprints,
            "chosen round": digest([repr((stopping.best_round, curve)).encode()]),
            "post-processing": chain.fitted,
            "weights": digest(array.tobytes() for _, array in sorted(weights_of(network).items())),
        }

    return fit


def score(network: AffectNetwork, recordings: Sequence[Recording]) -> float:
    predictions = [predict(network, recording.inputs, CPU) for recording in recordings]
    return float(
        np.mean(
            [
                ccc(prediction[:, column], recording.targets[:, column], recording.counts)
                for prediction, recording in zip(predictions, recordings, strict=True)
                for column in (0, 1)
            ]
        )
    )


def as_recording(test: TestRecording) -> Recording:
    return Recording(test.inputs, test.gold, test.counts)


@pytest.fixture
def case(tiny_corpus: TinyCorpus) -> tuple[Corpus, Fold]:
    corpus = tiny_corpus(participants=6, frames=400)
    return corpus, folds(corpus, CONFIG.split)[0]


@pytest.mark.parametrize("scaling", ["participant", "training"])
@pytest.mark.parametrize("lag_of", ["all", "site"])
def test_an_honest_run_has_no_leak(case: tuple[Corpus, Fold], scaling: str, lag_of: str) -> None:
    ratings = CONFIG.ratings.model_copy(update={"lag_of": lag_of})
    find_leaks(*case, run(CONFIG.model_copy(update={"scaling": scaling, "ratings": ratings})))


def test_an_honest_run_on_peoples_last_recordings_has_none(tiny_corpus: TinyCorpus) -> None:
    config = CONFIG.model_copy(update={"split": CONFIG.split.model_copy(update={"kind": "sessions"})})
    corpus = tiny_corpus(participants=3, recordings_each=2, frames=400)
    find_leaks(corpus, folds(corpus, config.split)[0], run(config))


def test_a_scaler_fitted_to_test_people_is_caught(
    case: tuple[Corpus, Fold], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = preparation._scalers
    monkeypatch.setattr(
        preparation, "_scalers", lambda trained, tested, config: honest([*trained, *tested], [], config)
    )
    with pytest.raises(LeakError, match=r"scalers.*: a leak"):
        find_leaks(*case, run(CONFIG.model_copy(update={"scaling": "training"})))


def test_a_lag_chosen_on_test_people_is_caught(
    case: tuple[Corpus, Fold], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, fold = case

    def fit(data: Corpus, _fold: Fold) -> Mapping[str, str]:
        everyone = {**fold.sites, "site of the tested": fold.test}
        leaky = prepare(data, Fold("leaky", everyone, fold.test, fold.test_site), CONFIG)
        honest = prepare(data, fold, CONFIG)
        return {"scalers": honest.fingerprints["scalers"], "lags": leaky.fingerprints["lags"]}

    with pytest.raises(LeakError, match="fold fold-1: lags changed when"):
        find_leaks(corpus, fold, fit)


def test_a_round_chosen_on_test_people_is_caught(case: tuple[Corpus, Fold]) -> None:
    with pytest.raises(LeakError, match="chosen round"):
        find_leaks(*case, run(choose_on_test=True))


def test_post_processing_fitted_to_test_people_is_caught(case: tuple[Corpus, Fold]) -> None:
    with pytest.raises(
        LeakError, match=r"post-processing changed when the test recordings \(P\d\d-1, P\d\d-1\)"
    ):
        find_leaks(*case, run(post_process_on_test=True))


def test_training_on_a_test_recording_is_caught(case: tuple[Corpus, Fold]) -> None:
    corpus, fold = case
    site, names = next(iter(fold.sites.items()))
    leaky = replace(fold, sites={**fold.sites, site: (*names, fold.test[0])})
    with pytest.raises(LeakError, match=r"chosen round, lags, post-processing, scalers, weights"):
        find_leaks(corpus, leaky, run())


def test_a_fit_that_does_not_repeat_itself_is_told_from_a_leak(case: tuple[Corpus, Fold]) -> None:
    calls = iter(range(9))
    with pytest.raises(LeakError, match="what is fitted came out differently from the same data"):
        find_leaks(*case, lambda _corpus, _fold: str(next(calls)))


def test_rubbish_replaces_all_that_is_known_of_test_people_and_nothing_else(
    case: tuple[Corpus, Fold],
) -> None:
    corpus, fold = case
    for before, after in zip(corpus.recordings, spoilt(corpus, fold).recordings, strict=True):
        if before.name not in fold.test:
            assert after is before
            continue
        assert (after.name, after.participant) == (before.name, before.participant)
        for name in ("features", "valid", "ratings"):
            assert getattr(after, name).shape == getattr(before, name).shape
            assert not np.array_equal(getattr(after, name), getattr(before, name))
