"""The corpus that a configuration names."""

from pathlib import Path

import numpy as np
import pytest

from mien_common.errors import InputError, SettingsError
from mien_lab.corpora.opening import open_corpus
from mien_lab.corpora.puppets import read_puppets
from mien_lab.experiments.config import CorpusChoice

from .made_releases import avec2016, avec2018, recola
from .test_csv_pair import write_pair
from .test_extracted import openface, pyfeat, ratings
from .test_site_sessions import put_session


def extracted(root: Path, kind: str) -> None:
    root.mkdir()
    (openface if kind == "openface" else pyfeat)(root / "P1.csv")
    ratings(root / "P1.ratings.csv")


def make(kind: str, root: Path) -> None:
    match kind:
        case "recola":
            recola(root, frames=101)
        case "avec2016":
            avec2016(root)
        case "avec2018":
            avec2018(root)
        case "openface" | "py-feat":
            extracted(root, kind)
        case "csv":
            write_pair(root, "anna_1")
        case "sessions":
            put_session(root, "s1", "p01")


@pytest.mark.parametrize("kind", ["recola", "avec2016", "avec2018", "openface", "py-feat", "csv", "sessions"])
def test_every_kind_is_opened_from_the_configurations_folder(tmp_path: Path, kind: str) -> None:
    make(kind, tmp_path / "data")
    corpus = open_corpus(CorpusChoice(kind=kind, path=Path("data")), tmp_path)  # type: ignore[arg-type]
    for recording in corpus.recordings:
        frames = len(recording.valid)
        assert recording.features.shape == (frames, len(corpus.channels))
        assert recording.features.dtype == np.float32
        assert recording.ratings.shape == (len(recording.raters), frames, 2)
        assert recording.ratings.dtype == np.float32
        assert recording.valid.any()


def test_made_data_need_no_path(tmp_path: Path) -> None:
    corpus = open_corpus(CorpusChoice(kind="synthetic", participants=2, seed=3), tmp_path)
    assert len(corpus.participants) == 2
    assert "synthetic" in corpus.note.lower()


def test_a_set_of_features_where_there_is_only_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"corpus\.features: csv has one set of features"):
        open_corpus(CorpusChoice(kind="csv", path=Path("x"), features="AU"), tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone is not there\. Check corpus\.path"):
        open_corpus(CorpusChoice(kind="csv", path=Path("gone")), tmp_path)


def test_puppets_are_filmed_once_and_say_what_they_are(tmp_path: Path) -> None:
    made = read_puppets(tmp_path, 1, 1, sessions=1, seconds=2.0)
    (folder,) = tmp_path.iterdir()
    assert {each.name for each in folder.iterdir()} == {"sites"}  # no film is left
    before = folder.stat().st_mtime_ns
    again = read_puppets(tmp_path, 1, 1, sessions=1, seconds=2.0)
    assert folder.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.recordings[0].features, made.recordings[0].features)
    assert made.participants == ("participant-01",)
    assert "no evidence about people" in made.note


def test_puppets_that_another_process_made_meanwhile_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_settings: object, folder: Path, _progress: object) -> None:
        theirs = folder.parent / "puppets-2x2x30s-seed-5"
        for place in (folder, theirs):
            put_session(place / "sites" / "participant-01" / "sessions", "s1")

    monkeypatch.setattr("mien_lab.corpora.puppets._make", make)
    corpus = open_corpus(CorpusChoice(kind="puppet", participants=2, seed=5), tmp_path)
    assert corpus.participants == ("participant-01",)
    assert [each.name for each in (tmp_path / "made-data").iterdir()] == ["puppets-2x2x30s-seed-5"]
