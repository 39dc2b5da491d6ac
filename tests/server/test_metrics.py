"""The exposition, read back by Prometheus' own parser of its text format."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from mien_server.facts import RoundFacts, Status, TotalFacts
from mien_server.folder import ServerFolder
from mien_server.history.database import open_history
from mien_server.history.kinds import KINDS
from mien_server.metrics import exposition, read_metrics
from mien_server.runs.journal import JournalReader

from .history.made_history import RUNNING, make_history, record
from .made_facts import RUN, made_now, made_round, made_run, made_server, made_site, made_status

TOTALS = TotalFacts(
    rounds=15, bytes_up=5_000_000_000, bytes_down=6_000_000_000, events={"round": 15, "round_failed": 2}
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(status: Status, last: RoundFacts | None = None, totals: TotalFacts = TOTALS) -> Samples:
    """Every sample of an exposition of made-up facts."""
    return parsed(exposition(status, last, totals)[0])


def parsed(text: bytes) -> Samples:
    """Every sample; a second one of the same name and labels fails."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def names(found: Samples) -> set[str]:
    return {name for name, _ in found}


def test_says_what_runs_and_how_far_it_is() -> None:
    found = samples(made_status(), made_round(3))
    assert value(found, "mien_build_info", version="0.1.0", database="sqlite") == 1
    assert value(found, "mien_server_up") == 1
    assert value(found, "mien_run_info", run=RUN, rule="fedavg") == 1
    assert value(found, "mien_run_state", run=RUN, state="running") == 1
    assert value(found, "mien_run_state", run=RUN, state="failed") == 0
    assert value(found, "mien_run_rounds", run=RUN) == 20
    assert value(found, "mien_run_rounds_done", run=RUN) == 3
    assert value(found, "mien_current_round", run=RUN) == 4
    assert value(found, "mien_current_round_awaited_sites", run=RUN) == 1
    assert value(found, "mien_run_left_seconds", run=RUN) == 178.5
    assert value(found, "mien_queue_runs") == 1
    assert value(found, "mien_latest_release_info", version="1.0.0") == 1
    ends = dt.datetime(2027, 11, 23, 11, tzinfo=dt.UTC).timestamp()
    assert value(found, "mien_certificate_expiry_timestamp_seconds") == ends
    assert value(found, "mien_history_behind_seconds") == 0.25


def test_gives_the_last_round() -> None:
    found = samples(made_status(), made_round(3))
    assert value(found, "mien_round_ccc", run=RUN, target="valence", way="pooled") == 0.3
    assert value(found, "mien_round_ccc", run=RUN, target="valence", way="mean_over_recordings") == 0.25
    assert value(found, "mien_round_worst_site_ccc", run=RUN, target="valence") == 0.05
    assert value(found, "mien_round_loss", run=RUN) == pytest.approx(0.87)
    assert value(found, "mien_round_phase_seconds", run=RUN, phase="train") == 6.25
    assert value(found, "mien_round_duration_seconds", run=RUN) == 10.503
    assert value(found, "mien_round_received_bytes", run=RUN) == 300_003


def test_what_is_not_known_has_no_sample() -> None:
    found = samples(made_status(), made_round(3))
    assert value(found, "mien_round_ccc", run=RUN, target="arousal", way="mean_over_recordings") is None
    assert value(found, "mien_site_ccc", site="lab-1", target="valence") == 0.25
    assert value(found, "mien_site_ccc", site="lab-1", target="arousal") is None
    assert value(found, "mien_site_frames", site="lab-4") is None
    assert "mien_epsilon" not in names(found)
    assert all(number == number for number in found.values())  # no NaN


def test_privacy_spent_is_told_where_a_mechanism_is_on() -> None:
    found = samples(made_status(), made_round(3, epsilon=1.25))
    assert value(found, "mien_epsilon", run=RUN) == 1.25


def test_tells_how_sites_stand() -> None:
    found = samples(made_status())
    online = {f"lab-{site}": value(found, "mien_site_online", site=f"lab-{site}") for site in range(1, 7)}
    assert online == {"lab-1": 1, "lab-2": 1, "lab-3": 0, "lab-4": 0, "lab-5": None, "lab-6": None}
    seen = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC).timestamp()
    assert value(found, "mien_site_last_seen_timestamp_seconds", site="lab-2") == seen
    assert value(found, "mien_site_update_norm", site="lab-1") == 1.5
    assert {presence: value(found, "mien_sites", presence=presence) for presence in ("late", "revoked")} == {
        "late": 1,
        "revoked": 1,
    }


def test_counts_over_the_whole_history() -> None:
    found = samples(made_status(run=None, now=None))
    assert value(found, "mien_rounds_total") == 15
    assert value(found, "mien_round_failures_total") == 2
    assert value(found, "mien_received_bytes_total") == 5e9
    assert value(found, "mien_sent_bytes_total") == 6e9
    assert value(found, "mien_events_total", kind="round") == 15


def test_a_server_that_has_done_nothing_and_is_down() -> None:
    server = made_server(up=False, since=None, certificate_ends=None, behind_s=None)
    status = made_status(server=server, run=None, now=None, queue=(), sites=(), latest_release=None, events=0)
    found = samples(status, None, TotalFacts(rounds=0, bytes_up=0, bytes_down=0, events={}))
    assert value(found, "mien_server_up") == 0
    assert value(found, "mien_rounds_total") == 0
    assert value(found, "mien_round_failures_total") == 0
    assert not {name for name in names(found) if name.startswith(("mien_run_", "mien_site_", "mien_round_c"))}


def test_hostile_text_stays_a_label() -> None:
    nasty = 'a"} 1\nmien_evil 1\n\\'
    found = samples(made_status(latest_release=nasty), made_round())
    assert value(found, "mien_latest_release_info", version=nasty) == 1
    assert "mien_evil" not in names(found)


def test_series_do_not_grow_with_runs_or_rounds() -> None:
    """Ten thousand rounds of other runs change values, not how many there are."""
    late = made_run(run="2027-01-01-1000", rounds=9999, rounds_done=9998)
    events = dict.fromkeys(KINDS, 10**9)
    long = TotalFacts(rounds=10_000_000, bytes_up=10**15, bytes_down=10**15, events=events)
    few = samples(
        made_status(), made_round(3), TotalFacts(rounds=15, bytes_up=1, bytes_down=1, events=events)
    )
    many = samples(
        made_status(run=late, now=made_now(run=late.run)), made_round(4, run=late.run, round=9998), long
    )
    assert len(many) == len(few)
    assert value(many, "mien_received_bytes_total") == 10**15


def test_a_thousand_sites_take_a_moment_and_less_than_a_megabyte() -> None:
    sites = tuple(made_site(f"lab-{number}") for number in range(1000))
    text, _ = exposition(made_status(sites=sites), made_round(), TOTALS)
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text",
        ),
        ("nonsense/;;=,", "text/plain"),
    ],
)
def test_both_formats_of_prometheus(accept: str, expected: str) -> None:
    text, content_type = exposition(made_status(), made_round(), TOTALS, accept)
    assert content_type.startswith(expected)
    parse: Any = open_metrics if "openmetrics" in content_type else text_string_to_metric_families
    found = {sample.name for family in parse(text.decode()) for sample in family.samples}
    assert {"mien_rounds_total", "mien_round_ccc"} <= found


def test_every_metric_says_what_it_is() -> None:
    text, _ = exposition(made_status(), made_round(3, epsilon=1.0), TOTALS)
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter")
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)


def test_nothing_is_kept_between_two_scrapes() -> None:
    first, _ = exposition(made_status(), made_round(3), TOTALS)
    exposition(made_status(run=made_run(run="other")), made_round(4, run="other"), TOTALS)
    again, _ = exposition(made_status(), made_round(3), TOTALS)
    assert again == first
    assert not [line for line in first.splitlines() if b"mien_" not in line]  # nothing of the library's own


def test_a_server_with_a_past(folder: ServerFolder) -> None:
    """Totals are the sums of what the runs' own journals say; they are the same after a restart."""
    with make_history(folder) as made:
        journals = [JournalReader(path) for path in folder.runs.iterdir()]
        rounds = [event for journal in journals for event in journal.new() if event["event"] == "round"]
        history = open_history(folder)
        found = parsed(read_metrics(folder, history, made.now)[0])
        again = parsed(read_metrics(folder, open_history(folder), made.now)[0])

    assert value(found, "mien_server_up") == 1
    assert value(found, "mien_run_rounds_done", run=RUNNING) == 3
    assert value(found, "mien_current_round", run=RUNNING) == 4
    assert value(found, "mien_current_round_awaited_sites", run=RUNNING) == 1
    assert value(found, "mien_rounds_total") == len(rounds) == 15
    assert value(found, "mien_received_bytes_total") == sum(event["bytes_up"] for event in rounds)
    assert value(found, "mien_sent_bytes_total") == sum(event["bytes_down"] for event in rounds)
    assert value(found, "mien_events_total", kind="promoted") == 2
    last = next(event for event in rounds if event["round"] == 3 and event["rounds"] == 20)
    pooled = last["ccc"]["valence"]["pooled"]
    assert value(found, "mien_round_ccc", run=RUNNING, target="valence", way="pooled") == pytest.approx(
        pooled
    )
    assert again == found


def test_before_the_first_run_there_is_something_to_scrape(folder: ServerFolder) -> None:
    now = dt.datetime.now(dt.UTC)
    record(folder, None, now)
    found = parsed(read_metrics(folder, open_history(folder), now)[0])

    assert value(found, "mien_server_up") == 0
    assert value(found, "mien_rounds_total") == 0
    assert not [name for name in names(found) if name.startswith("mien_run")]


def test_the_documentation_names_no_metric_that_is_not_there() -> None:
    """``…_rest`` goes on with the beginning of the name before it."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    exposed = names(samples(made_status(), made_round(epsilon=1.0)))
    written = set(re.findall(r"\bmien_\w+", page))
    endings = set(re.findall(r"`…(_\w+)`", page))

    assert written - exposed == set()
    assert all(any(name.endswith(ending) for name in exposed) for ending in endings)
