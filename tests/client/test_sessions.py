"""Sessions: what is written can be read, and nothing half-written or damaged is taken."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_client.observations import FaceState
from mien_client.sessions import Session, read_session, session_folders, session_record, write_session
from mien_common.errors import SessionError, StorageError
from mien_common.schema import AU_V1

Make = Callable[..., Session]


@pytest.fixture
def folder(tmp_path: Path, make_session: Make) -> Path:
    """A session on disk."""
    return write_session(tmp_path / "sessions", make_session("s-1"))


def edit(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "session.json").read_text()) | changes
    (folder / "session.json").write_text(json.dumps(record))


def make_old(folder: Path) -> None:
    """As the first version wrote it."""
    record = json.loads((folder / "session.json").read_text())
    later = ("layout", "participant", "neutral", "features_from", "confined", "seconds", "switches")
    (folder / "session.json").write_text(json.dumps({k: v for k, v in record.items() if k not in later}))
    edit_table(
        folder / "features.parquet", lambda t: {k: v for k, v in t.items() if k not in ("state", "face")}
    )


def edit_table(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.table(change({name: table.column(name) for name in table.column_names})), path)


def test_what_is_written_can_be_read(tmp_path: Path, make_session: Make) -> None:
    valid = np.arange(101) % 7 > 1
    ratings = np.linspace(-1, 1, 202).reshape(101, 2).astype(np.float32)
    ratings[40:50] = np.nan
    session = make_session("s-1", valid=valid, ratings=ratings, held_out=True)
    read = read_session(write_session(tmp_path / "deep" / "sessions", session))
    assert read.record == session.record
    assert np.array_equal(read.features.time_s, session.features.time_s)
    assert np.array_equal(read.features.valid, valid)
    assert np.array_equal(read.features.values, session.features.values, equal_nan=True)
    assert read.ratings is not None
    assert np.array_equal(read.ratings, ratings, equal_nan=True)


def test_a_channel_is_kept_missing_by_itself(tmp_path: Path, make_session: Make) -> None:
    session = make_session("s-1")
    mouth = AU_V1.channels.index("AU12_r")
    session.features.values[30:60, mouth] = np.nan
    session.features.valid[30:60] = False
    session.features.state[30:60] = FaceState.COVERED
    session.features.face[50:] = 1
    record = session_record(
        session_id="s-1",
        features=session.features,
        rated=True,
        held_out=False,
        source=Path("film.avi"),
        source_sha256="0" * 64,
        participant="p-07",
        neutral="calibration",
        features_from="mediapipe",
        confined=False,
    )
    read = read_session(write_session(tmp_path, Session(record, session.features, session.ratings)))
    assert np.array_equal(np.flatnonzero(np.isnan(read.features.values[1:, mouth])) + 1, np.arange(30, 60))
    assert np.isfinite(read.features.values[1:, mouth + 1]).all()
    assert np.array_equal(read.features.state, session.features.state)
    assert np.array_equal(read.features.face, session.features.face)
    assert (read.record.participant, read.record.neutral, read.record.confined) == (
        "p-07",
        "calibration",
        False,
    )
    assert read.record.seconds == {"seen": 2.8, "no_face": 0.04, "covered": 1.2}
    assert read.record.switches == 1


def test_a_session_without_ratings(tmp_path: Path, make_session: Make) -> None:
    folder = write_session(tmp_path, make_session("s-1", rated=False))
    assert read_session(folder).ratings is None
    assert {path.name for path in folder.iterdir()} == {"session.json", "features.parquet"}


def test_the_tables_open_in_other_programs(folder: Path) -> None:
    features = pq.read_table(folder / "features.parquet")
    assert features.column_names[:5] == ["time_s", "valid", "state", "face", "AU01_r"]
    assert features.num_columns == 44
    assert pq.read_table(folder / "ratings.parquet").column_names == ["time_s", "valence", "arousal"]


def test_a_session_is_never_replaced(folder: Path, make_session: Make) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SessionError, match=r"already here as .*s-1\. Remove that folder"):
        write_session(folder.parent, make_session("s-1", seed=9))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_full_disk_leaves_no_session(small_disk: Path, make_session: Make) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*: No space left on device"):
        write_session(small_disk / "sessions", make_session("s-1", seconds=60.0))
    assert list((small_disk / "sessions").iterdir()) == []


def test_a_read_only_disk_leaves_no_session(read_only_disk: Path, make_session: Make) -> None:
    with pytest.raises(StorageError, match="Read-only file system"):
        write_session(read_only_disk, make_session("s-1"))
    assert [path.name for path in read_only_disk.iterdir()] == ["old"]


def test_an_interrupted_write_leaves_no_session(tmp_path: Path, make_session: Make) -> None:
    class Interrupted(dict[str, bytes]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_session(tmp_path, make_session("s-1"), Interrupted(more=b""))
    assert list(tmp_path.iterdir()) == []


def test_a_draft_of_a_killed_ingest_is_no_session(tmp_path: Path, make_session: Make) -> None:
    folder = write_session(tmp_path, make_session("s-1"))
    (tmp_path / ".s-2.draft").mkdir()
    (tmp_path / "note.txt").write_text("")
    assert list(session_folders(tmp_path)) == [folder]
    assert list(session_folders(tmp_path / "absent")) == []


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no record": (
        lambda f: (f / "session.json").unlink(),
        r"no usable session \(cannot read .*session\.json",
    ),
    "cut record": (lambda f: os.truncate(f / "session.json", 100), "no usable session"),
    "empty record": (lambda f: os.truncate(f / "session.json", 0), "no usable session"),
    "huge record": (lambda f: (f / "session.json").write_bytes(b" " * 2**21), "larger than 1048576 bytes"),
    "unknown field": (lambda f: edit(f, face="here"), "no usable session"),
    "id outside": (lambda f: edit(f, id="../../etc"), "no usable session"),
    "other schema": (lambda f: edit(f, schema_name="au-v2"), "schema 'au-v2', this agent works with 'au-v1'"),
    "other channels": (lambda f: edit(f, channels=["AU01_r"]), "ingest its source again"),
    "other rate": (lambda f: edit(f, rate_hz=50.0), "ingest its source again"),
    "no features": (lambda f: (f / "features.parquet").unlink(), r"features\.parquet is missing"),
    "cut features": (
        lambda f: os.truncate(f / "features.parquet", 5000),
        r"features\.parquet cannot be read",
    ),
    "empty features": (lambda f: os.truncate(f / "features.parquet", 0), r"features\.parquet cannot be read"),
    "no ratings": (lambda f: (f / "ratings.parquet").unlink(), r"ratings\.parquet is missing"),
    "no rating column": (
        lambda f: edit_table(f / "ratings.parquet", lambda t: {k: t[k] for k in ("time_s", "valence")}),
        r"ratings\.parquet cannot be read",
    ),
    "fewer frames": (
        lambda f: edit_table(f / "ratings.parquet", lambda t: {k: v[:50] for k, v in t.items()}),
        "has 50 frames, its session 101",
    ),
    "ratings out of range": (
        lambda f: edit_table(f / "ratings.parquet", lambda t: t | {"valence": np.full(101, 1.5, np.float32)}),
        "ratings outside −1 to 1",
    ),
    "ratings in words": (
        lambda f: edit_table(f / "ratings.parquet", lambda t: t | {"valence": ["happy"] * 101}),
        r"ratings\.parquet cannot be read",
    ),
    "infinite ratings": (
        lambda f: edit_table(f / "ratings.parquet", lambda t: t | {"valence": np.full(101, np.inf, "f4")}),
        "ratings outside −1 to 1",
    ),
    "features in lists": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"AU06_r": [[1.0]] * 101}),
        r"features\.parquet cannot be read",
    ),
    "mask in words": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"valid": ["no"] * 101}),
        r"features\.parquet cannot be read",
    ),
    "times in words": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"time_s": ["now"] * 101}),
        r"features\.parquet cannot be read",
    ),
    "valid but missing": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"valid": np.ones(101, bool)}),
        "frames marked valid hold NaN",
    ),
    "infinite features": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"AU06_r": np.full(101, np.inf, "f4")}),
        "features that are infinite",
    ),
    "another clock": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"time_s": np.arange(101) / 30}),
        "times that are not on the 25 Hz clock",
    ),
    "times of NaN": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"time_s": np.full(101, np.nan)}),
        "times that are not on the 25 Hz clock",
    ),
    "unknown state": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"state": np.full(101, 7, np.uint8)}),
        "a face state that does not exist",
    ),
    "face before the first": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"face": np.full(101, -1, np.int32)}),
        "a face state that does not exist",
    ),
    "numbers without a face": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"state": np.full(101, 2, np.uint8)}),
        "frames without a measured face hold numbers",
    ),
    "units in the dark": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"state": np.full(101, 5, np.uint8)}),
        "frames without a measured face hold numbers",
    ),
    "another count": (lambda f: edit(f, valid_frames=99), "100 valid frames and not 99"),
    "no state": (
        lambda f: edit_table(f / "features.parquet", lambda t: {k: v for k, v in t.items() if k != "state"}),
        r"features\.parquet cannot be read",
    ),
    "participant who is a path": (lambda f: edit(f, participant="../x"), "participant: "),
    "unknown neutral": (lambda f: edit(f, neutral="guessed"), "neutral: "),
    "unknown extractor": (lambda f: edit(f, features_from="dlib"), "features_from: "),
    "another layout": (lambda f: edit(f, layout=3), "made by another version of Mien"),
    "an old session": (
        lambda f: make_old(f),
        r"made by another version of Mien\. Remove that folder and ingest",
    ),
    "table of nothing": (
        lambda f: edit_table(f / "features.parquet", lambda t: t | {"AU06_r": [None] * 101}),
        r"features\.parquet cannot be read",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_session_that_is_not_whole_and_ours_is_refused(folder: Path, kind: str) -> None:
    read_session(folder)
    damage, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(SessionError, match=message) as raised:
        read_session(folder)
    assert "s-1" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, make_session: Make) -> Path:
    """A session for the fuzzers, which put every file back."""
    return write_session(tmp_path_factory.mktemp("fuzzed"), make_session("s-1", seconds=2.0))


@given(
    st.sampled_from(["session.json", "features.parquet", "ratings.parquet"]),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_damaged_bytes_can_do_no_more_than_be_refused(
    kept: Path, name: str, flips: list[tuple[int, int]], cut: int
) -> None:
    path = kept / name
    original, whole = path.read_bytes(), read_session(kept)
    content = bytearray(original)
    for place, flip in flips:
        # Half of the damage goes into a table's footer, which describes all the rest.
        content[-1 - place % min(4000, len(content)) if place % 2 else place % len(content)] ^= flip
    path.write_bytes(content[: len(content) - cut])
    try:
        session = read_session(kept)
    except SessionError:
        return
    else:
        assert whole.ratings is not None
        assert np.array_equal(session.features.values, whole.features.values, equal_nan=True)
        for column in ("valid", "state", "face"):
            assert np.array_equal(getattr(session.features, column), getattr(whole.features, column))
        assert session.ratings is None or np.array_equal(session.ratings, whole.ratings)
    finally:
        path.write_bytes(original)


def test_a_file_name_that_is_no_text_is_kept_readable(tmp_path: Path, make_session: Make) -> None:
    """Linux lets any bytes be a file name; JSON does not."""
    session = make_session("s-1")
    source = Path(os.fsdecode(b"caf\xe9.avi"))
    record = session_record(
        session_id="s-1",
        features=session.features,
        rated=True,
        held_out=False,
        source=source,
        source_sha256="0" * 64,
        neutral="running",
        features_from="mediapipe",
        confined=True,
    )
    folder = write_session(tmp_path, Session(record, session.features, session.ratings))
    assert read_session(folder).record.source_name.startswith("caf")
