"""Files are whole or absent, also on a full, read-only or forbidden disk."""

import hashlib
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mien_common.errors import InputError, StorageError
from mien_common.files import (
    make_folder,
    new_folder,
    read_bounded,
    remove_old_drafts,
    sha256_of,
    sole_writer,
    write_atomic,
)


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    write_atomic(path, b"first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert everything_under(tmp_path) == ["card.json"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_the_mode_asked_for(tmp_path: Path, mode: int) -> None:
    write_atomic(tmp_path / "key", b"secret", mode)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == mode


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "model"
    write_atomic(path, b"old")
    with pytest.raises(StorageError, match=r"cannot write .*model: No space left on device. Free some space"):
        write_atomic(path, b"x" * 500_000)
    assert path.read_bytes() == b"old"
    assert everything_under(small_disk) == ["model"]


def test_a_full_disk_leaves_no_half_folder(small_disk: Path) -> None:
    def fill() -> None:
        with new_folder(small_disk / "session") as draft:
            write_atomic(draft / "small", b"x" * 1000)
            (draft / "large").write_bytes(b"x" * 500_000)

    with pytest.raises(StorageError, match="No space left on device"):
        fill()
    assert everything_under(small_disk) == []


def test_a_read_only_disk_is_said_so(read_only_disk: Path) -> None:
    with pytest.raises(StorageError, match="Read-only file system"):
        write_atomic(read_only_disk / "old", b"new")
    with pytest.raises(StorageError, match="Read-only file system"), new_folder(read_only_disk / "new"):
        pytest.fail("a folder was given on a read-only disk")
    with pytest.raises(StorageError, match="Read-only file system"):
        make_folder(read_only_disk / "deep" / "down")
    assert (read_only_disk / "old").read_text() == "old"


def test_a_file_size_limit_leaves_nothing(tmp_path: Path) -> None:
    """What a quota does, met for real in a process of its own: no privilege is needed for it."""
    script = f"""
import resource
from pathlib import Path
from mien_common.errors import StorageError
from mien_common.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path({str(tmp_path)!r}) / "model", b"x" * 5000)
except StorageError as error:
    raise SystemExit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot write {tmp_path / 'model'}: File too large.")
    assert everything_under(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for action in (
        lambda: write_atomic(tmp_path / "file" / "below", b""),
        lambda: make_folder(tmp_path / "file"),
        lambda: make_folder(tmp_path / "file" / "below"),
        lambda: new_folder(tmp_path / "file" / "below").__enter__(),
        lambda: write_atomic(tmp_path, b""),
    ):
        with pytest.raises(StorageError, match=str(tmp_path)):
            action()
    assert everything_under(tmp_path) == ["file"]


def test_a_new_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "session"
    with new_folder(target) as draft:
        (draft / "a").write_text("1")
        assert not target.exists()
        assert draft.name.startswith(".")
    assert everything_under(tmp_path) == ["deep", "deep/session", "deep/session/a"]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_an_interrupted_folder_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def stop_half_way() -> None:
        with new_folder(tmp_path / "session") as draft:
            (draft / "a").write_text("1")
            raise error

    with pytest.raises(type(error)):
        stop_half_way()
    assert everything_under(tmp_path) == []


def test_an_existing_folder_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "kept").write_text("1")
    with pytest.raises(StorageError, match="it exists already"), new_folder(tmp_path / "session"):
        pytest.fail("an existing folder was given to fill")
    assert everything_under(tmp_path) == ["session", "session/kept"]


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(b"x" * 11)
    assert read_bounded(path, 11) == b"x" * 11
    with pytest.raises(InputError, match="larger than 10 bytes"):
        read_bounded(path, 10)
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        read_bounded(tmp_path, 10)
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_bounded(tmp_path / "absent", 10)


def test_a_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "large").write_bytes(content)
    assert sha256_of(tmp_path / "large") == hashlib.sha256(content).hexdigest()


def test_only_drafts_of_long_ago_are_removed(tmp_path: Path) -> None:
    """A draft of today may be another process's work."""
    for name in (".old.x", ".new.x", "session"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "features.parquet").write_bytes(b"1")
    long_ago = time.time() - 90_000
    for name in (".old.x", "session"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    remove_old_drafts(tmp_path, 86_400)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.x", "session"]


def test_a_sole_writer_clears_up_after_a_killed_one_and_keeps_others_waiting(tmp_path: Path) -> None:
    folder, lock = tmp_path / "releases", tmp_path / "lock"
    (folder / ".1.0.0.half").mkdir(parents=True)
    (folder / ".current.7").symlink_to("elsewhere")
    (folder / "0.9.0").mkdir()
    entered: list[str] = []

    def second() -> None:
        with sole_writer(folder, lock):
            entered.append("second")

    other = threading.Thread(target=second)
    with sole_writer(folder, lock):
        assert [entry.name for entry in folder.iterdir()] == ["0.9.0"]
        other.start()
        other.join(timeout=0.3)
        entered.append("first")
    other.join(timeout=60)
    assert entered == ["first", "second"]
    with pytest.raises(StorageError, match="cannot write"), sole_writer(folder, tmp_path / "none" / "lock"):
        pass
