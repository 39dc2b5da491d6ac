"""A history of many runs stays quick to ask. The figures of docs/history.md:

MIEN_TEST_RUNS=200 pytest -s tests/server/history/test_scale.py
"""

import datetime as dt
import json
import os
import time
from collections.abc import Callable

from sqlalchemy import URL, Engine

from mien_server.folder import ServerFolder
from mien_server.history.reader import History
from mien_server.history.recorder import Keeper
from mien_server.history.revisions import prepare
from mien_server.runs.settings import checked

from .made_history import event, round_values

RUNS = int(os.environ.get("MIEN_TEST_RUNS", "12"))
ROUNDS = 50
SITES = tuple(f"lab-{number}" for number in range(1, 21))
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
QUICK_S = 0.25
"""Far more than any question takes on a machine that is not busy."""


def tell(line: str) -> None:
    print(line)  # noqa: T201 - a figure for whoever asked with -s


def write_runs(folder: ServerFolder) -> None:
    settings = checked({"rounds": ROUNDS, "quorum": 2}).model_dump_json()
    values = [
        json.dumps(round_values(round_, ROUNDS, {"lab-3": "SessionError"} if round_ % 10 == 0 else {}, SITES))
        for round_ in range(1, ROUNDS + 1)
    ]
    for number in range(1, RUNS + 1):
        path = folder.runs / f"2026-11-01-{number:03d}"
        path.mkdir()
        (path / "settings.json").write_text(settings)
        begin = NOW - dt.timedelta(hours=number)
        lines = [
            event("started", begin, run=path.name, rounds=ROUNDS, rule="fedavg", quorum=2, enrolled=SITES)
        ]
        for minute, said in enumerate(values, start=1):
            lines.append({**event("round", begin + dt.timedelta(minutes=minute)), **json.loads(said)})
        lines.append(event("finished", begin + dt.timedelta(hours=1), run=path.name, rounds=ROUNDS))
        (path / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_many_runs_are_taken_up_and_asked_for_quickly(
    folder: ServerFolder, url: URL, engine: Engine, history: History
) -> None:
    write_runs(folder)
    prepare(engine, url, folder, NOW)
    keeper = Keeper(engine, folder, NOW)
    began, used = time.perf_counter(), time.process_time()
    keeper.look(None, NOW)
    took, used = time.perf_counter() - began, time.process_time() - used
    size = f"{RUNS} runs of {ROUNDS} rounds and {len(SITES)} sites"
    tell(f"\n{url.get_backend_name()}: {size} in {took:.1f} s, {used:.1f} s of CPU beside the database's")

    run = "2026-11-01-001"
    questions: dict[str, Callable[[], object]] = {
        "runs": history.runs,
        "rounds of a run": lambda: history.rounds(run),
        "sites' parts in a round": lambda: history.site_rounds(run, round=7),
        "a site's parts in a run": lambda: history.site_rounds(run, site="lab-7"),
        "sites": history.sites,
        "the newest 200 events": history.events,
        "events of a site": lambda: history.events(site="lab-3"),
        "events with a text": lambda: history.events(text="sessionerror"),
        "a look without news": lambda: keeper.look(None, NOW),
    }
    for name, ask in questions.items():
        ask()
        times = []
        for _ in range(5):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        tell(f"  {name:26} {1000 * min(times):5.1f} ms")
        assert min(times) < QUICK_S, name
    assert len(history.runs(10_000)) == RUNS
    assert history.totals().rounds == RUNS * ROUNDS
