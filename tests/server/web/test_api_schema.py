"""Every operation of the API as its OpenAPI document has it, with data that fits and data that does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mien_server.web.dashboard.document import as_text
from mien_server.web.dashboard.tokens import new_token
from mien_server.web.rate_limit import WrongTries

from ..conftest import server_folder
from ..history.made_history import make_history
from .dashboard.conftest import NOW
from .dashboard.listening import listening

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text()), config=SchemathesisConfig(seed=1))


def test_the_document_in_docs_is_this_version_s() -> None:
    assert DOCUMENT.read_text() == as_text(), (
        "the API has changed: python -m mien_server.web.dashboard.document > docs/openapi.json"
    )


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and operator's token of a dashboard over a server with a past; its SuperLink is made up."""
    path = tmp_path_factory.mktemp("api") / "server"
    with pytest.MonkeyPatch.context() as patch, make_history(server_folder(path), NOW) as made:
        patch.setattr("mien_server.runs.start.check_ready", lambda *_: None)
        patch.setattr(WrongTries, "count", lambda *_: None)  # wrong tokens are among what is tried
        with listening(made.folder) as port:
            yield f"http://127.0.0.1:{port}", new_token(made.folder, "operator", NOW)


@schema.exclude(path="/api/v1/stream").parametrize()  # which does not end: test_stream.py
@hypothesis.settings(max_examples=10, derandomize=True, deadline=None, database=None)
def test_operation(case: Any, api: tuple[str, str]) -> None:
    address, token = api
    # A run's settings also have to fit each other, which no schema says.
    is_start = case.operation.label == "POST /api/v1/runs"
    case.call_and_validate(
        address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        excluded_checks=[positive_data_acceptance] if is_start else None,
    )
