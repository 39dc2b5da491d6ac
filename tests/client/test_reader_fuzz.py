"""Whatever bytes lie in a file, its reader gives what it promises or says in a sentence what is wrong.

Examples are counted: together at least 10,000 (see :func:`test_there_are_ten_thousand_examples`). Each one
is cheap, so that all of them take seconds.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien_client.feature_files import features_from_file, is_feature_file
from mien_client.features import Features
from mien_client.participants import read_calibration
from mien_client.ratings import read_ratings
from mien_client.sessions import Session, read_session, write_session
from mien_client.site import Site
from mien_common.errors import FeatureFileError, InputError, RatingsError, SessionError
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS

EXAMPLES: Final = {
    "ratings": 4000,
    "openface": 1900,
    "py-feat": 1900,
    "session.json": 800,
    "parquet": 600,
    "calibration": 1000,
}


def fuzz(part: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many examples, on one file that each overwrites."""
    return settings(
        max_examples=EXAMPLES[part],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def test_there_are_ten_thousand_examples() -> None:
    assert sum(EXAMPLES.values()) >= 10_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fuzzed.csv"


def refusal(read: Callable[[], object], kind: type[InputError]) -> str | None:
    """What a reader says when it refuses; None where it does not. Any other error is a failure."""
    try:
        read()
    except kind as error:
        return str(error)
    return None


ODD_CELLS: Final = (
    *("", " ", "nan", "-nan(ind)", "inf", "-inf", "1e999", "-0", "1_0", "0x1", "½", "٣", "\x00", "\x1c"),
    *('"', '"a', "'", "\u2028", "-", "+", ".", "e", "1,5", "1;5", "NA", "null", "True", "1e-400", "9" * 400),
)
NUMBERS: Final = st.one_of(
    st.floats(-1, 5).map(lambda value: f"{value:.3f}"), st.integers(-2, 3).map(str), st.floats().map(str)
)
CELLS: Final = st.one_of(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(ODD_CELLS))


def tables(header: Sequence[str], good: Callable[[int], Sequence[str]]) -> st.SearchStrategy[bytes]:
    """Tables that are right but for a few cells, lines or bytes; and noise.

    ``good`` gives the cells of a row that is right.
    """
    edit = st.tuples(st.integers(0, 5), st.integers(0, len(header) - 1), st.one_of(CELLS, st.none()))

    def written(parts: tuple[int, list[tuple[int, int, str | None]], str, str, bytes]) -> bytes:
        count, edits, separator, line_end, tail = parts
        rows = [list(header), *(list(good(number)) for number in range(count))]
        for row, column, cell in edits:
            if row < count and column < len(rows[row + 1]):
                rows[row + 1][column : column + 1] = [] if cell is None else [cell]
        return line_end.join(separator.join(row) for row in rows).encode() + tail

    some = st.tuples(
        st.integers(0, 6),
        st.lists(edit, max_size=3),
        st.sampled_from([",", ", ", ",", ";"]),
        st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"]),
        st.one_of(st.just(b""), st.just(b"\n"), st.binary(max_size=3)),
    ).map(written)
    noise = st.binary(max_size=120)
    return st.one_of(
        some, some, some, noise, noise.map(lambda tail: ",".join(header).encode() + b"\n" + tail)
    )


@fuzz("ratings")
@given(tables(("time", "valence", "arousal"), lambda number: (str(number), "0.5", "-0.25")))
def test_ratings(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    if (said := refusal(lambda: read_ratings(file), RatingsError)) is not None:
        assert "\n" not in said
        assert str(file) in said
        return
    ratings = read_ratings(file)
    assert (np.diff(ratings.time_s) > 0).all()
    assert (np.abs(ratings.values) <= 1).all()


OPENFACE_COLUMNS: Final = (
    "frame",
    "face_id",
    "timestamp",
    "confidence",
    "success",
    *POSE_CHANNELS,
    *AU_CHANNELS,
)
PYFEAT_COLUMNS: Final = (
    *("FaceRectWidth", "FaceRectHeight", "Pitch", "Roll", "Yaw", "frame", "approx_time", "Identity", "AU43"),
    *(f"AU{unit:02d}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26)),
)


def openface_row(number: int) -> list[str]:
    return [
        str(number + 1),
        "0",
        f"{number / 30:.3f}",
        "0.98",
        "1",
        *["0.1"] * 3,
        *["1.5"] * len(AU_CHANNELS),
    ]


def pyfeat_row(number: int) -> list[str]:
    start = ["80", "90", "5.0", "4.0", "-3.0", str(number * 15), f"00:0{number // 2}", "Person_0"]
    return start + ["0.3"] * (len(PYFEAT_COLUMNS) - len(start))


def read_features(file: Path, content: bytes, rate_hz: float | None) -> None:
    file.write_bytes(content)
    is_feature_file(file)
    notes: list[str] = []

    def read() -> Features:
        return features_from_file(file, rate_hz, notes.append)[0]

    if (said := refusal(read, FeatureFileError)) is not None:
        assert "\n" not in said
        return
    features = read()
    assert not np.isinf(features.values).any()
    units = features.values[:, :17]
    assert ((units >= 0) & (units <= 5) | np.isnan(units)).all()
    assert features.time_s == pytest.approx(np.arange(len(features.time_s)) / 25)


@pytest.fixture
def short_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a time of hours in it makes millions of frames, and would find nothing more."""
    monkeypatch.setattr("mien_client.feature_files.LONGEST_S", 60.0)


@fuzz("openface")
@given(tables(OPENFACE_COLUMNS, openface_row), st.sampled_from([None, None, 25.0, 1e-3]))
def test_openface(short_files: None, file: Path, content: bytes, rate_hz: float | None) -> None:
    read_features(file, content, rate_hz)


@fuzz("py-feat")
@given(tables(PYFEAT_COLUMNS, pyfeat_row), st.sampled_from([None, 25.0, 0.0, -1.0]))
def test_pyfeat(short_files: None, file: Path, content: bytes, rate_hz: float | None) -> None:
    read_features(file, content, rate_hz)


JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, make_session: Callable[..., Session]) -> Path:
    """A session on disk, short and rated."""
    return write_session(tmp_path_factory.mktemp("sessions"), make_session("s-1", seconds=1.0))


def check_session(folder: Path) -> None:
    if (said := refusal(lambda: read_session(folder), SessionError)) is not None:
        assert str(folder) in said
        return
    session = read_session(folder)
    assert session.features.values.shape == (session.record.frames, len(AU_V1.channels))
    assert np.isfinite(session.features.values[session.features.valid]).any(axis=1).all()


def edits(original: bytes) -> st.SearchStrategy[bytes]:
    """A file's bytes with some changed, cut, doubled or put in."""
    place = st.integers(0, len(original))
    changed = st.lists(
        st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )

    def change(pairs: list[tuple[int, int]]) -> bytes:
        content = bytearray(original)
        for where, byte in pairs:
            content[where] = byte
        return bytes(content)

    return st.one_of(
        changed.map(change),
        place.map(lambda end: original[:end]),
        st.tuples(place, place).map(lambda ends: original[: ends[0]] + original[ends[1] :]),
        st.tuples(place, st.binary(max_size=8)).map(lambda it: original[: it[0]] + it[1] + original[it[0] :]),
    )


@fuzz("session.json")
@given(st.data())
def test_session_record(written: Path, data: st.DataObject) -> None:
    path = written / "session.json"
    original = path.read_bytes()
    record: dict[str, Any] = json.loads(original)
    replaced = st.tuples(st.sampled_from(sorted(record)), JSON).map(
        lambda change: json.dumps(record | {change[0]: change[1]}).encode()
    )
    without = st.sampled_from(sorted(record)).map(
        lambda name: json.dumps({key: value for key, value in record.items() if key != name}).encode()
    )
    path.write_bytes(
        data.draw(
            st.one_of(
                replaced, replaced, without, JSON.map(lambda it: json.dumps(it).encode()), edits(original)
            )
        )
    )
    try:
        check_session(written)
    finally:
        path.write_bytes(original)


@fuzz("parquet")
@given(st.data(), st.sampled_from(["features.parquet", "ratings.parquet"]))
def test_session_tables(written: Path, data: st.DataObject, name: str) -> None:
    path = written / name
    original = path.read_bytes()
    path.write_bytes(data.draw(edits(original)))
    try:
        check_session(written)
    finally:
        path.write_bytes(original)


@fuzz("calibration")
@given(st.data())
def test_calibration(site: Site, data: st.DataObject) -> None:
    valid = {
        "layout": 1,
        "participant": "p-01",
        "created": "2026-11-23T09:00:00+00:00",
        "source": "camera",
        "seconds": 10.0,
        "frames": 250,
        "units": {name: {"neutral": 0.1, "spread": 0.05} for name in AU_CHANNELS},
        "versions": {},
    }
    original = json.dumps(valid).encode()
    replaced = st.tuples(st.sampled_from(sorted(valid)), JSON).map(
        lambda change: json.dumps(valid | {change[0]: change[1]}).encode()
    )
    site.calibrations.mkdir(exist_ok=True)
    (site.calibrations / "p-01.json").write_bytes(data.draw(st.one_of(replaced, edits(original))))
    if (said := refusal(lambda: read_calibration(site, "p-01"), InputError)) is not None:
        assert "p-01.json" in said
        return
    found = read_calibration(site, "p-01")
    assert found is not None
    assert np.isfinite(found.neutral().units).all()
