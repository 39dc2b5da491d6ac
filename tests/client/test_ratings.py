"""Ratings: every bad file gets a message that names the file and, where there is one, the line."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_client.features import clock_for
from mien_client.ratings import Ratings, _all_at_once, _row_by_row, on_clock, read_ratings
from mien_common.errors import RatingsError

HEADER = "time,valence,arousal\n"
GOOD = HEADER + "0.0,0.5,-0.5\n2.0,0.7,-0.1\n"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "ratings.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", " , "),
        GOOD.replace("\n", "\n\n"),
        "\ufeff" + GOOD,
        "Time,Valence,Arousal\n0,5e-1,-.5\n2,0.7,-0.1",
        '"time","valence","arousal"\n"0","0.5","-0.5"\n2,0.7,-0.1\n',
    ],
    ids=["plain", "Windows", "blanks", "blank lines", "byte order mark", "capitals", "quotes"],
)
def test_the_same_ratings_in_many_hands(tmp_path: Path, content: str) -> None:
    ratings = read_ratings(written(tmp_path, content))
    assert ratings.time_s.tolist() == [0.0, 2.0]
    assert ratings.values.tolist() == [[0.5, -0.5], [0.7, -0.1]]


@pytest.mark.parametrize("value", ["-1", "1", "-1.0", "1.0"])
def test_the_ends_of_the_range_belong_to_it(tmp_path: Path, value: str) -> None:
    assert read_ratings(written(tmp_path, f"{HEADER}0,{value},{value}\n1,0,0\n")).values[0, 0] == float(value)


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "must begin with the line time,valence,arousal"),
    "no header": ("0,0,0\n1,0,0\n", "must begin with the line"),
    "other header": ("seconds,v,a\n0,0,0\n1,0,0\n", "must begin with the line"),
    "swapped header": ("time,arousal,valence\n0,0,0\n1,0,0\n", "must begin with the line"),
    "semicolons": (GOOD.replace(",", ";"), "must begin with the line"),
    "header only": (HEADER, "holds 0 ratings; at least two"),
    "one rating": (HEADER + "0,0,0\n", "holds 1 ratings; at least two"),
    "NaN": (GOOD + "3,nan,0\n", "line 4: not a finite number"),
    "infinite": (GOOD + "3,0,-inf\n", "line 4: not a finite number"),
    "infinite time": (GOOD + "inf,0,0\n", "line 4: not a finite number"),
    "too high": (GOOD + "3,1.01,0\n", "line 4: valence 1.01 is outside −1 to 1. Rescale"),
    "too low": (GOOD + "3,0,-7\n", "line 4: arousal -7 is outside −1 to 1. Rescale"),
    "text": (GOOD + "3,happy,0\n", "line 4: could not convert string to float: 'happy'"),
    "missing": (GOOD + "3,,0\n", "line 4: could not convert"),
    "two columns": (GOOD + "3,0\n", "line 4: 2 columns, expected 3"),
    "four columns": (GOOD + "3,0,0,0\n", "line 4: 4 columns, expected 3"),
    "behind blank lines": (GOOD + "\n\n3,2,0\n", "line 6: valence 2"),
    "time falls": (GOOD + "1.5,0,0\n", "line 4: the time 1.5 is not after 2, the line before"),
    "time stands": (GOOD + "\n2.0,0,0\n", "line 5: the time 2 is not after 2, the line before"),
    "UTF-16": (GOOD.encode("utf-16"), "is not a text file"),
    "Latin-1": (GOOD.encode() + b"# caf\xe9", "is not a text file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "is not a text file"),
    "zeros": (bytes(64), "must begin with the line"),
    "one endless cell": (HEADER + '"' + "9" * 200_000, "is not a CSV file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_name_and_line(tmp_path: Path, kind: str) -> None:
    content, message = BAD[kind]
    path = written(tmp_path, content)
    with pytest.raises(RatingsError) as raised:
        read_ratings(path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match=r"absent\.csv: No such file"):
        read_ratings(tmp_path / "absent.csv")
    with pytest.raises(RatingsError, match="is not a file"):
        read_ratings(tmp_path)


def check(content: bytes, path: Path) -> None:
    """Ratings that hold what they promise, or a RatingsError; nothing else."""
    path.write_bytes(content)
    try:
        ratings = read_ratings(path)
    except RatingsError:
        return
    slowly = _row_by_row(path, content)
    assert np.array_equal(slowly.time_s, ratings.time_s)
    assert np.array_equal(slowly.values, ratings.values)
    assert len(ratings.time_s) >= 2
    assert (np.diff(ratings.time_s) > 0).all()
    assert ratings.values.shape == (len(ratings.time_s), 2)
    assert (np.abs(ratings.values) <= 1).all()


CELLS = st.one_of(
    st.floats(-2, 2).map(str),
    st.sampled_from(["", "nan", "1e999", "-0", "1_0", "0x1", '"', "'", "\x00", "\x1c", "\u2028", "½", "٣"]),
)
LINES = st.lists(CELLS, min_size=1, max_size=4).map(",".join)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=9))
def test_a_plain_file_is_read_at_once_to_the_same_numbers(rows: list[tuple[float, float, float]]) -> None:
    time_s = np.cumsum([1 + time for time, _, _ in rows])
    lines = [
        f"{now!r},{valence!r},{arousal!r}"
        for now, (_, valence, arousal) in zip(time_s.tolist(), rows, strict=True)
    ]
    content = (HEADER + "\n".join(lines)).encode()
    at_once, slowly = _all_at_once(content), _row_by_row(Path("r.csv"), content)
    assert at_once is not None
    assert np.array_equal(at_once.time_s, slowly.time_s)
    assert np.array_equal(at_once.values, slowly.values)
    assert at_once.values.tolist() == [[valence, arousal] for _, valence, arousal in rows]


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_no_table_can_do_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, lines: str) -> None:
    check((HEADER + lines).encode(), tmp_path_factory.getbasetemp() / "fuzzed.csv")


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_can_do_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, with_header: bool
) -> None:
    check(HEADER.encode() * with_header + noise, tmp_path_factory.getbasetemp() / "fuzzed.csv")


@given(st.lists(st.integers(1, 1500), min_size=2, max_size=30), st.integers(0, 2000))
def test_the_clock_gets_what_numpy_interpolates(steps_ms: list[int], start_ms: int) -> None:
    time_s = (start_ms + np.cumsum(steps_ms)) / 1000.0
    values = np.stack([np.sin(time_s), np.cos(3 * time_s)], axis=1)
    clock = clock_for(60.0)
    try:
        found = on_clock(Ratings(time_s, values), clock, Path("r.csv"))
    except RatingsError:
        assert time_s[-1] - time_s[0] < 1.05
        return
    inside = (clock >= time_s[0]) & (clock <= time_s[-1])
    assert np.isnan(found[~inside]).all()
    for column in (0, 1):
        expected = np.interp(clock[inside], time_s, values[:, column])
        assert found[inside, column] == pytest.approx(expected, abs=1e-6)


def test_a_pause_of_the_rater_is_not_bridged() -> None:
    time_s = np.array([0.0, 1.0, 2.0, 6.0, 7.0, 8.0])
    found = on_clock(Ratings(time_s, np.zeros((6, 2))), clock_for(8.0), Path("r.csv"))
    seconds = clock_for(8.0)
    assert np.isnan(found[(seconds > 2.0) & (seconds < 6.0)]).all()
    assert np.isfinite(found[(seconds <= 2.0) | (seconds > 6.0)]).all()


@pytest.mark.parametrize("start_s", [-50.0, 9.5, 500.0])
def test_ratings_of_another_recording_are_refused(start_s: float) -> None:
    ratings = Ratings(start_s + np.arange(40) / 2.0, np.zeros((40, 2)))
    with pytest.raises(RatingsError) as raised:
        on_clock(ratings, clock_for(10.0), Path("other.csv"))
    message = f"other.csv does not overlap the video: the ratings run from {start_s:.1f} s"
    assert message in str(raised.value)
    assert "the video from 0.0 s to 10.0 s" in str(raised.value)


def test_one_frame_cannot_be_rated() -> None:
    with pytest.raises(RatingsError):
        on_clock(Ratings(np.array([0.0, 9.0]), np.zeros((2, 2))), clock_for(0.0), Path("r.csv"))
    assert math.isclose(clock_for(0.0)[0], 0.0)
