"""Locks the calling process in before it sees a face: no network, no writes, no new programs.

Enters: an ordinary process that is about to handle frames. Leaves: the same process, which from
here on, every thread of it, for good, can only compute, read its own program and use the pipes it holds.
Enforced by the Linux kernel with a seccomp filter after no-new-privileges, so it needs no privilege
and also holds inside a container that dropped every capability; and, where the kernel has it, once more
with Landlock, which also closes every file but the program's own: the site's keys and sessions too.

Why: MediaPipe ≥ 0.10.30 carries a usage-metrics client that contacts its vendor
(google-ai-edge/mediapipe#6291), and a promise about frames should not rest on a library's manners.
"""

import errno
import os
import resource
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mien_common
from mien_common.errors import ConfinementError

from .landlock import allow_reading_only

_NETWORK: Final = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown"),
)
_PROGRAMS: Final = (
    *("execve", "execveat", "fork", "vfork", "kill", "tkill", "rt_sigqueueinfo", "pidfd_send_signal"),
)
_OTHER_PROCESSES: Final = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "process_madvise"),
    *("shmget", "shmat", "msgget", "semget", "mq_open"),
)
_FILE_SYSTEM: Final = (
    *("creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat", "open_by_handle_at"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
)
_KERNEL: Final = (
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree", "fsopen"),
    *("open_tree_attr", "mount_setattr", "fsmount", "fsconfig", "fspick", "swapon", "acct", "setrlimit"),
    *("keyctl", "add_key", "request_key", "kexec_load", "init_module", "finit_module", "delete_module"),
)
_NEWER: Final = {
    **{"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467},
    **{"file_setattr": 469},
}
"""Numbers, the same on every machine, of calls that a kernel may have and an older libseccomp not."""

_WRITE_FLAGS: Final = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)

_TYPE_INTO_TERMINAL: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, from asm-generic/ioctls.h: they type into the terminal as if a person did."""

_CLONE_THREAD: Final = 0x00010000
"""From linux/sched.h: a clone with it is a thread of this process, without it a new process."""


_SYSTEM_LIBRARIES: Final = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_SYSTEM_FACTS: Final = (
    *("/etc/ld.so.cache", "/etc/ssl/openssl.cnf", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)
"""What the loader, OpenSSL, and the libraries that count and name the processor's cores read; by strace."""

_OR_WITHOUT: Final = ", or your word that it may go without: --allow-unconfined-face-process"

_OPEN_FILES: Final = 64
"""Three are open; MediaPipe and Python open a few more at a time while they load."""
_MEMORY_BYTES: Final = 4 << 30
_MEMORY_BYTES_PER_CORE: Final = 256 << 20
"""Of address space. 1.3 GB are used, most of it only reserved; each thread reserves a stack and a heap."""


@dataclass(frozen=True)
class Confinement:
    """What holds this process."""

    seccomp: bool
    landlock_abi: int
    """0 where the kernel has no Landlock."""


def confine(extra_memory_bytes: int = 0) -> Confinement:
    """Confine this process, all its threads, for good. Call it before there is a second thread.

    Parameters
    ----------
    extra_memory_bytes : address space to grant beyond what the work itself needs.

    Raises
    ------
    ConfinementError
        The platform has no seccomp filters, or the filter does not hold when tried.
    """
    _require_linux()
    _limit_resources(extra_memory_bytes)
    with _refusals():
        import pyseccomp  # noqa: F401  # before Landlock: it looks for a C compiler's paths to find its library
    abi = allow_reading_only(_readable())
    with _refusals():
        _load_filter()
    _prove(landlocked=abi > 0)
    return Confinement(seccomp=True, landlock_abi=abi)


def _readable() -> Iterator[Path]:
    """What a confined process may still read: Python, its packages, our own code, system libraries."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sys.base_prefix, "lib")
    yield Path(__file__).parents[1]
    yield from map(Path, mien_common.__path__)
    yield from map(Path, _SYSTEM_LIBRARIES + _SYSTEM_FACTS)


def _limit_resources(extra_memory_bytes: int) -> None:
    memory = _MEMORY_BYTES + (os.cpu_count() or 1) * _MEMORY_BYTES_PER_CORE + extra_memory_bytes
    for kind, most in (
        (resource.RLIMIT_CORE, 0),  # a core dump would write frames to disk
        (resource.RLIMIT_FSIZE, 0),  # stops writes that a filter might miss
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_AS, memory),  # a broken frame must not take the machine's memory
    ):
        now = resource.getrlimit(kind)
        limit = most if now[1] == resource.RLIM_INFINITY else min(most, now[1])
        if now != (limit, limit):
            resource.setrlimit(kind, (limit, limit))


def deny_network() -> None:
    """Give up the network in this process, all its threads and its children, for good.

    For the process that decodes video: FFmpeg parses files from anywhere, and needs no network for it.
    Sockets of this machine only (unix) stay possible, as GPU drivers use them.

    Raises
    ------
    ConfinementError
        The platform has no seccomp filters, or the filter does not hold when tried.
    """
    _require_linux()
    with _refusals():
        import pyseccomp as seccomp

        rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
        refuse = seccomp.ERRNO(errno.EPERM)
        rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.NE, socket.AF_UNIX))
        rules.add_rule(refuse, "io_uring_setup")  # it can make sockets without that call
        rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)
        rules.load()
    _prove_no_socket(socket.AF_INET, socket.AF_INET6)


def _load_filter() -> None:
    import pyseccomp as seccomp

    refuse = seccomp.ERRNO(errno.EPERM)
    # ENOSYS sends the C library back to the older calls, whose flags a filter can read.
    unknown = seccomp.ERRNO(errno.ENOSYS)
    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    for name in _NETWORK + _PROGRAMS + _OTHER_PROCESSES + _FILE_SYSTEM + _KERNEL:
        number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
        if number < 0:  # not every machine has each call
            number = _NEWER.get(name, -1)
        if number >= 0:
            rules.add_rule(refuse, number)
    rules.add_rule(unknown, "clone3")
    rules.add_rule(unknown, "openat2")
    rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    # Threads may signal each other, as abort() does, and nobody else.
    rules.add_rule(refuse, "tgkill", seccomp.Arg(0, seccomp.NE, os.getpid()))
    rules.add_rule(refuse, "rt_tgsigqueueinfo", seccomp.Arg(0, seccomp.NE, os.getpid()))
    # Limits may be read, and root's could be raised again.
    rules.add_rule(refuse, "prlimit64", seccomp.Arg(2, seccomp.NE, 0))
    for request in _TYPE_INTO_TERMINAL:
        rules.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    for flag in _WRITE_FLAGS:
        rules.add_rule(refuse, "openat", seccomp.Arg(2, seccomp.MASKED_EQ, flag, flag))
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, "open") >= 0:
            rules.add_rule(refuse, "open", seccomp.Arg(1, seccomp.MASKED_EQ, flag, flag))
    rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    rules.load()


def _require_linux() -> None:
    if sys.platform != "linux":
        raise ConfinementError(
            f"the face process can only be confined on Linux, this is {sys.platform}. "
            f"Run the agent on Linux, or in a Linux container{_OR_WITHOUT}."
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """What goes wrong while a filter is loaded, as ConfinementError."""
    try:
        yield
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfinementError(
            f"the kernel refused the seccomp filter ({error}), so frames will not be handled here. "
            "Needed: Linux with seccomp filters, and libseccomp2 (apt-get install libseccomp2)"
            f"{_OR_WITHOUT}."
        ) from error


def _prove_no_socket(*families: socket.AddressFamily) -> None:
    for family in families:
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError:
            continue
        raise ConfinementError("the seccomp filter loaded but a socket could still be made; not going on.")


def _prove(*, landlocked: bool) -> None:
    """Try what must fail: a filter that loaded but does not bite is worse than none."""
    _prove_no_socket(socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    _prove_no_opening(os.devnull, os.O_WRONLY, "the seccomp filter", "a file could still be opened to write")
    if landlocked:
        _prove_no_opening("/", os.O_RDONLY, "Landlock", "the root folder could still be read")


def _prove_no_opening(path: str, flags: int, what: str, done: str) -> None:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return
    raise ConfinementError(f"{what} loaded but {done}; not going on.")
