"""What a fold becomes: scaled by the right people, moved by the lag, no frame in two of its parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien_common.errors import FeatureFileError, RatingsError
from mien_lab.corpora.corpus import Corpus, RatedRecording
from mien_lab.experiments.config import Config
from mien_lab.experiments.preparation import Prepared, delayed, prepare
from mien_lab.experiments.splits import folds

TinyCorpus = Callable[..., Corpus]
RATE_HZ = 25.0


def config(**changes: Any) -> Config:
    values: dict[str, Any] = {
        "name": "tiny",
        "corpus": {"kind": "csv", "path": "tiny"},
        "split": {"kind": "leave-one-out"},
        "models": [{"name": "GRU"}],
        "methods": [{"name": "together", "kind": "centralised"}],
    }
    return Config.model_validate(values | changes)


def prepared(corpus: Corpus, fold: int = 0, **changes: Any) -> Prepared:
    chosen = config(**changes)
    return prepare(corpus, folds(corpus, chosen.split)[fold], chosen)


def changed(corpus: Corpus, name: str, **changes: Any) -> Corpus:
    """``corpus`` with other values in one recording."""
    return replace(
        corpus,
        recordings=tuple(
            replace(recording, **changes) if recording.name == name else recording
            for recording in corpus.recordings
        ),
    )


def find(corpus: Corpus, name: str) -> RatedRecording:
    return next(recording for recording in corpus.recordings if recording.name == name)


def test_everyone_is_standardised_by_their_own_measured_frames(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus()
    ready = prepared(corpus, split={"kind": "leave-one-out", "validation_share": 0})
    for site, recordings in ready.sites.items():
        (recording,) = recordings.train
        valid = find(corpus, f"{site}-1").valid
        assert recording.inputs[valid].mean(axis=0) == pytest.approx(0, abs=1e-4)
        assert recording.inputs[valid].std(axis=0) == pytest.approx(1, abs=1e-4)
        assert not recording.inputs[~valid].any()  # a missing face is no measurement, whatever the file says
    (test,) = ready.test
    assert test.inputs[find(corpus, "P01-1").valid].std(axis=0) == pytest.approx(1, abs=1e-4)


def test_training_scaling_knows_nothing_of_the_tested(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus()
    ready = prepared(corpus, scaling="training")
    rows = np.concatenate([r.features[r.valid] for r in corpus.recordings if r.participant != "P01"])
    own = find(corpus, "P01-1")
    expected = (own.features[own.valid] - rows.mean(axis=0)) / rows.std(axis=0)
    assert ready.test[0].inputs[own.valid] == pytest.approx(expected, abs=1e-3)


def test_a_persons_test_recording_is_scaled_by_their_training_recordings(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=2, recordings_each=3, frames=400)
    ready = prepared(corpus, split={"kind": "sessions"})
    rows = np.concatenate([find(corpus, n).features[find(corpus, n).valid] for n in ("P02-1", "P02-2")])
    own = find(corpus, "P02-3")
    expected = (own.features[own.valid] - rows.mean(axis=0)) / rows.std(axis=0)
    assert ready.test[1].inputs[own.valid] == pytest.approx(expected, abs=1e-3)
    assert ready.test[1].site == "P02"


def test_targets_are_what_was_rated_a_lag_later(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=500)
    ready = prepared(corpus, ratings={"lag_s": 2.0}, split={"kind": "leave-one-out", "validation_share": 0})
    (recording,) = ready.sites["P02"].train
    gold = find(corpus, "P02-1").ratings.mean(axis=0)
    assert not recording.counts[-50:].any()
    frames = np.flatnonzero(recording.counts)
    assert recording.targets[frames] == pytest.approx(gold[frames + 50], abs=1e-6)
    assert np.array_equal(recording.counts[:-50], find(corpus, "P02-1").valid[:-50])


def test_tests_are_on_the_ratings_own_clock(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=500)
    (test,) = prepared(corpus, ratings={"lag_s": 2.0}).test
    own = find(corpus, "P01-1")
    assert test.gold == pytest.approx(own.ratings.mean(axis=0), abs=1e-6)
    assert np.array_equal(test.counts[50:], own.valid[:-50])
    assert set(test.counts[:50]) == {own.valid[0]}
    assert np.array_equal(test.valid, own.valid)
    assert test.lag_s == (2.0, 2.0)


@pytest.mark.parametrize("lag_s", [0.0, 2.0])
def test_nothing_of_the_validation_part_is_trained_on(tiny_corpus: TinyCorpus, lag_s: float) -> None:
    corpus, lag = tiny_corpus(frames=1000), round(lag_s * RATE_HZ)
    # Ratings that tell their own time, so that one can see where each went.
    clock = np.linspace(-1, 1, 1000, dtype=np.float32)
    corpus = changed(corpus, "P02-1", ratings=np.tile(clock[None, :, None], (2, 1, 2)))
    ready = prepared(corpus, ratings={"lag_s": lag_s})
    (train,), (kept,) = ready.sites["P02"].train, ready.sites["P02"].validation
    start = 1000 - len(kept.counts)
    assert len(kept.counts) - lag == pytest.approx(0.2 * (1000 - lag), abs=1)
    assert len(train.counts) + lag == start
    assert train.targets[train.counts].max() < clock[start]  # rated before the kept part began
    assert kept.targets[kept.counts].min() >= clock[start + lag]
    together = np.concatenate([train.inputs, np.zeros((lag, 6), np.float32), kept.inputs])
    untouched = np.ones(1000, bool)
    untouched[start - lag : start] = False
    whole = prepared(corpus, ratings={"lag_s": lag_s}, split={"kind": "leave-one-out", "validation_share": 0})
    assert np.array_equal(together[untouched], whole.sites["P02"].train[0].inputs[untouched])


def test_a_recording_too_short_for_two_parts_is_trained_on_whole(tiny_corpus: TinyCorpus) -> None:
    ready = prepared(tiny_corpus(frames=80), ratings={"lag_s": 2.0})
    assert all(site.validation == () for site in ready.sites.values())
    assert all(len(site.train[0].counts) == 80 for site in ready.sites.values())


def test_sites_may_have_a_lag_each(tiny_corpus: TinyCorpus) -> None:
    quick, slow = tiny_corpus(lag_s=0.8, frames=1500), tiny_corpus(lag_s=2.4, frames=1500)
    mixed = replace(quick, recordings=(*quick.recordings[:3], *slow.recordings[3:]))
    grid = {"lag_s": "grid", "lag_to_s": 4.0}
    ready = prepared(mixed, ratings=grid | {"lag_of": "site"})
    assert ready.lag_s["P02"] == pytest.approx((0.8, 0.8), abs=0.21)
    assert ready.lag_s["P04"] == pytest.approx((2.4, 2.4), abs=0.21)
    assert ready.test[0].lag_s == pytest.approx((0.8, 0.8), abs=0.21)  # the sites' median: nobody knows P01's
    assert set(prepared(quick, ratings=grid).lag_s) == {"all"}


def test_frames_that_one_target_lacks_do_not_count(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=300)
    ratings = find(corpus, "P02-1").ratings.copy()
    ratings[:, 100:150, 1] = np.nan
    split = {"kind": "leave-one-out", "validation_share": 0}
    (recording,) = prepared(changed(corpus, "P02-1", ratings=ratings), split=split).sites["P02"].train
    assert not recording.counts[100:150].any()
    assert recording.counts[:100].any()
    assert np.isfinite(recording.targets).all()
    (test,) = prepared(changed(corpus, "P02-1", ratings=ratings), fold=1).test
    assert not test.counts[100:150].any()
    assert np.isfinite(test.gold).all()


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("scaling", ["participant", "training"])
def test_a_person_without_a_face_is_named(tiny_corpus: TinyCorpus, fold: int, scaling: str) -> None:
    corpus = changed(tiny_corpus(frames=200), "P02-1", valid=np.zeros(200, bool))
    with pytest.raises(
        FeatureFileError, match=r"tiny/P02-1\.csv: participant P02 has no frame with a measured"
    ):
        prepared(corpus, fold=fold, scaling=scaling)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_person_without_a_rating_is_named(tiny_corpus: TinyCorpus, fold: int) -> None:
    corpus = tiny_corpus(frames=200)
    corpus = changed(corpus, "P02-1", ratings=np.full((2, 200, 2), np.nan, np.float32))
    with pytest.raises(RatingsError, match=r"tiny/P02-1\.csv: no frame of "):
        prepared(corpus, fold=fold)


def test_constant_ratings_are_noted(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=200)
    ratings = find(corpus, "P03-1").ratings.copy()
    ratings[:, :, 1] = 0.25
    (note,) = prepared(changed(corpus, "P03-1", ratings=ratings)).notes
    assert note == "P03-1: arousal never changes, so that its CCC is undefined"


def test_the_fingerprint_is_of_training_people_alone(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(frames=400)
    grid: dict[str, Any] = {"ratings": {"lag_s": "grid", "lag_to_s": 3.0}}
    other = tiny_corpus(frames=400, seed=2)
    strange = replace(corpus, recordings=(other.recordings[0], *corpus.recordings[1:]))
    trained = replace(corpus, recordings=(*corpus.recordings[:3], other.recordings[3]))
    for scaling in ("participant", "training"):
        before = prepared(corpus, scaling=scaling, **grid)
        assert prepared(strange, scaling=scaling, **grid).fitted == before.fitted
        assert prepared(trained, scaling=scaling, **grid).fitted != before.fitted
    assert prepared(corpus, ratings={"lag_s": 1.0}).fitted != prepared(corpus, ratings={"lag_s": 2.0}).fitted


def test_delayed_repeats_the_first() -> None:
    assert delayed(np.array([1, 2, 3, 4]), 2).tolist() == [1, 1, 1, 2]
    assert delayed(np.array([1, 2]), 0).tolist() == [1, 2]
    assert delayed(np.array([1, 2]), 5).tolist() == [1, 1]
