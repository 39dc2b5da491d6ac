"""Folds: nobody is trained on and tested, nobody is forgotten, and sites stay what they are."""

from collections.abc import Callable

import pytest

from mien_common.errors import SettingsError
from mien_lab.corpora.corpus import Corpus
from mien_lab.experiments.config import Split
from mien_lab.experiments.splits import Fold, folds

TinyCorpus = Callable[..., Corpus]


def trained(fold: Fold) -> set[str]:
    return {name for names in fold.sites.values() for name in names}


def people(corpus: Corpus, names: set[str] | tuple[str, ...]) -> set[str]:
    return {recording.participant for recording in corpus.recordings if recording.name in names}


@pytest.mark.parametrize(
    "split",
    [
        Split(kind="leave-one-out"),
        Split(kind="leave-one-out", participants_per_site=3),
        Split(kind="k-fold", folds=3),
        Split(kind="k-fold", folds=7, participants_per_site=2),
    ],
)
def test_everyone_is_tested_once_and_never_trained_on_in_that_fold(
    tiny_corpus: TinyCorpus, split: Split
) -> None:
    corpus = tiny_corpus(participants=7, recordings_each=2, frames=50)
    made = folds(corpus, split)
    assert sorted(name for fold in made for name in fold.test) == sorted(r.name for r in corpus.recordings)
    for fold in made:
        assert not people(corpus, trained(fold)) & people(corpus, fold.test)
        assert trained(fold) | set(fold.test) == {r.name for r in corpus.recordings}
        assert set(fold.test_site.values()) == {None}
        assert all(fold.sites.values())
    assert len({fold.name for fold in made}) == len(made)


def test_k_folds_are_even_and_only_the_seed_changes_them(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=10, frames=50)
    first = folds(corpus, Split(kind="k-fold", folds=4, seed=1))
    assert sorted(len(fold.test) for fold in first) == [2, 2, 3, 3]
    assert folds(corpus, Split(kind="k-fold", folds=4, seed=1)) == first
    assert folds(corpus, Split(kind="k-fold", folds=4, seed=2)) != first


def test_a_site_keeps_its_people_in_every_fold(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=5, frames=50)
    made = folds(corpus, Split(kind="leave-one-out", participants_per_site=2))
    assert made[0].sites == {
        "site-01": ("P02-1",),
        "site-02": ("P03-1", "P04-1"),
        "site-03": ("P05-1",),
    }
    assert made[4].sites == {"site-01": ("P01-1", "P02-1"), "site-02": ("P03-1", "P04-1")}


def test_a_site_of_one_has_that_persons_name(tiny_corpus: TinyCorpus) -> None:
    fold = folds(tiny_corpus(participants=3, frames=50), Split(kind="leave-one-out"))[1]
    assert fold.sites == {"P01": ("P01-1",), "P03": ("P03-1",)}
    assert fold.test == ("P02-1",)


def test_official_trains_on_train_and_tests_on_dev(tiny_corpus: TinyCorpus) -> None:
    parts = {"P01": "train", "P02": "dev", "P03": "test", "P04": "train"}
    corpus = tiny_corpus(participants=4, frames=50, partitions=parts)
    (fold,) = folds(corpus, Split(kind="official"))
    assert trained(fold) == {"P01-1", "P04-1"}
    assert fold.test == ("P02-1",)


@pytest.mark.parametrize("parts", [{}, {"P01": "train", "P02": "train"}, {"P01": "train", "P02": "dev"}])
def test_official_needs_to_know_where_everyone_belongs(
    tiny_corpus: TinyCorpus, parts: dict[str, str]
) -> None:
    corpus = tiny_corpus(participants=3, frames=50, partitions=parts)
    with pytest.raises(SettingsError, match=r"split\.kind: tiny"):
        folds(corpus, Split(kind="official"))


def test_sessions_tests_each_persons_last_recording_at_their_own_site(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=3, recordings_each=3, frames=50)
    (fold,) = folds(corpus, Split(kind="sessions", participants_per_site=2))
    assert fold.test == ("P01-3", "P02-3", "P03-3")
    assert fold.test_site == {"P01-3": "site-01", "P02-3": "site-01", "P03-3": "site-02"}
    assert fold.sites["site-02"] == ("P03-1", "P03-2")
    assert not trained(fold) & set(fold.test)


def test_sessions_says_whose_recording_is_missing(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=2, recordings_each=2, frames=50)
    short = Corpus("tiny", corpus.channels, 25.0, corpus.recordings[:3])
    with pytest.raises(SettingsError, match="P02 of tiny has one only"):
        folds(short, Split(kind="sessions"))


@pytest.mark.parametrize("count", [6, 1000])
def test_more_folds_than_people_cannot_be(tiny_corpus: TinyCorpus, count: int) -> None:
    with pytest.raises(SettingsError, match=r"split\.folds: .* holds 5\. Give 2 to 5"):
        folds(tiny_corpus(participants=5, frames=50), Split(kind="k-fold", folds=count))


def test_a_single_person_cannot_be_split_by_participant(tiny_corpus: TinyCorpus) -> None:
    with pytest.raises(SettingsError, match="needs two"):
        folds(tiny_corpus(participants=1, frames=50), Split(kind="leave-one-out"))


def test_alone_a_site_has_nothing_of_others(tiny_corpus: TinyCorpus) -> None:
    corpus = tiny_corpus(participants=3, recordings_each=2, frames=50)
    (sessions,) = folds(corpus, Split(kind="sessions"))
    alone = sessions.only("P02")
    assert alone.sites == {"P02": ("P02-1",)}
    assert alone.test == ("P02-2",)
    unseen = folds(corpus, Split(kind="leave-one-out"))[0].only("P03")
    assert unseen.sites == {"P03": ("P03-1", "P03-2")}
    assert unseen.test == ("P01-1", "P01-2")
    assert set(unseen.test_site.values()) == {"P03"}
