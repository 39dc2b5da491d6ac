"""Files that are whole or absent: atomic writes, hashes, and disk errors in words."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien_common.errors import InputError, StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing ``path`` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}. Free some space or choose a folder you may write to."
        ) from error


def write_atomic(path: Path, content: bytes | memoryview, mode: int = 0o644) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, also after a crash.

    Raises
    ------
    StorageError
        The disk is full or read-only, or the folder is not ours.
    """
    with storage_errors(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a hidden folder beside ``path``, then rename it there: the folder is whole or absent.

    Raises
    ------
    StorageError
        It cannot be written, or ``path`` exists already.
    """
    with storage_errors(path):
        if path.exists():
            raise FileExistsError(17, "it exists already")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with storage_errors(path):
            yield draft
            draft.chmod(0o755)
            draft.rename(path)
            _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def remove_old_drafts(folder: Path, older_than_s: float) -> None:
    """Remove what killed processes left of :func:`new_folder` in ``folder``, once it is surely abandoned."""
    for draft in folder.glob(".*"):
        try:
            abandoned = time.time() - draft.stat().st_mtime > older_than_s
        except OSError:  # its writer has just finished
            continue
        if abandoned and draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def sole_writer(folder: Path, lock: Path) -> Iterator[None]:
    """Nobody else adds to ``folder`` meanwhile; whoever does waits for ``lock``.

    What a killed writer left half-done there, hidden, is removed first.

    Raises
    ------
    StorageError
        ``lock`` cannot be written.
    """
    with storage_errors(lock):
        held = lock.open("a")
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for draft in folder.glob(".*"):
            if draft.is_dir() and not draft.is_symlink():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)
        yield


def make_folder(path: Path, mode: int = 0o755) -> Path:
    """Create ``path`` and its parents when missing.

    Raises
    ------
    StorageError
        It cannot be created, or is a file.
    """
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    return path


def is_there(path: Path) -> bool:
    """Whether there is something at ``path``.

    Raises
    ------
    InputError
        It cannot even be looked for: a folder on the way is closed to us, or the name is too long.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read {path}: {reason}") from error
    return True


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The content of ``path``.

    Raises
    ------
    InputError
        It is missing, unreadable, or larger than ``limit_bytes``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > limit_bytes:
        raise InputError(f"{path} is larger than {limit_bytes} bytes; this is not a file Mien wrote")
    return content


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
