"""Pairs of CSV files: any time series with ratings."""

from pathlib import Path

import numpy as np
import pytest

from mien_common.errors import FeatureFileError, InputError, RatingsError
from mien_lab.corpora.csv_pair import read_csv

from .made_releases import Table, seconds, traces, write_csv


def write_pair(
    root: Path, name: str, *, rate_hz: float = 10.0, valid: Table | None = None, channels: int = 2
) -> None:
    frames = int(20 * rate_hz)
    columns = [seconds(frames, rate_hz), *traces(frames, channels, 1).T]
    names = ["time", *(f"pupil_{place}" for place in range(channels))]
    if valid is not None:
        columns, names = [*columns, valid], [*names, "valid"]
    write_csv(root / f"{name}.features.csv", names, np.column_stack(columns), ",")
    rated = np.column_stack([seconds(40, 2.0), traces(40, 2, 2)])
    write_csv(root / f"{name}.ratings.csv", ("time", "valence", "arousal"), rated, ",")


def test_two_files_a_recording_are_a_corpus(tmp_path: Path) -> None:
    write_pair(tmp_path, "anna_1")
    write_pair(tmp_path, "anna_2")
    write_pair(tmp_path, "ben_1")
    corpus = read_csv(tmp_path)
    assert (corpus.channels, corpus.rate_hz) == (("pupil_0", "pupil_1"), 10.0)
    assert corpus.participants == ("anna", "ben")
    first = corpus.recordings[0]
    assert (first.name, first.raters) == ("anna_1", ("rater",))
    assert first.valid.all()
    # Rated twice a second, to 19.5 s: on the line between.
    clock, rated = np.arange(196) / 10, traces(40, 2, 2)
    expected = [np.interp(clock, seconds(40, 2.0), rated[:, column]) for column in (0, 1)]
    np.testing.assert_allclose(first.ratings[0], np.stack(expected, axis=1), atol=2e-4)


def test_several_raters_by_name_one_of_them_with_gaps(tmp_path: Path) -> None:
    write_pair(tmp_path, "anna_1")
    rated = np.column_stack([seconds(200, 10.0), traces(200, 4, 3)])
    rated[50:60, 3] = np.nan
    names = ("time", "valence_Ann", "arousal_Ann", "Arousal_B C ", "Valence_B C ")
    write_csv(tmp_path / "anna_1.ratings.csv", names, rated)
    first = read_csv(tmp_path).recordings[0]
    assert first.raters == ("Ann", "B C")
    np.testing.assert_allclose(first.ratings[1, :, 0], rated[:, 4], atol=1e-4)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(first.ratings[1, :, 1])), np.arange(50, 60))


def test_a_column_valid_says_which_frames_count(tmp_path: Path) -> None:
    valid = np.ones(200)
    valid[20:25] = 0
    write_pair(tmp_path, "anna_1", valid=valid)
    corpus = read_csv(tmp_path)
    assert corpus.channels == ("pupil_0", "pupil_1")
    np.testing.assert_array_equal(np.flatnonzero(~corpus.recordings[0].valid), np.arange(20, 25))


def test_sub_folders_are_participants_and_a_list_says_otherwise(tmp_path: Path) -> None:
    write_pair(tmp_path, "P1/session-1")
    write_pair(tmp_path, "P1/session-2")
    write_pair(tmp_path, "P2/session-1")
    assert read_csv(tmp_path).participants == ("P1", "P2")
    (tmp_path / "participants.csv").write_text(
        "recording, participant, partition\nP1/session-1,A,train\nP1/session-2,B,train\nP2/session-1,C,dev\n"
    )
    corpus = read_csv(tmp_path)
    assert corpus.participants == ("A", "B", "C")
    assert corpus.partitions == {"A": "train", "B": "train", "C": "dev"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recording,who\n", "must begin with recording,participant"),
        ("recording,participant\nanna_1\n", "line 2: 2 cells are needed"),
        ("recording,participant\nanna_1,A\nanna_1,B\n", "line 3: recording anna_1 is there twice"),
        ("recording,participant\nanna_1,A\nx,B\n", "names the recording x, and there are no features"),
        ("recording,participant\n", r"participants\.csv does not name the recording anna_1"),
        (
            "recording,participant,partition\nanna_1,A,val\n",
            "column partition: 'val' is not train, dev or test",
        ),
        (
            "recording,participant,partition\nx,A,train\nanna_1,A,dev\n",
            "line 3: participant A is in two partitions",
        ),
    ],
)
def test_a_list_of_participants_that_will_not_do_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write_pair(tmp_path, "anna_1")
    (tmp_path / "participants.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("time,valence,joy", r"anna_1\.ratings\.csv, column valence: neither time nor a rating"),
        ("time,valence_A,arousal_B", "has no column arousal_A; rater A needs both"),
        ("t,valence,arousal", "has no column time"),
    ],
)
def test_other_ratings_are_refused(tmp_path: Path, header: str, message: str) -> None:
    write_pair(tmp_path, "anna_1")
    rows = "\n".join(f"{second},0.1,0.2" for second in range(20))
    (tmp_path / "anna_1.ratings.csv").write_text(f"{header}\n{rows}\n")
    with pytest.raises((RatingsError, InputError), match=message):
        read_csv(tmp_path)


def test_recordings_of_two_schemas_or_rates_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "anna_1")
    write_pair(tmp_path, "ben_1", channels=3)
    with pytest.raises(FeatureFileError, match=r"ben_1\.features\.csv .* it has pupil_2 besides \(3 and 2"):
        read_csv(tmp_path)
    write_pair(tmp_path, "ben_1", rate_hz=12.0)
    with pytest.raises(FeatureFileError, match=r"has 12 rows a second and .* 10\. All recordings"):
        read_csv(tmp_path)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no NAME\.features\.csv"):
        read_csv(tmp_path)
    write_pair(tmp_path, "anna_1")
    (tmp_path / "anna_1.ratings.csv").unlink()
    with pytest.raises(InputError, match=r"has no ratings: .*anna_1\.ratings\.csv is not there"):
        read_csv(tmp_path)
    (tmp_path / "anna_1.features.csv").rename(tmp_path / "ben_1.features.csv")
    (tmp_path / "anna_1.ratings.csv").write_text("time,valence,arousal\n0,0,0\n1,0,0\n")
    with pytest.raises(
        InputError, match=r"anna_1\.ratings\.csv has no features: .*anna_1\.features\.csv is n"
    ):
        read_csv(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        read_csv(tmp_path / "ben_1.features.csv")


def test_valid_can_only_be_0_or_1(tmp_path: Path) -> None:
    write_pair(tmp_path, "anna_1", valid=np.full(200, 0.5))
    with pytest.raises(FeatureFileError, match="column valid: only 0 and 1"):
        read_csv(tmp_path)


def test_two_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    """Names are paths seen from the folder, so that only a reader that gives them can repeat one."""
    from mien_lab.corpora.admission import admit

    write_pair(tmp_path, "anna_1")
    (one,) = read_csv(tmp_path).recordings
    with pytest.raises(InputError, match="two recordings are called anna_1"):
        admit("x", ("pupil_0", "pupil_1"), 10.0, [one, one])


def test_a_recording_that_a_usual_rater_did_not_rate_is_noted(tmp_path: Path) -> None:
    rated = np.column_stack([seconds(200, 10.0), traces(200, 4, 3)])
    names = ("time", "valence_A", "arousal_A", "valence_B", "arousal_B")
    for name in ("ann_1", "ben_1", "cid_1"):
        write_pair(tmp_path, name)
        write_csv(tmp_path / f"{name}.ratings.csv", names, rated)
    assert "no ratings by" not in read_csv(tmp_path).note
    write_csv(tmp_path / "ben_1.ratings.csv", names[:3], rated[:, :3])
    assert "no ratings by B, who rated most recordings (ben_1)" in read_csv(tmp_path).note
