"""A server and its sites on this machine's loopback, as real processes that start and stop as one.

What the demo, the benchmarks and the integration tests stand on. Every step is a command a user would
type; what was started here ends with the block, or with us.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mien_client.client_app import SITE_DIR
from mien_common.errors import FederationError
from mien_common.files import make_folder
from mien_common.flower_environment import QUIET_FLOWER
from mien_lab.mien_command import Argument, follow, mien, run_mien
from mien_server.logs import interrupts_held_back, raise_if_interrupted
from mien_server.processes import Child, Command, last_line

START_PATIENCE_S: Final = 120.0
PORTS: Final = range(10_100, 12_000)
"""None of those that the kernel gives to whoever asks for any: somebody would have it before our server, many
seconds later, listens on it."""

Event = dict[str, Any]


class Federation:
    """A server folder and site folders under one folder.

    Use it as a context manager; leaving it stops every process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = folder / "server"
        ports = _free_ports(5)
        self.port, self._control_port, self.enrol_port, self.releases_port, self.dashboard_port = ports
        self._running: dict[str, Child] = {}
        self._started = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._running.values():  # all at once, then each in turn
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        self._started.close()

    def site(self, name: str) -> Path:
        """The folder of a site."""
        return self.folder / "sites" / name

    def log(self, name: str) -> Path:
        """The log of a process: ``server`` or a site's name."""
        return make_folder(self.folder / "logs") / f"{name}.log"

    def pid(self, name: str) -> int:
        """Process id of the server or of a site's agent."""
        process = self._running[name].process
        if process is None:
            raise FederationError(f"{name} is not running")
        return process.pid

    def is_running(self, name: str) -> bool:
        """Whether the server or a site's agent was started here and lives."""
        child = self._running.get(name)
        return child is not None and child.process is not None and child.process.poll() is None

    def create(self, lags_s: Mapping[str, float]) -> None:
        """Make a server and one enrolled site per name, with its rating lag in seconds."""
        run_mien(
            *("server", "init", self.server, "--listen", "127.0.0.1"),
            *("--port", self.port, "--control-port", self._control_port),
            *("--enrol-port", self.enrol_port, "--releases-port", self.releases_port),
            *("--dashboard-port", self.dashboard_port),
        )
        for name, lag_s in lags_s.items():
            site = self.site(name)
            make_folder(site.parent)
            run_mien(
                *("agent", "init", site, "--name", name, "--server", f"127.0.0.1:{self.port}"),
                *("--ca", self.server / "tls" / "ca.crt", "--lag-s", lag_s),
            )
            run_mien("server", "enrol", site / "keys" / "site.pub", "--name", name, "--dir", self.server)

    def up(self) -> None:
        """Start the server; back when agents can connect."""
        self._keep_up("server", mien("server", "up", "--dir", self.server))
        self.wait_for("ready", "server")

    def page(self) -> tuple[str, str]:
        """Where the operator's page is, and a token to log in with."""
        token = run_mien("server", "token", "--dir", self.server).strip()
        return f"http://127.0.0.1:{self.dashboard_port}", token

    def join(self, names: Sequence[str]) -> None:
        """Start agents; back when all of them have joined, so that the first round has every site."""
        for name in names:
            self.start(name)
        for name in names:
            self.wait_for("joined", name)

    def start(self, name: str) -> None:
        """Start a site's agent."""
        self._keep_up(name, mien("agent", "join", "--site", self.site(name)))

    def join_stock(self, names: Sequence[str]) -> None:
        """Start Flower's own SuperNode for sites, with the same ClientApp; back when they are connected."""
        ports = _free_ports(len(names))
        for name, port in zip(names, ports, strict=True):
            site, tls = self.site(name), self.server / "tls"
            supernode = [
                *(
                    str(Path(sys.executable).parent / "flower-supernode"),
                    "--superlink",
                    f"127.0.0.1:{self.port}",
                ),
                *("--root-certificates", str(tls / "ca.crt")),
                *("--auth-supernode-private-key", str(site / "keys" / "site.key")),
                *("--ssl-ca-certfile", str(tls / "ca.crt"), "--ssl-certfile", str(tls / "server.crt")),
                *("--ssl-keyfile", str(tls / "server.key"), "--port", str(port)),
                *("--node-config", f'{SITE_DIR}="{site}"'),
            ]
            home = make_folder(site / "state" / "flwr-home")
            variables = os.environ | QUIET_FLOWER | {"FLWR_HOME": str(home), "PATH": _path()}
            self._keep_up(name, supernode, variables)
        for name in names:
            self.wait_for("Starting Flower SuperNode", name)

    def leave(self, name: str) -> None:
        """Stop the server or an agent in order."""
        self._running.pop(name).stop()

    def run(self, *options: Argument) -> Generator[Event]:
        """Events of ``mien server run --json`` with these options."""
        command = mien("server", "run", "--dir", self.server, "--json", *options)
        with closing(follow(command)) as lines:
            for line in lines:
                yield json.loads(line)

    def wait_for(self, word: str, name: str) -> None:
        """Wait until a process's log holds ``word``.

        Raises
        ------
        FederationError
            The process died, or two minutes are over.
        """
        child, log, end = self._running[name], self.log(name), time.monotonic() + START_PATIENCE_S
        while word not in log.read_text(errors="replace"):
            if child.process is None or child.process.poll() is not None or time.monotonic() > end:
                raise FederationError(f"{name} did not come up: {last_line(log)}. Its log: {log}")
            raise_if_interrupted()
            time.sleep(0.05)

    def _keep_up(self, name: str, arguments: list[str], variables: Mapping[str, str] | None = None) -> None:
        child = Child(Command(name, arguments, variables or os.environ, self.log(name)))
        self._started.callback(child.stop)
        with interrupts_held_back():
            child.start()
        self._running[name] = child


def _path() -> str:
    """This interpreter's commands first: the SuperNode starts its ClientApp by name."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody has now."""
    return list(islice(filter(_is_free, _candidates), count))


# From another place in each process, as two may choose before either listens; and never twice the same.
_candidates = islice(cycle(PORTS), 7 * os.getpid() % len(PORTS), None)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
