"""The processes of a server that ``mien server up`` keeps running: what each is started with.

Enters: the folder. Leaves: a command per process, in the order in which they are started.
"""

import os
import secrets
import shutil
import sys
from pathlib import Path

from mien_common.errors import FederationError
from mien_common.files import make_folder, write_atomic
from mien_common.flower_environment import QUIET_FLOWER
from mien_server.folder import DATABASE_VARIABLE, LOOPBACK, SERVER_DIR_VARIABLE, ServerFolder
from mien_server.processes import Command
from mien_server.web.dashboard.access import Access


def commands(folder: ServerFolder, access: Access) -> list[Command]:
    """Every process that this server's settings ask for."""
    # The recorder first: it is stopped last, and takes up how everything ended.
    found = [recorder_command(folder), superlink_command(folder), superexec_command(folder)]
    if folder.settings.enrol_port:
        found.append(door_command(folder))
    if folder.settings.releases_port:
        found.append(releases_command(folder))
    if folder.settings.dashboard_port:
        found.append(dashboard_command(folder, access))
    return found


def recorder_command(folder: ServerFolder) -> Command:
    """What keeps the history."""
    return Command(
        "recorder",
        [sys.executable, "-m", "mien_server.history.recorder", str(folder.path)],
        _environment(folder, uses_database=True),
        folder.logs / "recorder.log",
    )


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
        shows_certificate=True,
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
        shows_certificate=True,
    )


def releases_command(folder: ServerFolder) -> Command:
    """Our listener that hands out releases."""
    return Command(
        "releases",
        [*(sys.executable, "-m", "mien_common"), *("server", "releases", "serve", "--dir", str(folder.path))],
        _environment(folder),
        folder.logs / "releases.log",
        shows_certificate=True,
    )


def dashboard_command(folder: ServerFolder, access: Access) -> Command:
    """The operator's page and its API, in a process of its own."""
    return Command(
        "dashboard",
        [sys.executable, "-m", "mien_server.web.dashboard.process", str(folder.path)],
        _environment(folder, uses_database=True),
        folder.logs / "dashboard.log",
        shows_certificate=access.public and access.certificate is None,
    )


def _environment(folder: ServerFolder, uses_database: bool = False) -> dict[str, str]:
    home = make_folder(folder.state / "flwr-home", mode=0o700)
    ours = {name: value for name, value in os.environ.items() if uses_database or name != DATABASE_VARIABLE}
    return {
        **ours,
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
