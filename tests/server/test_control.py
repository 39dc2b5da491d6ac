"""What control.py relies on in Flower's private modules, and what it says when no server answers.

That register, start, watch and stop really work is shown against a real SuperLink in test_server_up.py.
"""

import datetime as dt
import inspect
import io
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.common import constant
from flwr.proto.control_pb2 import ListNodesRequest, ListNodesResponse
from flwr.server.superlink.linkstate import sql_linkstate
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import http_grid

from mien_client.fleet import HEARTBEAT_EVERY_S, HEARTBEAT_S
from mien_common.errors import FederationError
from mien_server.control import PULL_BACKOFF_S, Control, build_fab, quicken_grid
from mien_server.folder import ServerFolder


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # Flower's, for its newest pathspec
def test_the_bundle_carries_no_code() -> None:
    with zipfile.ZipFile(io.BytesIO(build_fab())) as bundle:
        names = bundle.namelist()
        config = tomllib.loads(bundle.read("pyproject.toml").decode())

    assert sorted(names) == [".info/CONTENT", "LICENSE", "pyproject.toml"]
    assert config["tool"]["flwr"]["app"]["components"] == {
        "serverapp": "mien_server.server_app:app",
        "clientapp": "mien_client.client_app:app",
    }
    assert config["tool"]["flwr"]["app"]["config"] == {"run": ""}


def test_flowers_grid_asks_again_when_we_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, float]] = []
    assert "pull_objects(" in inspect.getsource(http_grid.HttpGrid.pull_messages)
    assert {"initial_backoff", "max_time"} <= set(inspect.signature(pull_objects).parameters)
    monkeypatch.setattr(http_grid, "pull_objects", None)
    monkeypatch.setattr("mien_server.control.pull_objects", lambda **options: asked.append(options))

    quicken_grid()
    http_grid.__dict__["pull_objects"]()

    assert asked[0]["initial_backoff"] == PULL_BACKOFF_S


def test_without_a_server_the_error_says_how_to_start_it(folder: ServerFolder) -> None:
    with Control(folder) as control, pytest.raises(FederationError, match="mien server up"):
        control.node_ids()


@pytest.mark.filterwarnings("ignore:No path_separator found")  # Flower's, for its Alembic
class TestHowASiteStands:
    """Flower's own state of the nodes, on a clock of ours."""

    @pytest.fixture
    def nodes(self, folder: ServerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Nodes":
        return Nodes(folder, tmp_path / "flower.db", monkeypatch)

    @pytest.mark.parametrize("interval_s", [HEARTBEAT_S, float(constant.HEARTBEAT_DEFAULT_INTERVAL)])
    def test_online_then_late_then_offline(self, nodes: "Nodes", interval_s: float) -> None:
        assert nodes.standing() == ("offline", None), "it was registered, and never came"
        nodes.state.activate_node(nodes.node_id, interval_s)
        nodes.passes(interval_s - 0.1)
        assert nodes.standing() == ("online", interval_s - 0.1)
        nodes.passes(0.2)
        assert nodes.standing() == ("late", interval_s + 0.1)
        nodes.state.acknowledge_node_heartbeat(nodes.node_id, interval_s)
        assert nodes.standing() == ("online", 0.0)
        nodes.passes(2 * interval_s - 0.1)
        assert nodes.standing() == ("late", 2 * interval_s - 0.1)
        nodes.passes(0.2)
        assert nodes.standing() == ("offline", 0.1), "since when it was given up; Flower keeps no more"

    def test_one_that_leaves_in_order_is_never_late(self, nodes: "Nodes") -> None:
        nodes.state.activate_node(nodes.node_id, HEARTBEAT_S)
        nodes.passes(3)
        nodes.state.deactivate_node(nodes.node_id)
        nodes.passes(1)
        assert nodes.standing() == ("offline", 1.0)

    def test_no_jitter_makes_late(self) -> None:
        """The longest pause of our agents, one beat lost, and of Flower's own SuperNode."""
        assert 2 * HEARTBEAT_EVERY_S < HEARTBEAT_S
        longest = (constant.HEARTBEAT_DEFAULT_INTERVAL - constant.HEARTBEAT_CALL_TIMEOUT) * (
            constant.HEARTBEAT_BASE_MULTIPLIER + constant.HEARTBEAT_RANDOM_RANGE[1]
        )
        assert longest + constant.HEARTBEAT_CALL_TIMEOUT < constant.HEARTBEAT_DEFAULT_INTERVAL
        assert constant.HEARTBEAT_PATIENCE == 2, "else late is not half of the way to offline"


class Nodes:
    """One registered node in Flower's state, and what our control connection makes of it."""

    def __init__(self, folder: ServerFolder, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
        monkeypatch.setattr(sql_linkstate, "now", lambda: self._now)
        self.state = sql_linkstate.SqlLinkState(str(database), NoOpFederationManager(), InMemoryObjectStore())
        self.state.initialize()
        self.node_id = self.state.create_node("owner", "owner", b"key", constant.HEARTBEAT_DEFAULT_INTERVAL)
        self._control = Control(folder)
        self._control.__exit__()
        monkeypatch.setattr(self._control, "_client", SimpleNamespace(ListNodes=self._answer))

    def passes(self, seconds: float) -> None:
        self._now += dt.timedelta(seconds=seconds)

    def standing(self) -> tuple[str, float | None]:
        """How it stands, and how long ago it was last seen."""
        (node,) = self._control.nodes()
        assert node.online or not node.late
        word = "late" if node.late else "online" if node.online else "offline"
        ago = None if node.last_seen is None else round((self._now - node.last_seen).total_seconds(), 3)
        return word, ago

    def _answer(self, _: ListNodesRequest) -> ListNodesResponse:
        return ListNodesResponse(nodes_info=self.state.get_node_info(), now=self._now.isoformat())
