"""A real PostgreSQL for tests: a cluster in a folder of its own, on loopback, gone with the test process."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from mien_server.processes import die_with

from ...free_ports import free_ports

USER = "mien"
PASSWORD = "sesame-2026"
PATIENCE_S = 60.0


def binaries() -> Path | None:
    """Where ``initdb`` and ``postgres`` are: Debian keeps them apart, by version."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    on_path = shutil.which("postgres")
    found = [*candidates, *([Path(on_path).parent] if on_path else [])]
    return next((path for path in reversed(found) if (path / "initdb").exists()), None)


@dataclass
class Cluster:
    """One PostgreSQL server."""

    home: Path
    port: int
    bin: Path
    user: str | None
    """Whom it runs as: PostgreSQL refuses to be root. None for whoever we are."""
    process: "subprocess.Popen[bytes] | None" = None
    databases: int = field(default=0)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        self.databases += 1
        name = f"history_{self.databases}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(self.bin / "postgres"), "-D", str(self.home / "data")),
                    *("-k", str(self.home), "-h", "127.0.0.1", "-p", str(self.port)),
                    *("-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=40"),
                ],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < end, (self.home / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """As a machine that is switched off: clients are cut, nothing is tidied up."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(PATIENCE_S)
            self.process = None


@contextmanager
def cluster(found: Path) -> Iterator[Cluster]:
    """A cluster that runs until it is left."""
    user = _unprivileged() if os.getuid() == 0 else None
    # Not in pytest's own folder, which another user cannot enter; and a socket's path must be short.
    home = Path(tempfile.mkdtemp(prefix="mien-pg-"))
    (port,) = free_ports(1)
    made = Cluster(home, port, found, user)
    try:
        (home / "password").write_text(PASSWORD)
        if user is not None:
            for path in (home, home / "password"):
                shutil.chown(path, user)
        subprocess.run(
            [
                *(str(found / "initdb"), "-D", str(home / "data"), "-U", USER, "--no-sync", "-E", "UTF8"),
                *("--no-locale", "--auth", "scram-sha-256", "--pwfile", str(home / "password")),
            ],
            cwd=home,
            user=user,
            extra_groups=[] if user else None,
            check=True,
            capture_output=True,
        )
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)


def _unprivileged() -> str:
    """Somebody who is not root, preferably PostgreSQL's own user."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise AssertionError("no user but root")
