"""RECOLA's native release, as the tests make it."""

from pathlib import Path

import numpy as np
import pytest

from mien_common.errors import FeatureFileError, InputError, RatingsError
from mien_lab.corpora.recola import read_recola

from .made_releases import ATTRIBUTES, FRAMES, Table, recola, recola_csv, recola_features, write_csv

SHORT = 251
ANNOTATION = Path("RECOLA-Annotation", "emotional_behaviour")


def semicolons(folder: Path, person: str, values: Table) -> Path:
    return write_csv(folder / f"{person}.csv", ("time ", *(f" {name} " for name in ATTRIBUTES)), values, ";")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recola(tmp_path_factory.mktemp("recola"))


def test_a_whole_release_is_read_as_it_is(whole: Path) -> None:
    corpus = read_recola(whole)
    assert corpus.channels == ATTRIBUTES
    assert (corpus.rate_hz, corpus.participants, dict(corpus.partitions)) == (25.0, ("P16", "P17"), {})
    first = corpus.recordings[0]
    assert first.raters == ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
    assert first.features.shape == (FRAMES - 1, 40)
    assert first.ratings.shape == (6, FRAMES - 1, 2)
    assert first.gold is None


def test_features_and_ratings_are_aligned_by_time_and_not_by_row(whole: Path) -> None:
    first = read_recola(whole).recordings[0]
    lines = (whole / ANNOTATION / "valence" / "P16.csv").read_text().splitlines()
    # The features' first row is at 0.04 s: the ratings' second.
    assert lines[2].startswith("0.0400;")
    np.testing.assert_allclose(first.ratings[:, 0, 0], [float(x) for x in lines[2].split(";")[1:]], atol=1e-6)
    np.testing.assert_allclose(
        first.ratings[:, -1, 0], [float(x) for x in lines[-1].split(";")[1:]], atol=1e-6
    )
    expected = recola_features(FRAMES, 0)[:, 1:]
    np.testing.assert_allclose(first.features[first.valid], expected[first.valid], rtol=1e-5)


def test_a_row_of_zeros_is_a_frame_without_a_face(whole: Path) -> None:
    first = read_recola(whole).recordings[0]
    np.testing.assert_array_equal(np.flatnonzero(~first.valid), np.arange(30, 50))
    assert np.isnan(first.features[30:50]).all()


@pytest.mark.parametrize("write", [recola_csv, semicolons])
def test_features_as_csv_give_the_same(tmp_path: Path, write: object) -> None:
    by_arff = read_recola(recola(tmp_path / "arff", frames=SHORT))
    by_csv = read_recola(recola(tmp_path / "csv", frames=SHORT, features=write))  # type: ignore[arg-type]
    assert by_csv.channels == by_arff.channels
    for one, other in zip(by_arff.recordings, by_csv.recordings, strict=True):
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.valid, other.valid)


def test_a_release_with_every_row_keeps_every_frame(tmp_path: Path) -> None:
    def every_row(folder: Path, person: str, values: Table) -> Path:
        zero = np.concatenate([[0.0], values[0, 1:]])
        return recola_csv(folder, person, np.vstack([zero, values]))

    corpus = read_recola(recola(tmp_path, frames=SHORT, features=every_row))
    assert len(corpus.recordings[0].valid) == SHORT
    assert corpus.note == ""


def test_a_rater_who_paused_is_missing_there_and_only_there(tmp_path: Path) -> None:
    root = recola(tmp_path, frames=SHORT)
    path = root / ANNOTATION / "arousal" / "P16.csv"
    lines = path.read_text().splitlines()
    for row in range(100, 120):
        cells = lines[row].split(";")
        lines[row] = ";".join([cells[0], "", *cells[2:]])
    path.write_text("\n".join(lines))
    ratings = read_recola(root).recordings[0].ratings
    # Line 100 holds row 99, the frame at 99 × 0.04 s; the recording begins with frame 1.
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(ratings[0, :, 1])), np.arange(98, 118))
    assert np.isfinite(ratings[1:]).all()
    assert np.isfinite(ratings[:, :, 0]).all()


def test_people_without_ratings_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    root = recola(tmp_path, ("P16", "P17"), SHORT)
    for target in ("arousal", "valence"):
        (root / ANNOTATION / target / "P17.csv").unlink()
    corpus = read_recola(root)
    assert corpus.participants == ("P16",)
    assert "features and no ratings, left out (P17)" in corpus.note


def rater_missing(root: Path) -> None:
    path = root / ANNOTATION / "arousal" / "P16.csv"
    path.write_text("\n".join(line.rpartition(";")[0] for line in path.read_text().splitlines()))


def no_raters(root: Path) -> None:
    for target in ("arousal", "valence"):
        path = root / ANNOTATION / target / "P16.csv"
        path.write_text("\n".join(line.partition(";")[0] for line in path.read_text().splitlines()))


def silent_rater(root: Path) -> None:
    path = root / ANNOTATION / "valence" / "P16.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(line.rpartition(";")[0] + ";" for line in lines)]))


def out_of_range(root: Path) -> None:
    path = root / ANNOTATION / "valence" / "P16.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rpartition(";")[0] + ";1.5"
    path.write_text("\n".join(lines))


def another_schema(root: Path) -> None:
    path = root / "RECOLA-Video-features" / "P17.arff"
    path.write_text(path.read_text().replace("AU9 numeric", "AU10 numeric"))


def fewer_channels(root: Path) -> None:
    values = recola_features(SHORT, 1)[:, :-1]
    (root / "RECOLA-Video-features" / "P17.arff").unlink()
    write_csv(root / "RECOLA-Video-features" / "P17.csv", ("time", *ATTRIBUTES[:-1]), values)


def no_face(root: Path) -> None:
    values = recola_features(SHORT, 1)
    values[:, 1:] = 0
    (root / "RECOLA-Video-features" / "P17.arff").unlink()
    recola_csv(root / "RECOLA-Video-features", "P17", values)


def frame_numbers(root: Path) -> None:
    values = recola_features(SHORT, 0)
    values[:, 0] = np.arange(1, SHORT)
    (root / "RECOLA-Video-features" / "P16.arff").unlink()
    recola_csv(root / "RECOLA-Video-features", "P16", values)


def shorter(root: Path) -> None:
    path = root / "RECOLA-Video-features" / "P16.arff"
    path.write_text("\n".join(path.read_text().splitlines()[:-60]))


def unlink(name: str) -> object:
    return lambda root: (root / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (rater_missing, RatingsError, r"arousal/P16\.csv has no rater FF3, and .*valence/P16\.csv has"),
        (no_raters, InputError, r"valence/P16\.csv has no column but time"),
        (silent_rater, RatingsError, r"valence/P16\.csv, column FF3: no rating at all"),
        (out_of_range, RatingsError, r"valence/P16\.csv, column FF3: 1\.5 at 0\.08 s is outside −1 to 1"),
        (another_schema, FeatureFileError, r"P17\.arff is of another schema than .*P16\.arff: it has no AU9"),
        (
            fewer_channels,
            FeatureFileError,
            r"P17\.csv is of another schema .* flow_std_delta \(39 and 40 chan",
        ),
        (no_face, FeatureFileError, r"P17\.csv: participant P17 has no frame in which the face was measured"),
        (frame_numbers, FeatureFileError, r"P16\.csv: the first column should be the time in seconds"),
        (shorter, InputError, r"P16\.arff ends at 7\.6 s and .*P16\.csv at 10 s. Up to 1 s is cut"),
        (unlink("RECOLA-Video-features/P16.arff"), FeatureFileError, "no features of participant P16"),
        (unlink(f"{ANNOTATION}/arousal/P16.csv"), RatingsError, "arousal holds no ratings of P16"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(
    tmp_path: Path, spoil: object, error: type[Exception], message: str
) -> None:
    root = recola(tmp_path, frames=SHORT)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(error, match=message):
        read_recola(root)


def test_another_folder_is_not_recola(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the folder of RECOLA: looked for RECOLA-Annotation"):
        read_recola(tmp_path)
    with pytest.raises(InputError, match=r"is not there\. Check corpus\.path"):
        read_recola(tmp_path / "gone")
    (tmp_path / ANNOTATION / "valence").mkdir(parents=True)
    with pytest.raises(InputError, match="RECOLA's features: looked for RECOLA-Video-features"):
        read_recola(tmp_path)
    (tmp_path / "RECOLA-Video-features").mkdir()
    with pytest.raises(RatingsError, match="valence is not there or holds no ratings"):
        read_recola(tmp_path)
