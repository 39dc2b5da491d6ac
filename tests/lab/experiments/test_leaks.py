"""A leak of each kind, planted in a whole run of a comparison and caught by its name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mien_client.rated_recording import Recording
from mien_lab.corpora.corpus import Corpus
from mien_lab.experiments import methods, preparation
from mien_lab.experiments.config import Config
from mien_lab.experiments.leaks import Fingerprints, LeakError, find_leaks, spoilt
from mien_lab.experiments.methods import run_fold
from mien_lab.experiments.outcome import Job
from mien_lab.experiments.preparation import Prepared, SiteRecordings, prepare
from mien_lab.experiments.scalers import fit_scalers
from mien_lab.experiments.scoring import Part, score_part
from mien_lab.experiments.splits import Fold, folds

TinyCorpus = Callable[..., Corpus]
Case = tuple[Corpus, Fold]

METHODS = ("centralised", "federated", "local-only")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**changes: Any) -> Config:
    """Everything that can be fitted is."""
    values: dict[str, Any] = {
        "name": "tiny",
        "corpus": {"kind": "csv", "path": "tiny"},
        "split": {"kind": "k-fold", "folds": 2},
        "ratings": {"lag_s": "grid", "lag_to_s": 3.0, "centre": True, "scale": True, "smoothing_s": 0.4},
        "scaling": "training",
        "training": {"local_epochs": 1, "window_s": 4.0},
        "rounds": 2,
        "models": [{"name": "GRU", "architecture": {"hidden_units": 4, "layers": 1}}],
        "methods": [{"name": kind, "kind": kind} for kind in METHODS],
        "device": "cpu",
    }
    return Config.model_validate(values | changes)


def run(method: str = "federated", **changes: Any) -> Callable[[Corpus, Fold], Fingerprints]:
    """A whole run, as fingerprints of what it fitted."""
    chosen = config(**changes)

    def fit(corpus: Corpus, fold: Fold) -> Mapping[str, str]:
        return run_fold(Job("GRU", method, 1, fold.name), corpus, fold, chosen).fingerprints

    return fit


@pytest.fixture
def case(tiny_corpus: TinyCorpus) -> Case:
    corpus = tiny_corpus(participants=4, frames=400)
    return corpus, folds(corpus, config().split)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("changes", [{}, {"scaling": "participant"}])
def test_an_honest_run_has_no_leak(case: Case, method: str, changes: dict[str, Any]) -> None:
    find_leaks(*case, run(method, **changes))


@pytest.mark.parametrize("personalisation", ["fine-tuning", "local-head"])
def test_personalisation_has_none(tiny_corpus: TinyCorpus, personalisation: str) -> None:
    changes: dict[str, Any] = {
        "split": {"kind": "sessions"},
        "methods": [{"name": "own", "kind": "federated", "personalisation": personalisation}],
        "scaling": "participant",
    }
    corpus = tiny_corpus(participants=3, recordings_each=2, frames=400)
    find_leaks(corpus, folds(corpus, config(**changes).split)[0], run("own", **changes))


def test_a_scaler_fitted_to_test_people_is_caught(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        preparation,
        "fit_scalers",
        lambda trained, tested, config: fit_scalers([*trained, *tested], [], config),
    )
    with pytest.raises(LeakError, match=r"scalers.*: a leak"):
        find_leaks(*case, run())


def test_a_lag_chosen_on_test_people_is_caught(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(corpus: Corpus, fold: Fold, config: Config) -> Prepared:
        everyone = replace(fold, sites={**fold.sites, "the tested": fold.test})
        of_all, honest = prepare(corpus, everyone, config), prepare(corpus, fold, config)
        lags = {"lags": of_all.fingerprints["lags"]}
        return replace(honest, fingerprints={**honest.fingerprints, **lags})

    monkeypatch.setattr(methods, "prepare", leaky)
    with pytest.raises(LeakError, match=r"fold fold-1: lags changed when the test recordings \(P\d\d-1, P"):
        find_leaks(*case, run())


def test_a_round_chosen_on_test_people_is_caught(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(corpus: Corpus, fold: Fold, config: Config) -> Prepared:
        honest = prepare(corpus, fold, config)
        tested = tuple(Recording(test.inputs, test.gold, test.counts) for test in honest.test)
        sites = {name: SiteRecordings(site.train, tested) for name, site in honest.sites.items()}
        return replace(honest, sites=sites)

    monkeypatch.setattr(methods, "prepare", leaky)
    with pytest.raises(LeakError, match="validation"):
        find_leaks(*case, run())


def test_post_processing_fitted_to_test_people_is_caught(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(plan: Any, part: Part, ratings: Any) -> Any:
        tested = tuple(Recording(test.inputs, test.gold, test.counts) for test in part.test)
        return score_part(plan, replace(part, training=(SiteRecordings(tested, ()),)), ratings)

    monkeypatch.setattr(methods, "score_part", leaky)
    with pytest.raises(LeakError, match="fold fold-1: post-processing changed when the test recordings"):
        find_leaks(*case, run())


@pytest.mark.parametrize("method", METHODS)
def test_training_on_a_test_recording_is_caught(case: Case, method: str) -> None:
    corpus, fold = case
    site, names = next(iter(fold.sites.items()))
    leaky = replace(fold, sites={**fold.sites, site: (*names, fold.test[0])})
    with pytest.raises(LeakError, match="lags, post-processing, scalers, validation, weights changed"):
        find_leaks(corpus, leaky, run(method))


def test_a_fit_that_does_not_repeat_itself_is_told_from_a_leak(case: Case) -> None:
    calls = iter(range(9))
    with pytest.raises(LeakError, match="what is fitted came out differently from the same data"):
        find_leaks(*case, lambda _corpus, _fold: str(next(calls)))


def test_rubbish_replaces_all_that_is_known_of_test_people_and_nothing_else(
    case: Case,
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
