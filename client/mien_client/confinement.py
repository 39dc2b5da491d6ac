"""Locks the calling process in before it sees a face: no network, no writes, no new programs.

Enters: an ordinary process that is about to handle frames. Leaves: the same process, which from
here on — every thread of it, for good — can only compute, read files and use the pipes it holds.
Enforced by the Linux kernel with a seccomp filter after no-new-privileges, so it needs no privilege
and also holds inside a container that dropped every capability.

Why: MediaPipe ≥ 0.10.30 carries a usage-metrics client that contacts its vendor
(google-ai-edge/mediapipe#6291), and a promise about frames should not rest on a library's manners.
"""

import errno
import os
import resource
import sys
from typing import Final

from mien_common.errors import ConfinementError

_NETWORK: Final = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown"),
)
_PROGRAMS: Final = ("execve", "execveat", "fork", "vfork", "kill", "rt_sigqueueinfo", "pidfd_send_signal")
_OTHER_PROCESSES: Final = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "process_madvise"),
    *("shmget", "shmat", "msgget", "semget", "mq_open"),
)
_FILE_SYSTEM: Final = (
    *("creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate"),
    *("chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "fchownat", "utime", "utimes", "utimensat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
)
_KERNEL: Final = (
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree", "fsopen"),
    *("keyctl", "add_key", "request_key", "kexec_load", "init_module", "finit_module", "delete_module"),
)
_WRITE_FLAGS: Final = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)

_CLONE_THREAD: Final = 0x00010000
"""From linux/sched.h: a clone with it is a thread of this process, without it a new process."""


def confine() -> None:
    """Confine this process, all its threads, for good.

    Raises
    ------
    ConfinementError
        The platform has no seccomp filters, or the filter does not hold when tried.
    """
    if sys.platform != "linux":
        raise ConfinementError(
            f"the face process can only be confined on Linux, this is {sys.platform}. "
            "Run the agent on Linux, or in a Linux container."
        )
    # A core dump would write frames to disk; a file size of zero stops writes the filter might miss.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        _load_filter()
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfinementError(
            f"the kernel refused the seccomp filter ({error}), so frames will not be handled here. "
            "Needed: Linux with seccomp filters, and libseccomp2 (apt-get install libseccomp2)."
        ) from error
    _prove()


def _load_filter() -> None:
    import pyseccomp as seccomp

    refuse = seccomp.ERRNO(errno.EPERM)
    # ENOSYS sends the C library back to the older calls, whose flags a filter can read.
    unknown = seccomp.ERRNO(errno.ENOSYS)
    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    for name in _NETWORK + _PROGRAMS + _OTHER_PROCESSES + _FILE_SYSTEM + _KERNEL:
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0:  # not every machine has each call
            rules.add_rule(refuse, name)
    rules.add_rule(unknown, "clone3")
    rules.add_rule(unknown, "openat2")
    rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    for flag in _WRITE_FLAGS:
        rules.add_rule(refuse, "openat", seccomp.Arg(2, seccomp.MASKED_EQ, flag, flag))
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, "open") >= 0:
            rules.add_rule(refuse, "open", seccomp.Arg(1, seccomp.MASKED_EQ, flag, flag))
    rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    rules.load()


def _prove() -> None:
    """Try what must fail: a filter that loaded but does not bite is worse than none."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError:
            continue
        raise ConfinementError("the seccomp filter loaded but a socket could still be made; not going on.")
    try:
        os.close(os.open(os.devnull, os.O_WRONLY))
    except OSError:
        return
    raise ConfinementError(
        "the seccomp filter loaded but a file could still be opened to write; not going on."
    )
