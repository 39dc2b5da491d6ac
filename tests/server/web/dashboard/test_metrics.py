"""``/metrics`` as Prometheus asks for it: with a viewer's token, and with nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from ...history.made_history import MadeHistory
from .callers import Caller

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def test_a_viewer_may_scrape(made: MadeHistory, viewer: Caller) -> None:
    answer = viewer.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert (found["mien_server_up"], found["mien_rounds_total"]) == (1, 15)


def test_as_prometheus_itself_asks(made: MadeHistory, viewer: Caller) -> None:
    answer = viewer.get("/metrics", headers={"Accept": PROMETHEUS})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    parse: Any = open_metrics.text_string_to_metric_families
    assert "mien_rounds" in {family.name for family in parse(answer.text)}


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer wrong", "Basic dmlld2VyOng="])
def test_nobody_else_may(made: MadeHistory, dashboard: Callable[..., Caller], token: str) -> None:
    answer = dashboard(**({"Authorization": token} if token else {})).get("/metrics")

    assert answer.status_code == 401
    assert "mien_" not in answer.text


def test_while_the_database_is_away_a_scrape_fails(made: MadeHistory, viewer: Caller) -> None:
    for file in made.folder.state.glob("history.db*"):
        file.unlink()

    assert viewer.get("/metrics").status_code == 503


def test_nothing_can_be_written_there(made: MadeHistory, viewer: Caller) -> None:
    assert viewer.post("/metrics", json={}).status_code == 405
