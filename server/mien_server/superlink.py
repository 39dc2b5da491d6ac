"""The server itself: stock ``flower-superlink`` and ``flower-superexec``, our two listeners, kept running.

The SuperLink keeps its state in a file and runs no app code, so killing it loses nothing: the agents
and the ServerApp connect again when it is back. The SuperExec starts our ServerApp for every run; which run's
turn it is, the dispatcher says.
"""

import datetime as dt
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from mien_common.errors import FederationError, MienError
from mien_common.files import make_folder, write_atomic
from mien_common.flower_environment import QUIET_FLOWER
from mien_server.certificates import check_certificates, warn_of_ends
from mien_server.control import Control
from mien_server.folder import LOOPBACK, SERVER_DIR_VARIABLE, ServerFolder, locked_for_up, remove_drafts
from mien_server.health import check_door, check_health, check_releases
from mien_server.membership.enrolment import register
from mien_server.ports import check_port
from mien_server.processes import Child, Command
from mien_server.runs.dispatch import Dispatcher
from mien_server.runs.queue import runs_locked

READY_PATIENCE_S: Final = 90.0
POLL_S: Final = 0.1
STOP_PATIENCE_S: Final = 2.5
"""For each of the processes; they keep on disk what matters, so a kill costs nothing."""

WARN_EVERY_S: Final = 24 * 3600.0
"""How often the log says again that a certificate ends soon."""

PIDS_FILE: Final = "pids.json"

log = logging.getLogger(__name__)


def serve(folder: ServerFolder, ready: Callable[[], None]) -> int:
    """Run the server until a signal ends it, then leave nothing running; that signal's number.

    Parameters
    ----------
    ready : called once, when agents can connect and every port answers.

    Raises
    ------
    TrustError
        The certificates would not be accepted by any site.
    FederationError
        Another server runs on this folder, a port is taken, or Flower does not come up.
    """
    check_certificates(folder.tls, dt.datetime.now(dt.UTC))
    with locked_for_up(folder), _stop_signals() as stopped:
        check_ports(folder)
        with runs_locked(folder):
            for draft in remove_drafts(folder):
                log.warning("event=draft_removed path=%s", draft)
        children = [Child(superlink_command(folder)), Child(superexec_command(folder))]
        if folder.settings.enrol_port:
            children.append(Child(door_command(folder)))
        if folder.settings.releases_port:
            children.append(Child(releases_command(folder)))
        dispatcher, warned = Dispatcher(folder), time.monotonic()
        try:
            for child in children:
                child.start()
            _record_pids(folder, children)
            _wait_until_ready(folder, children, stopped)
            if not stopped():
                with Control(folder) as control:
                    register(folder, control)
                dispatcher.look()  # of runs that an earlier server left
                ready()
            while not stopped():
                started = [child.watch() for child in children]
                if any(started):
                    _record_pids(folder, children)
                dispatcher.look()
                if time.monotonic() - warned > WARN_EVERY_S:
                    warn_of_ends(folder.tls, dt.datetime.now(dt.UTC))
                    warned = time.monotonic()
                time.sleep(POLL_S)
        finally:
            # The SuperExec first: a ServerApp that is going on can then still say goodbye.
            for child in reversed(children):
                child.stop(STOP_PATIENCE_S)
            (folder.state / PIDS_FILE).unlink(missing_ok=True)
        return stopped()


def check_ports(folder: ServerFolder) -> None:
    """Raise FederationError when one of our ports is taken."""
    settings = folder.settings
    check_port(folder, "port", settings.listen, settings.port)
    check_port(folder, "control_port", LOOPBACK, settings.control_port)
    if settings.enrol_port:
        check_port(folder, "enrol_port", settings.listen, settings.enrol_port)
    if settings.releases_port:
        check_port(folder, "releases_port", settings.listen, settings.releases_port)


def superlink_command(folder: ServerFolder) -> Command:
    """The stock SuperLink: TLS, only enrolled keys, its state in a file, apps in other processes."""
    return Command(
        "superlink",
        [
            _flower("flower-superlink"),
            *("--host", LOOPBACK, "--port", str(folder.settings.control_port)),
            *("--fleet-api-address", folder.fleet_address),
            *("--ssl-ca-certfile", str(folder.ca_certificate)),
            *("--ssl-certfile", str(folder.tls / "server.crt")),
            *("--ssl-keyfile", str(folder.tls / "server.key")),
            "--enable-supernode-auth",
            *("--database", str(folder.state / "superlink.db")),
            *("--isolation", "process"),
            "--disable-runtime-dependency-installation",
            *("--superexec-auth-secret-file", str(_superexec_secret(folder))),
        ],
        _environment(folder),
        folder.logs / "superlink.log",
    )


def superexec_command(folder: ServerFolder) -> Command:
    """The stock SuperExec, which starts our ServerApp for every run."""
    return Command(
        "superexec",
        [
            _flower("flower-superexec"),
            *("--runtime-api-address", folder.control_address),
            *("--root-certificates", str(folder.ca_certificate)),
            *("--superexec-auth-secret-file", str(_superexec_secret(folder))),
            *("--parent-pid", str(os.getpid())),
        ],
        _environment(folder),
        folder.logs / "superexec.log",
    )


def door_command(folder: ServerFolder) -> Command:
    """The enrolment door, in a process of its own."""
    return Command(
        "door",
        [sys.executable, "-m", "mien_server.web.door", str(folder.path)],
        _environment(folder),
        folder.logs / "door.log",
    )


def releases_command(folder: ServerFolder) -> Command:
    """Our listener that hands out releases."""
    return Command(
        "releases",
        [*(sys.executable, "-m", "mien_common"), *("server", "releases", "serve", "--dir", str(folder.path))],
        _environment(folder),
        folder.logs / "releases.log",
    )


def _environment(folder: ServerFolder) -> dict[str, str]:
    home = make_folder(folder.state / "flwr-home", mode=0o700)
    return {
        **os.environ,
        # Flower starts its own helpers by name, so they must be the ones beside this interpreter.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home),
        **QUIET_FLOWER,
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
        SERVER_DIR_VARIABLE: str(folder.path),
    }


def _superexec_secret(folder: ServerFolder) -> Path:
    """What the SuperExec proves itself with, so that no other process is handed our runs.

    It guards that API only. Flower's control API on the same loopback port knows no login.
    """
    file = folder.state / "superexec.secret"
    if not file.exists():
        write_atomic(file, secrets.token_bytes(32), mode=0o600)
    return file


def _flower(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FederationError(
            f"{name} is not installed. Install Mien with its server: pip install 'mien[server]'"
        )
    return found


def _wait_until_ready(folder: ServerFolder, children: list[Child], stopped: Callable[[], int]) -> None:
    deadline = time.monotonic() + READY_PATIENCE_S
    while not stopped():
        for child in children:
            if child.process is not None and child.process.poll() is not None:
                raise child.failure()
        try:
            check_health(folder)
            check_door(folder)
            check_releases(folder)
        except MienError as error:
            if time.monotonic() > deadline:
                raise FederationError(
                    f"the server did not answer within {READY_PATIENCE_S:.0f} s. Its logs: {folder.logs}"
                ) from error
        else:
            return
        time.sleep(POLL_S)


def running_superlink(folder: ServerFolder) -> int | None:
    """Process id of the SuperLink that `up` has running now; None where it is not known."""
    try:
        found = json.loads((folder.state / PIDS_FILE).read_bytes())["superlink"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _record_pids(folder: ServerFolder, children: list[Child]) -> None:
    pids = {child.command.name: child.process.pid for child in children if child.process is not None}
    write_atomic(folder.state / PIDS_FILE, json.dumps({"up": os.getpid(), **pids}).encode())


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """SIGINT and SIGTERM ask for an orderly end; the value tells which has come, 0 for none."""
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
