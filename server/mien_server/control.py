"""The operator's door to a running SuperLink: register a site, start, watch and stop a run.

The one file of the server that imports Flower's private modules (flwr 1.39); its contract tests
(``tests/server/test_control.py``) say what it relies on. Flower's own ``flwr`` command does the same at
1.4 CPU-seconds a call.
"""

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, TypeVar

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import HEARTBEAT_PATIENCE, Status, SubStatus
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError as PushInterruptedError
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.superlink.grid import http_grid

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder

__all__ = ["Control", "NodeStanding", "PushInterruptedError", "RunStatus", "build_fab", "quicken_grid"]

FAB_FILES: Final = ("pyproject.toml", "LICENSE")
PULL_BACKOFF_S: Final = 0.02
UPLOAD_PATIENCE_S: Final = 20.0
"""How long the arrays of an announced reply may take to arrive."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands, as Flower sees it."""

    finished: bool
    completed: bool
    """Finished by itself, without an error."""
    stopped: bool
    details: str


@dataclass(frozen=True)
class NodeStanding:
    """How a key stands with the SuperLink."""

    public_key: bytes
    """PEM."""
    node_id: int
    online: bool
    late: bool
    """Still counted online, but silent for longer than the interval in which it promised a heartbeat."""
    last_seen: dt.datetime | None
    """Its last sign of life; None where it never joined. Of one that is not online: when it left, or, if it
    fell silent, when it was given up (Flower keeps no more), which is later than its last sign of life."""


class Control:
    """A connection to the control API of the server in ``folder``; use it as a context manager."""

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self._client = ControlHttpClient.from_server_address(
            folder.control_address,
            insecure=False,
            root_certificates=folder.ca_certificate.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="mien server")],
        )

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def node_ids(self) -> dict[bytes, int]:
        """Node id of every registered public key (PEM)."""
        answer = self._ask(lambda: self._client.ListNodes(ListNodesRequest()), "list the sites")
        return {node.public_key: node.node_id for node in answer.nodes_info if node.status != "unregistered"}

    def nodes(self) -> list[NodeStanding]:
        """How every registered key stands with the SuperLink."""
        answer = self._ask(lambda: self._client.ListNodes(ListNodesRequest()), "list the sites")
        now = dt.datetime.fromisoformat(answer.now).timestamp()
        return [_standing(node, now) for node in answer.nodes_info if node.status != "unregistered"]

    def unregister_site(self, node_id: int) -> None:
        """Refuse this node from its next message on; its key can never be registered again."""
        request = UnregisterNodeRequest(node_id=node_id)
        self._ask(lambda: self._client.UnregisterNode(request), "take the site off")

    def register_site(self, name: str, public_key_pem: bytes) -> int:
        """Let the holder of ``public_key_pem`` connect; its node id."""
        request = RegisterNodeRequest(public_key=public_key_pem, name=name)
        return int(self._ask(lambda: self._client.RegisterNode(request), f"register the site {name}").node_id)

    def start_run(self, config: Mapping[str, str]) -> int:
        """Start our ServerApp with ``config`` (keys as in the FAB's pyproject.toml); Flower's run id."""
        content = build_fab()
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(config)))
        answer = self._ask(lambda: self._client.StartRun(request), "start a run")
        if not answer.HasField("run_id"):
            raise FederationError(f"Flower did not take the run; see {self._folder.logs / 'superlink.log'}")
        return int(answer.run_id)

    def run_status(self, run_id: int) -> RunStatus:
        """Where the run ``run_id`` stands."""
        answer = self._ask(lambda: self._client.ListRuns(ListRunsRequest(run_id=run_id)), "ask for the run")
        status = answer.run_dict[run_id].status
        finished = status.status == Status.FINISHED
        return RunStatus(
            finished=finished,
            completed=finished and status.sub_status == SubStatus.COMPLETED,
            stopped=finished and status.sub_status == SubStatus.STOPPED,
            details=status.details,
        )

    def stop_run(self, run_id: int) -> None:
        """Stop the run and its ServerApp."""
        self._ask(lambda: self._client.StopRun(StopRunRequest(run_id=run_id)), "stop the run")

    def _ask(self, call: Callable[[], Answer], what: str) -> Answer:
        try:
            return call()
        except httpx.HTTPStatusError as error:
            raise FederationError(f"cannot {what}: {_reason(error.response)}") from error
        except httpx.HTTPError as error:
            raise FederationError(
                f"cannot {what}: no server answers at {self._folder.control_address} ({error}). "
                f"Start it: mien server up --dir {self._folder.path}"
            ) from error


@functools.cache
def build_fab() -> bytes:
    """Our thin Flower app bundle: it carries no code and names the apps of the installed packages."""
    root = resources.files("mien_server") / "fab"
    content, _ = build_fab_from_files({name: root.joinpath(name).read_bytes() for name in FAB_FILES})
    return content


def quicken_grid() -> None:
    """Let the grid ask again after 20 ms, not 1 s, for a reply whose parts are still being uploaded.

    A reply is announced before its arrays have arrived. Polling as often as we do, we nearly always
    see the announcement first, and Flower's first back-off (``PULL_INITIAL_BACKOFF``, a default
    bound at definition) would then cost a second per reply. And a site that died in between would hold
    up every other reply, and the round's deadline, until Flower gave up on it minutes later.
    """
    http_grid.__dict__["pull_objects"] = functools.partial(
        pull_objects, initial_backoff=PULL_BACKOFF_S, max_time=UPLOAD_PATIENCE_S
    )


def _standing(node: NodeInfo, now: float) -> NodeStanding:
    """Flower keeps until when a node counts as online: so long after its last heartbeat, or when it left.

    A node announces the longest pause between two of its heartbeats, and counts as online for twice that. Our
    agents announce 10 s and beat every 4 s; Flower's own SuperNode announces 30 s and beats every 17.5 to
    22.5 s, plus at most 5 s for the call. So neither's jitter makes it late.
    """
    online = node.status == "online" and node.online_until > now
    seen, late = None, False
    if node.status == "online":
        beat = min(now, node.online_until - HEARTBEAT_PATIENCE * node.heartbeat_interval)
        late = online and now - beat > node.heartbeat_interval
        seen = dt.datetime.fromtimestamp(beat, dt.UTC)
    elif node.last_deactivated_at:
        seen = dt.datetime.fromisoformat(node.last_deactivated_at)
    return NodeStanding(node.public_key, node.node_id, online, late, seen)


def _reason(response: httpx.Response) -> str:
    try:
        found = json.loads(response.content)
    except ValueError:
        found = response.text[:300]
    if isinstance(found, dict):
        found = found.get("public_message") or found.get("detail") or found
    return f"{found} (HTTP {response.status_code})"
