"""Promise 1: a confined process has no network, writes no file and starts no program.

Every attempt is made by a real process from the inside, against servers and files of the test.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mien_client.face import confinement
from mien_client.face.landlock import landlock_abi
from mien_client.site import Site
from mien_common.errors import ConfinementError

Attempt = Callable[..., dict[str, Any]]

PATIENCE_S = 120.0

PROLOGUE = """
import ctypes, errno, json, os, socket, subprocess, sys, threading
from pathlib import Path
from mien_client.face.confinement import confine

libc = ctypes.CDLL(None, use_errno=True)
folder, port, udp_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
outcome = {}

def attempt(name, action):
    try:
        action()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = errno.errorcode.get(error.errno, repr(error))

def call(number, *arguments):
    '''A system call by its own number, past the C library.'''
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""


@pytest.fixture
def tcp_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def udp_server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


@pytest.fixture
def attempts(tmp_path: Path, tcp_server: socket.socket, udp_server: socket.socket) -> Attempt:
    """Runs ``code`` in a process that finds ``folder`` with a file in it; gives what it printed."""
    (tmp_path / "existing").write_text("kept")

    def run(code: str) -> dict[str, Any]:
        script = PROLOGUE + textwrap.dedent(code) + "\nprint(json.dumps(outcome))"
        ports = (str(server.getsockname()[1]) for server in (tcp_server, udp_server))
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), *ports],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    return run


NETWORK = """
    unix = str(folder / "unix.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(unix)
    listener.listen()
    open_before = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    {confine}
    def tcp():
        socket.create_connection(("127.0.0.1", port), timeout=5).sendall(b"face")
    def udp():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"face", ("127.0.0.1", udp_port))
    attempt("tcp", tcp)
    attempt("udp", udp)
    attempt("tcp6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
    attempt("udp6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    attempt("unix", lambda: socket.socket(socket.AF_UNIX).connect(unix))
    attempt("unix datagrams", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
    attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    attempt("pair", socket.socketpair)
    attempt("old socket", lambda: open_before.sendto(b"face", ("127.0.0.1", udp_port)))
    attempt("old socket, connected", lambda: open_before.connect(("127.0.0.1", udp_port)))
"""
NAME = """
    try:
        socket.getaddrinfo("example.org", 443)
        outcome["name"] = "done"
    except socket.gaierror:
        outcome["name"] = "no answer"
"""


def _received(server: socket.socket) -> bytes | None:
    try:
        if server.type == socket.SOCK_DGRAM:
            return server.recv(100)
        connection, _ = server.accept()
        with connection:
            return connection.recv(100)
    except BlockingIOError:
        return None


def test_no_way_to_a_network(attempts: Attempt, tcp_server: socket.socket, udp_server: socket.socket) -> None:
    outcome = attempts(NETWORK.format(confine="confine()") + NAME)
    assert outcome.pop("name") == "no answer"
    assert set(outcome.values()) == {"EPERM"}, outcome
    assert _received(tcp_server) is None
    assert _received(udp_server) is None


def test_the_same_attempts_succeed_unconfined(
    attempts: Attempt, tcp_server: socket.socket, udp_server: socket.socket
) -> None:
    """Else the test above would prove nothing."""
    outcome = attempts(NETWORK.format(confine="pass"))
    assert {outcome[kind] for kind in ("tcp", "udp", "unix", "pair", "old socket")} == {"done"}
    assert _received(tcp_server) == b"face"
    assert _received(udp_server) == b"face"


COMMON_WRITES = """
    existing, new = str(folder / "existing"), str(folder / "new")
    reading = os.open(folder, os.O_RDONLY)
    path = existing.encode()
    {confine}
    attempt("write new", lambda: open(new, "wb"))
    attempt("write existing", lambda: os.open(existing, os.O_WRONLY))
    attempt("read and write", lambda: os.open(existing, os.O_RDWR))
    attempt("append", lambda: os.open(existing, os.O_WRONLY | os.O_APPEND))
    attempt("create for reading", lambda: os.open(new, os.O_RDONLY | os.O_CREAT))
    attempt("truncate for reading", lambda: os.open(existing, os.O_RDONLY | os.O_TRUNC))
    attempt("through a folder", lambda: os.open("existing", os.O_RDWR, dir_fd=reading))
    attempt("rename", lambda: os.rename(existing, new))
"""
RARE_WRITES = """
    attempt("nameless file", lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR))
    attempt("shared memory", lambda: os.open("/dev/shm/mien-test", os.O_RDWR | os.O_CREAT))
    attempt("null device", lambda: os.open("/dev/null", os.O_WRONLY))
    attempt("mkdir", lambda: os.mkdir(new))
    attempt("unlink", lambda: os.unlink(existing))
    attempt("link", lambda: os.link(existing, new))
    attempt("symlink", lambda: os.symlink(existing, new))
    attempt("truncate", lambda: os.truncate(existing, 0))
    attempt("chmod", lambda: os.chmod(existing, 0o777))
    attempt("touch", lambda: os.utime(existing))
    attempt("attribute", lambda: os.setxattr(existing, "user.face", b"x"))
    attempt("pipe with a name", lambda: os.mkfifo(new))
    if os.uname().machine == "x86_64":  # system calls by number, past the C library
        attempt("open", lambda: call(2, path, os.O_RDWR))
        attempt("creat", lambda: call(85, path, 0o600))
        attempt("openat2", lambda: call(437, -100, path, (ctypes.c_uint64 * 3)(os.O_RDWR, 0, 0), 24))
        attempt("open by handle", lambda: call(304, reading, path, os.O_RDWR))
        attempt("io_uring", lambda: call(425, 8, (ctypes.c_uint8 * 120)()))
        attempt("typing", lambda: call(16, 0, 0x5412, b"x"))
        attempt("old touch", lambda: call(261, -100, path, None))
        attempt("new chmod", lambda: call(452, -100, path, 0o777, 0))
        attempt("new attribute", lambda: call(463, -100, path, 0, b"user.face", None, 0))
        attempt("mount", lambda: call(165, b"none", str(folder).encode(), b"tmpfs", 0, None))
        attempt("shmget", lambda: call(29, 77, 4096, 0o1600))
        attempt("message queue", lambda: call(240, b"mien-test", os.O_RDWR | os.O_CREAT, 0o600, None))
"""


def test_no_way_to_a_disk(attempts: Attempt, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir()), (tmp_path / "existing").stat()
    outcome = attempts(COMMON_WRITES.format(confine="confine()") + RARE_WRITES)
    assert set(outcome.values()) <= {"EPERM", "ENOSYS"}, outcome
    assert (sorted(tmp_path.iterdir()), (tmp_path / "existing").stat().st_mtime_ns) == (
        before[0],
        before[1].st_mtime_ns,
    )
    assert (tmp_path / "existing").read_text() == "kept"


def test_the_same_writes_succeed_unconfined(attempts: Attempt) -> None:
    outcome = attempts(COMMON_WRITES.format(confine="pass"))
    assert set(outcome.values()) == {"done"}, outcome


PROGRAMS = """
    parent = os.getppid()
    {confine}
    attempt("fork", lambda: os.fork() or os._exit(0))
    attempt("subprocess", lambda: subprocess.run(["true"]))
    attempt("shell", lambda: [][0] if os.system("true") == 0 else (_ for _ in ()).throw(OSError(1, "")))
    attempt("signal", lambda: os.kill(parent, 0))
    attempt("descriptor of a process", lambda: os.pidfd_open(parent))
    attempt("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {{}}))
    attempt("exec", lambda: os.execv("/bin/false", ["false"]))
    if os.uname().machine == "x86_64":
        attempt("ptrace", lambda: call(101, 16, parent, 0, 0))
        attempt("thread of a process", lambda: call(200, parent, 0))
        attempt("thread of a process too", lambda: call(234, parent, parent, 0))
        attempt("memory of a process", lambda: call(310, parent, (ctypes.c_uint64 * 2)(), 1, None, 0, 0))
        attempt("clone3", lambda: call(435, (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17), 64))
        attempt("namespace", lambda: call(272, 0x10000000))
"""


def test_no_way_to_another_process(attempts: Attempt) -> None:
    outcome = attempts(PROGRAMS.format(confine="confine()"))
    assert set(outcome.values()) <= {"EPERM", "ENOSYS"}, outcome
    assert outcome["exec"] == outcome["fork"] == "EPERM"


def test_memory_of_another_process_cannot_be_opened_to_write(attempts: Attempt) -> None:
    outcome = attempts(
        """
        memory = f"/proc/{os.getppid()}/mem"
        confine()
        attempt("memory", lambda: os.open(memory, os.O_RDWR))
        """
    )
    assert outcome == {"memory": "EPERM"}


def test_what_the_work_needs_still_works(attempts: Attempt) -> None:
    outcome = attempts(
        """
        existing = Path(os.__file__).with_name("antigravity.py")
        read_end, write_end = os.pipe()
        confine()
        done = []
        threads = [threading.Thread(target=lambda: done.append(sum(range(1000)))) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        outcome["threads"] = done == [499500] * 4
        outcome["read"] = "import" in existing.read_text()
        os.write(write_end, b"numbers")
        outcome["pipe"] = os.read(read_end, 100).decode()
        memory = bytearray(64 << 20)
        outcome["memory"] = len(memory)
        import decimal  # a module that was not loaded yet
        outcome["import"] = str(decimal.Decimal(1) / 4)
        """
    )
    assert outcome == {
        "threads": True,
        "read": True,
        "pipe": "numbers",
        "memory": 64 << 20,
        "import": "0.25",
    }


def test_threads_that_ran_before_are_confined_too(attempts: Attempt) -> None:
    outcome = attempts(
        """
        confined, tried = threading.Event(), threading.Event()
        def early():
            confined.wait(30)
            attempt("socket", lambda: socket.socket())
            attempt("write", lambda: open(folder / "new", "wb"))
            attempt("connect", lambda: socket.create_connection(("127.0.0.1", port)))
            tried.set()
        thread = threading.Thread(target=early)
        thread.start()
        confine()
        confined.set()
        outcome["tried"] = tried.wait(30)
        """
    )
    assert outcome == {"socket": "EPERM", "write": "EPERM", "connect": "EPERM", "tried": True}


def test_there_is_no_way_back(attempts: Attempt) -> None:
    """A second filter can only add, and no core dump or privilege comes later."""
    outcome = attempts(
        """
        import resource
        confine()
        confine()
        attempt("socket", lambda: socket.socket())
        outcome["core"] = resource.getrlimit(resource.RLIMIT_CORE)
        status = Path("/proc/self/status").read_text().split()
        outcome["no new privileges"] = status[status.index("NoNewPrivs:") + 1]
        outcome["filter"] = status[status.index("Seccomp:") + 1]
        """
    )
    assert outcome == {"socket": "EPERM", "core": [0, 0], "no new privileges": "1", "filter": "2"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 calls exist on x86-64 only")
def test_calls_of_another_architecture_do_not_slip_past(tmp_path: Path) -> None:
    """An x32 call number names the same call in a table that a filter may have forgotten."""
    code = PROLOGUE + "confine()\nprint(libc.syscall(0x40000000 + 41, 2, 1, 0), flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "1", "2"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == -signal.SIGSYS or done.stdout == "-1\n"


def test_it_says_so_where_it_cannot_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfinementError, match=r"only be confined on Linux, this is darwin"):
        confinement.confine()


def test_a_filter_that_does_not_bite_is_noticed() -> None:
    """In a process without the filter, the proof must fail."""
    with pytest.raises(ConfinementError, match="a socket could still be made; not going on"):
        confinement._prove(landlocked=False)


needs_landlock = pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")


@needs_landlock
def test_no_file_but_its_own_program_can_be_read(attempts: Attempt, site: Site) -> None:
    """The site's key and sessions least of all; not even through a folder that was open before."""
    outcome = attempts(
        f"""
        key, settings = Path({str(site.private_key_file)!r}), Path({str(site.folder / "site.toml")!r})
        opened = os.open(key.parent, os.O_RDONLY)
        environ = f"/proc/{{os.getppid()}}/environ"
        key.read_bytes(), settings.read_bytes(), Path(environ).read_bytes()
        confine()
        attempt("key", key.read_bytes)
        attempt("settings", settings.read_bytes)
        attempt("sessions", lambda: os.listdir({str(site.sessions)!r}))
        attempt("through a folder", lambda: os.open("site.key", os.O_RDONLY, dir_fd=opened))
        attempt("accounts", lambda: open("/etc/passwd"))
        attempt("another process", lambda: open(environ))
        attempt("temporary files", lambda: os.listdir("/tmp"))
        attempt("camera or null", lambda: open("/dev/null"))
        attempt("everything", lambda: os.listdir("/"))
        attempt("loopback", lambda: Path(os.__file__).read_bytes())
        """
    )
    assert outcome.pop("loopback") == "done"
    assert set(outcome.values()) == {"EACCES"}, outcome


@needs_landlock
def test_landlock_alone_stops_writes_connections_and_signals(
    attempts: Attempt, tcp_server: socket.socket
) -> None:
    """The second layer holds where the first has a hole; what its version covers, see landlock.py."""
    outcome = attempts(
        """
        from mien_client.face.landlock import allow_reading_only
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\\0mien-abstract-{os.getpid()}")
            listener.listen()
        outcome["abi"] = allow_reading_only([Path(sys.base_prefix, "lib"), Path("/does/not/exist")])
        attempt("write new", lambda: open(folder / "new", "wb"))
        attempt("write existing", lambda: os.open(folder / "existing", os.O_WRONLY))
        attempt("unlink", lambda: os.unlink(folder / "existing"))
        attempt("rename", lambda: os.rename(folder / "existing", folder / "new"))
        attempt("truncate", lambda: os.truncate(folder / "existing", 0))
        attempt("program", lambda: os.execv("/bin/true", ["true"]))
        attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), timeout=5))
        attempt("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
        attempt("signal", lambda: os.kill(os.getppid(), 0))
        """
    )
    abi = outcome.pop("abi")
    since = {"truncate": 3, "tcp": 4, "bind": 4, "signal": 6}
    held = {name: result for name, result in outcome.items() if abi >= since.get(name, 1)}
    assert {"write new", "unlink"} <= held.keys()
    assert set(held.values()) <= {"EACCES", "EPERM"}, outcome
    assert abi < 4 or _received(tcp_server) is None


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
@needs_landlock
def test_rules_for_an_older_kernel_are_taken_too(attempts: Attempt, abi: int) -> None:
    """An older version's rules, tried on this kernel: the sizes and bits are right for each."""
    outcome = attempts(
        f"""
        from mien_client.face import landlock
        real = landlock.landlock_abi()
        landlock.landlock_abi = lambda: min({abi}, real)
        landlock.allow_reading_only([Path(sys.base_prefix, "lib")])
        attempt("read", lambda: open(folder / "existing"))
        attempt("write", lambda: open(folder / "new", "wb"))
        attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), timeout=5))
        outcome["real"] = real
        """
    )
    assert (outcome["read"], outcome["write"]) == ("EACCES", "EACCES")
    if outcome["real"] >= 4:
        assert outcome["tcp"] == ("EACCES" if abi >= 4 else "done")


def test_a_kernel_without_landlock_leaves_one_layer(attempts: Attempt) -> None:
    """Under a filter that knows no Landlock calls, as an old kernel; seccomp still holds."""
    outcome = attempts(
        """
        import errno, pyseccomp
        rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
        for number in (444, 445, 446):
            rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), number)
        rules.load()
        done = confine()
        outcome["layers"] = [done.seccomp, done.landlock_abi]
        attempt("socket", lambda: socket.socket())
        attempt("write", lambda: open(folder / "new", "wb"))
        """
    )
    assert outcome == {"layers": [True, 0], "socket": "EPERM", "write": "EPERM"}


def test_resources_are_limited(attempts: Attempt) -> None:
    outcome = attempts(
        """
        import resource
        held = [os.open(os.__file__, os.O_RDONLY) for _ in range(30)]
        confine()
        attempt("files", lambda: [os.open(os.__file__, os.O_RDONLY) for _ in range(64)])
        try:
            bytearray(1 << 40)
        except MemoryError:
            outcome["memory"] = "refused"
        outcome["file size"] = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        except (OSError, ValueError) as error:
            outcome["raise"] = "refused"
        """
    )
    assert outcome == {"files": "EMFILE", "memory": "refused", "file size": [0, 0], "raise": "refused"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_it_needs_no_privilege(tmp_path: Path) -> None:
    """As nobody, without a single capability, as in a container that dropped them all."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    code = "from mien_client.face.confinement import confine\nconfine()\nprint('confined')"
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        [*drop, "--bounding-set=-all", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd="/",
    )
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip("nobody may not read this checkout")
    assert done.stdout == "confined\n", done.stderr


@pytest.mark.parametrize(
    "command", [["ingest"], ["predict", "--model", "nowhere"]], ids=["ingest", "predict"]
)
def test_the_process_that_decodes_video_has_no_network(tmp_path: Path, command: list[str]) -> None:
    """FFmpeg parses files from anywhere; whatever it is made to do, it reaches no other machine."""
    code = """
        import os, socket, sys
        from mien_common.cli import main

        try:
            main()
        except SystemExit:
            pass
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    socket.socket(family, kind)
                    print("a socket", file=sys.stdout)
                except PermissionError:
                    print("refused")
        print(os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), "agent", *command, str(tmp_path / "absent.avi")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.split() == ["refused"] * 4 + ["0"], done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
