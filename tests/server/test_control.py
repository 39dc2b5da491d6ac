"""What control.py relies on in Flower's private modules, and what it says when no server answers.

That register, start, watch and stop really work is shown against a real SuperLink in test_server_up.py.
"""

import inspect
import io
import tomllib
import zipfile

import pytest
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.superlink.grid import http_grid

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
