"""Journals as files that grow: every line once, whatever happens to the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_common.errors import InputError
from mien_server.history import journals
from mien_server.history.journals import Position, position_at, read_lines, signature

LINES = st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"")), max_size=12)


def read_all(path: Path, position: Position, one: bool = False) -> tuple[list[bytes], Position]:
    found: list[bytes] = []
    while (reading := read_lines(path, position, one)).lines:
        found += [line.content for line in reading.lines]
        position = reading.position
        if not reading.is_more:
            break
    return found, position


@given(written=LINES, later=LINES, half=st.binary(max_size=20), one=st.booleans(), chunk=st.integers(1, 400))
def test_lines_come_once_in_order_and_whole(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[bytes],
    later: list[bytes],
    half: bytes,
    one: bool,
    chunk: int,
) -> None:
    path = tmp_path_factory.mktemp("journal") / "rounds.jsonl"
    begun = half.replace(b"\n", b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "CHUNK_BYTES", chunk)
        path.write_bytes(b"".join(line + b"\n" for line in written) + begun)
        first, position = read_all(path, Position(), one)
        assert first == written
        assert position == position_at(path, len(b"".join(line + b"\n" for line in written)))

        with path.open("ab") as file:
            file.write(b"\n" + b"".join(line + b"\n" for line in later))
        second, position = read_all(path, position, one)
        assert second == [begun, *later]
        assert read_lines(path, position).lines == ()


@given(
    kept=st.lists(st.binary(min_size=1, max_size=300).map(lambda line: line.replace(b"\n", b"")), min_size=1),
    other=st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"")), min_size=1),
)
def test_a_file_that_was_cut_and_has_grown_again_is_read_anew(
    tmp_path_factory: pytest.TempPathFactory, kept: list[bytes], other: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "rounds.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in [*kept, b"taken back"]))
    _, position = read_all(path, Position())

    path.write_bytes(b"".join(line + b"\n" for line in [*kept, b"another!!!", *other]))  # as long, or longer
    reading = read_lines(path, position)
    assert reading.is_anew
    assert [line.content for line in reading.lines] == [*kept, b"another!!!", *other]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none", Position()).lines == ()
    assert signature(tmp_path / "none") is None


def test_a_file_that_was_emptied_is_begun_anew_once(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"one\ntwo\n")
    _, position = read_all(path, Position())
    path.write_bytes(b"")
    reading = read_lines(path, position)
    assert reading.is_anew
    assert reading.position == Position()
    assert not read_lines(path, reading.position).is_anew


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*journal"):
        read_lines(tmp_path / "journal", Position())
