"""OpenFace's and py-feat's files with ratings: the agent's own numbers."""

from pathlib import Path

import numpy as np
import pytest

from mien_client.features import MODEL_CHANNELS
from mien_client.ingest import ingest
from mien_client.sessions import read_session
from mien_client.site import Site, SiteSettings
from mien_common.errors import FeatureFileError, InputError, RatingsError
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS
from mien_lab.corpora.extracted import read_extracted

from .made_releases import seconds, traces, write_csv


def openface(path: Path, seed: int = 0) -> Path:
    """As FeatureExtraction writes it, blanks and all: 4 s at 30 Hz, half a second without a face."""
    rng = np.random.default_rng(seed)
    success = np.ones(120)
    success[60:75] = 0
    columns = [np.arange(1, 121), np.zeros(120), seconds(120, 30.0), np.where(success, 0.98, 0.1), success]
    units = np.cumsum(rng.uniform(0, 0.02, (120, len(AU_CHANNELS))), axis=0)
    table = np.column_stack([*columns, rng.normal(0, 0.1, (120, 3)), units])
    names = ("frame", "face_id", "timestamp", "confidence", "success", *POSE_CHANNELS, *AU_CHANNELS)
    return write_csv(path, names, table, ", ")


def pyfeat(path: Path) -> Path:
    """A saved Fex table of 4 s at 25 Hz."""
    units = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU17")
    more = ("AU20", "AU23", "AU25", "AU26", "AU43")
    values = np.random.default_rng(1).uniform(0, 1, (100, len(units) + len(more)))
    values[10:20] = np.nan
    table = np.column_stack([np.arange(100), values])
    write_csv(path, ("frame", *units, *more), table, ",")
    head, *rows = path.read_text().splitlines()
    stamped = [f"{row},00:{place // 25:02d}" for place, row in enumerate(rows)]
    path.write_text("\n".join([head + ",approx_time", *stamped]) + "\n")
    return path


def ratings(path: Path) -> Path:
    rated = np.column_stack([seconds(41, 10.0), traces(41, 2, 5)])
    return write_csv(path, ("time", "valence", "arousal"), rated, ",")


def site(folder: Path) -> Site:
    made = Site(folder, SiteSettings(name="lab-1", server="localhost:9092"))
    made.sessions.mkdir(parents=True)
    made.state.mkdir()
    return made


@pytest.mark.parametrize(("kind", "write"), [("openface", openface), ("py-feat", pyfeat)])
def test_the_numbers_are_those_of_an_agent_that_ingested_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, write: object
) -> None:
    monkeypatch.setattr("mien_client.face.confinement.deny_network", lambda: None)
    path = write(tmp_path / "study" / "P1.csv")  # type: ignore[operator]
    rated = ratings(tmp_path / "study" / "P1.ratings.csv")
    by_agent = ingest(
        site(tmp_path / "site"),
        path,
        rated,
        held_out=False,
        csv=False,
        progress=lambda _done, _total: None,
        kind="features",
    )
    session = read_session(by_agent.folder)
    corpus = read_extracted(tmp_path / "study", kind)  # type: ignore[arg-type]
    (found,) = corpus.recordings
    assert (corpus.channels, corpus.rate_hz, found.participant) == (AU_V1.channels, 25.0, "P1")
    expected = np.where(MODEL_CHANNELS, session.features.values, np.nan)
    np.testing.assert_array_equal(found.features, expected)
    np.testing.assert_array_equal(found.valid, session.features.valid)
    assert session.ratings is not None
    np.testing.assert_array_equal(found.ratings[0], session.ratings)
    assert 0 < found.valid.sum() < len(found.valid)


def test_success_0_is_no_face_although_there_are_numbers(tmp_path: Path) -> None:
    openface(tmp_path / "P1.csv")
    ratings(tmp_path / "P1.ratings.csv")
    (found,) = read_extracted(tmp_path, "openface").recordings
    assert not found.valid[51:62].any()
    assert np.isnan(found.features[51:62]).all()


def test_sub_folders_are_people_and_ratings_may_lie_apart(tmp_path: Path) -> None:
    for person in ("P1", "P2"):
        (tmp_path / person).mkdir()
        openface(tmp_path / person / "a.csv")
        openface(tmp_path / person / "b.csv", 1)
        for name in ("a", "b"):
            ratings(tmp_path / "ratings" / person / f"{name}.csv")
    corpus = read_extracted(tmp_path, "openface")
    assert corpus.participants == ("P1", "P2")
    assert [each.name for each in corpus.recordings] == ["P1/a", "P1/b", "P2/a", "P2/b"]


def test_two_raters_one_with_a_pause(tmp_path: Path) -> None:
    openface(tmp_path / "P1.csv")
    rated = np.column_stack([seconds(41, 10.0), traces(41, 4, 5)])
    rated[10:32, 4] = np.nan
    write_csv(
        tmp_path / "P1.ratings.csv", ("time", "valence_A", "arousal_A", "valence_B", "arousal_B"), rated, ","
    )
    (found,) = read_extracted(tmp_path, "openface").recordings
    assert found.raters == ("A", "B")
    assert np.isnan(found.ratings[1, 25:78, 1]).all()  # over two seconds: not interpolated over
    assert np.isfinite(found.ratings[0, :99]).all()


def test_what_is_no_extractors_file_is_left_out_and_said(tmp_path: Path) -> None:
    openface(tmp_path / "P1.csv")
    ratings(tmp_path / "P1.ratings.csv")
    (tmp_path / "notes.csv").write_text("who,what\n1,2\n")
    assert read_extracted(tmp_path, "openface").note == "no extractor's file, left out (notes.csv)"


def test_files_of_two_extractors_are_refused(tmp_path: Path) -> None:
    openface(tmp_path / "P1.csv")
    pyfeat(tmp_path / "P2.csv")
    for person in ("P1", "P2"):
        ratings(tmp_path / f"{person}.ratings.csv")
    with pytest.raises(
        FeatureFileError, match=r"P2\.csv was written by py-feat, and corpus\.kind is 'openface'"
    ):
        read_extracted(tmp_path, "openface")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no CSV file of py-feat"):
        read_extracted(tmp_path, "py-feat")
    openface(tmp_path / "P1.csv")
    with pytest.raises(InputError, match=r"neither .*P1\.ratings\.csv nor .*ratings/P1\.csv is there"):
        read_extracted(tmp_path, "openface")
    ratings(tmp_path / "ratings" / "P2.csv")
    ratings(tmp_path / "ratings" / "P1.csv")
    with pytest.raises(InputError, match=r"ratings/P2\.csv has no features: no file of openface"):
        read_extracted(tmp_path, "openface")
    (tmp_path / "ratings" / "P2.csv").unlink()
    late = ratings(tmp_path / "P1.ratings.csv")
    rows = np.column_stack([seconds(20) + 60, traces(20, 2, 0)])
    write_csv(late, ("time", "valence", "arousal"), rows, ",")
    with pytest.raises(RatingsError, match=r"P1\.ratings\.csv does not overlap the video"):
        read_extracted(tmp_path, "openface")
