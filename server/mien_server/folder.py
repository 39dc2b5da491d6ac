"""The server's folder: its settings, and where everything else of the server lives.

Enters: the operator's choices, once, at ``mien server init``. Leaves: checked settings and paths.

    DIR/server.toml   settings, for the operator to read and edit
    DIR/tls/          certificate authority and server certificate (private keys readable by the owner only)
    DIR/sites.json    enrolled and revoked sites, open invitations
    DIR/state/        Flower's database and home, locks, process ids, the queue of runs, the server's journal
    DIR/logs/         one log per process
    DIR/runs/RUN/     settings and events of a run, and what its rule must remember to go on
    DIR/models/       published models; ``latest`` points to the newest
    DIR/releases/     releases of models, which sites fetch; ``latest`` points to the one they should have
"""

import fcntl
import ipaddress
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mien_common.enrolment_messages import DEFAULT_ENROL_PORT, DEFAULT_RELEASES_PORT
from mien_common.errors import FederationError, InputError, SettingsError, StorageError
from mien_common.files import make_folder, read_bounded, storage_errors, write_atomic

SETTINGS_LIMIT_BYTES: Final = 64 * 1024
DASHBOARD_PORT: Final = 9096
LOOPBACK: Final = "127.0.0.1"
SERVER_DIR_VARIABLE: Final = "MIEN_SERVER_DIR"
"""Names the folder, for the commands and for the ServerApp that Flower starts."""
DATABASE_VARIABLE: Final = "MIEN_DATABASE_URL"
"""Says where the history is kept, before ``server.toml``; a password belongs here."""

UP_LOCK_FILE: Final = "up.lock"

HostName = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
PORT_SETTINGS: Final = ("port", "control_port", "enrol_port", "releases_port", "dashboard_port")


_PORTS_OF_LATER_VERSIONS: Final = (
    ("enrol_port", DEFAULT_ENROL_PORT),
    ("releases_port", DEFAULT_RELEASES_PORT),
    ("dashboard_port", DASHBOARD_PORT),
)


class ServerSettings(BaseModel):
    """What ``server.toml`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[HostName, ...] = ()
    """Names by which agents reach this server, besides ``localhost`` and the machine's own."""
    ips: tuple[str, ...] = ()
    """Addresses by which agents reach this server, besides the loopback ones."""
    listen: str = "0.0.0.0"  # noqa: S104 - agents come from other machines; every call is authenticated
    """Address that agents' connections are accepted on."""
    port: Port = 9092
    """Port for agents (Flower's Fleet API)."""
    control_port: Port = 9093
    """Port for the operator's commands and the runs, on the loopback address only."""
    enrol_port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_ENROL_PORT
    """Port where invited sites are enrolled; 0: they are not, over the network."""
    releases_port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_RELEASES_PORT
    """Port that sites fetch releases from, over HTTPS; 0 for none."""
    dashboard_port: Annotated[int, Field(ge=0, le=65535)] = DASHBOARD_PORT
    """Port of the operator's page and JSON API, on loopback only unless ``up --public``; 0 for none."""
    database: str = ""
    """SQLAlchemy URL of the history; empty for SQLite in ``state/history.db``."""
    tensorboard: bool = True
    """Whether every run gets event files for TensorBoard, in ``runs/RUN/tensorboard``."""
    mlflow: str = ""
    """URL of an MLflow server that runs are logged to; empty for none. May hold a password: never logged."""

    @field_validator("ips", "listen")
    @classmethod
    def _addresses(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for address in (value,) if isinstance(value, str) else value:
            ipaddress.ip_address(address)
        return value

    @field_validator("mlflow")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        if value and not is_web_address(value):  # what was given is not repeated: it may hold a password
            raise ValueError("it must be an address that begins with http:// or https://, or empty")
        return value

    @model_validator(mode="before")
    @classmethod
    def _older_folders_keep_their_ports(cls, values: Any) -> Any:
        """A folder from before there were these ports may use one of them for something else."""
        if not isinstance(values, dict):
            return values
        given = dict(values)
        for name, usual in _PORTS_OF_LATER_VERSIONS:
            taken = {given.get(other) for other in PORT_SETTINGS}
            given.setdefault(name, next(port for port in count(usual) if port not in taken))
        return given

    @model_validator(mode="after")
    def _ports_differ(self) -> "ServerSettings":
        used = [port for port in (getattr(self, name) for name in PORT_SETTINGS) if port]
        twice = next((port for port in used if used.count(port) > 1), None)
        if twice is not None:
            raise ValueError(
                f"{', '.join(PORT_SETTINGS[:-1])} and {PORT_SETTINGS[-1]} must differ, {twice} is given twice"
            )
        return self


def is_web_address(text: str) -> bool:
    """Whether it names a host to be reached by HTTP or HTTPS."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def parse_settings(values: dict[str, object], source: str) -> ServerSettings:
    """Checked settings; ``source`` names them in the error.

    Raises
    ------
    SettingsError
        A setting is unknown or out of range.
    """
    try:
        return ServerSettings.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"])) or "settings"
        raise SettingsError(f"{source}: {name}: {problem['msg']}. Correct it and try again.") from error


@dataclass(frozen=True)
class ServerFolder:
    """Paths and settings of one server; make it with :func:`create_folder` or :func:`open_folder`."""

    path: Path
    settings: ServerSettings

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def ca_certificate(self) -> Path:
        """The file that every site needs to recognise this server."""
        return self.tls / "ca.crt"

    @property
    def sites_file(self) -> Path:
        return self.path / "sites.json"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def queue(self) -> Path:
        """A ticket for every run that waits or goes on."""
        return self.state / "queue"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def releases(self) -> Path:
        return self.path / "releases"

    @property
    def control_address(self) -> str:
        return f"{LOOPBACK}:{self.settings.control_port}"

    @property
    def fleet_address(self) -> str:
        """Where agents' connections are accepted, as Flower writes it."""
        listen = self.settings.listen
        return f"[{listen}]:{self.settings.port}" if ":" in listen else f"{listen}:{self.settings.port}"


def create_folder(path: Path, settings: ServerSettings) -> ServerFolder:
    """A new server folder with ``settings``; certificates are made by the caller.

    Raises
    ------
    SettingsError
        ``path`` is a server folder already.
    StorageError
        It cannot be written.
    """
    folder = ServerFolder(path.absolute(), settings)
    if _settings_file(path).exists():
        raise SettingsError(
            f"{path} is a server folder already. Use it as it is, or give another folder; "
            f"`mien server init {path} --renew` makes it a new server certificate."
        )
    for part in (folder.path, folder.logs, folder.runs, folder.models):
        make_folder(part)
    # The database holds keys of runs, the home what Flower unpacks and then imports.
    for part in (folder.tls, folder.state):
        make_folder(part, mode=0o700)
    return folder


def save_settings(folder: ServerFolder) -> None:
    """Write ``server.toml``; the folder counts as a server folder from here on."""
    settings = folder.settings
    text = f"""# A Mien server. Stop `mien server up` before editing, start it again afterwards.

# Names and addresses (besides this machine's own and loopback) in the server certificate.
# After a change: mien server init DIR --renew
hosts = {json.dumps(list(settings.hosts))}
ips = {json.dumps(list(settings.ips))}

# Where agents connect.
listen = {json.dumps(settings.listen)}
port = {settings.port}

# For the operator's commands; on the loopback address only.
control_port = {settings.control_port}

# Where invited sites are enrolled, on the same address as agents; 0 switches that off.
enrol_port = {settings.enrol_port}

# Where sites fetch releases of models, over HTTPS, without a login; 0 for nowhere.
releases_port = {settings.releases_port}

# Where the operator's page is, on the loopback address only unless `up --public`; 0 for nowhere.
dashboard_port = {settings.dashboard_port}

# Where the history of runs is kept: empty for SQLite in this folder, or the URL of a PostgreSQL database,
# postgresql+psycopg://mien@localhost/mien. MIEN_DATABASE_URL, if set, comes first: keep a password there.
database = {json.dumps(settings.database)}

# Whether runs write event files for TensorBoard: tensorboard --logdir DIR/runs
tensorboard = {json.dumps(settings.tensorboard)}

# Address of an MLflow server that runs are logged to, too; empty for none. MIEN_MLFLOW_URL, if set, comes
# first: keep a password there.
mlflow = {json.dumps(settings.mlflow)}
"""
    write_atomic(_settings_file(folder.path), text.encode())


def open_folder(path: Path) -> ServerFolder:
    """An existing server folder.

    Raises
    ------
    SettingsError
        It is no server folder, or its settings do not hold.
    """
    file = _settings_file(path)
    if not file.is_file():
        raise SettingsError(
            f"{path} is not a server folder: it has no server.toml. Make one: mien server init {path}"
        )
    try:
        values = tomllib.loads(read_bounded(file, SETTINGS_LIMIT_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InputError) as error:
        raise SettingsError(f"cannot read {file}: {error}. Correct it and try again.") from error
    return ServerFolder(path.absolute(), parse_settings(values, str(file)))


@contextmanager
def locked_for_up(folder: ServerFolder) -> Iterator[None]:
    """Hold the folder for one ``mien server up``; the lock ends with the process, however it ends.

    Raises
    ------
    FederationError
        Another process holds it.
    """
    file = folder.state / UP_LOCK_FILE
    with storage_errors(file), file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise FederationError(
                f"a server already runs on {folder.path} (process {holder}). "
                "Stop it first, or use another folder."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def is_up(folder: ServerFolder) -> bool:
    """Whether a ``mien server up`` holds the folder."""
    try:
        with (folder.state / UP_LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def remove_drafts(folder: ServerFolder) -> list[Path]:
    """Delete what a crash left half-written among models and runs; call it while no run is going on."""
    places = (
        (folder.models, ".*"),
        (folder.models, "*/.*"),
        (folder.runs, ".*"),
        (folder.runs, "*/state/.*"),
    )
    drafts = [draft for place, pattern in (*places, (folder.queue, ".*")) for draft in place.glob(pattern)]
    for draft in drafts:
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    return drafts


def without_paths(sentence: str, folder: ServerFolder) -> str:
    """A sentence for somebody who need not know where the server's folder is."""
    for path in {str(folder.path), str(folder.path.resolve())}:
        sentence = sentence.replace(f"{path}/", "").replace(path, "the server's folder")
    return sentence


def _settings_file(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file, not a folder. Give a folder for the server.")
    return path / "server.toml"
