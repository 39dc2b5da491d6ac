"""Landlock: the kernel lets a process open nothing but the folders it named before. By its bare system calls.

Enters: the files and folders that may still be read. Leaves: this thread, and every thread it starts from
now on, unable to open anything else, or anything at all for writing; without TCP and, where the kernel is
new enough, without signals and abstract sockets to the outside. For good, and without any privilege.

The kernel's own description: Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mien_common.errors import ConfinementError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same on every architecture but Alpha."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_SYSTEM_RIGHTS: Final = ((1, 13), (2, 14), (3, 15), (5, 16))
"""From which ABI on how many of the rights exist; all are refused but the two above, where granted."""
_TCP_BIND_AND_CONNECT: Final = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11

_libc: Final = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The kernel's version of Landlock; 0 where it has none, or where it is switched off."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(version, 0)


def allow_reading_only(paths: Iterable[Path]) -> int:
    """Restrict this thread to reading ``paths`` and what lies below them; what does not exist is left out.

    Returns
    -------
    The ABI version that was enforced; 0 where the kernel has no Landlock, and nothing changed.

    Raises
    ------
    ConfinementError
        The kernel has Landlock and refused the rules.
    """
    abi = landlock_abi()
    if abi == 0:
        return 0
    rights = max(count for since, count in _FILE_SYSTEM_RIGHTS if abi >= since)
    attributes = struct.pack(
        "<QQQ",
        (1 << rights) - 1,
        _TCP_BIND_AND_CONNECT if abi >= 4 else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    try:
        for path in paths:
            _allow_reading(ruleset, path)
        if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise _refused()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _allow_reading(ruleset: int, path: Path) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what is not there, or is not ours to read anyway, needs no rule
    try:
        folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rule = struct.pack("<Qi", _READ_FILE | _READ_FOLDER if folder else _READ_FILE, place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise _refused()
    return result


def _refused() -> ConfinementError:
    reason = os.strerror(ctypes.get_errno() or errno.EPERM)
    return ConfinementError(
        f"the kernel refused the Landlock rules ({reason}), so frames will not be handled here. "
        "Update the kernel, or allow it without: --allow-unconfined-face-process."
    )
