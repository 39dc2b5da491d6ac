"""The example dashboard of docs/: whole, and about metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mien_server.metrics import exposition

from .made_facts import made_round, made_status
from .test_metrics import TOTALS

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])


def test_every_metric_that_it_asks_for_is_exposed_with_those_labels(dashboard: dict[str, Any]) -> None:
    text, _ = exposition(made_status(), made_round(epsilon=1.0), TOTALS)
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            exposed.setdefault(sample.name, set()).update(sample.labels)
    asked = list(expressions(dashboard))
    assert len(asked) > 20
    for expression in asked:
        names = re.findall(r"\bmien_\w+", expression)
        assert names, expression
        assert set(names) <= set(exposed), expression
        labels = set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
        assert labels <= exposed[names[0]], expression
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            (name, *_) = re.findall(r"\bmien_\w+", target["expr"])
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= exposed[name], target["expr"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_it_shows_the_prometheus_that_its_reader_chooses(dashboard: dict[str, Any]) -> None:
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    named = set(re.findall(r'"uid": "([^"]+)"', DASHBOARD.read_text())) - {dashboard["uid"]}
    assert named == {f"${{{variable['name']}}}"}
    assert dashboard["schemaVersion"] >= 39


def test_it_covers_what_an_operator_watches(dashboard: dict[str, Any]) -> None:
    asked = " ".join(expressions(dashboard))
    for name in ("run_state", "round_ccc", "round_loss", "phase_seconds", "bytes_total", "site_online"):
        assert name in asked
    assert "mien_certificate_expiry_timestamp_seconds" in asked
