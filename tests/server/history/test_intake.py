"""What becomes of journals that are damaged, cut, exchanged or gone, and of runs in all their states."""

import datetime as dt
import json
import shutil

import pytest
from sqlalchemy import URL

from mien_server.folder import ServerFolder, locked_for_up
from mien_server.history.reader import History
from mien_server.runs.queue import Ticket, submit, submit_again, write_ticket
from mien_server.runs.record import GONE, list_runs
from mien_server.runs.settings import checked
from mien_server.server_events import events_file, record_event

from .made_history import SITES, add_round, begin_run, event, record, round_values
from .recording import check_whole, lines_of

RUN = "2026-11-23-001"
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def minute(number: int) -> dt.datetime:
    return NOW + dt.timedelta(minutes=number)


def kinds(history: History) -> list[str]:
    return [found.kind for found in history.events(after=0)]


def test_a_damaged_line_is_skipped_and_said(
    folder: ServerFolder, url: URL, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    journal = begin_run(folder, RUN, 3, NOW)
    add_round(folder, journal, 1, 3, minute(1))
    path = folder.runs / RUN / "rounds.jsonl"
    twins = {"answered": ["a" * 64 + "1", "a" * 64 + "2"], "failed": {}}  # one name, as far as it is kept
    bad = [
        b"\xff\xfenot json",
        b'{"event": 7}',
        b'{"event": "round", "time": "yesterday"}',
        json.dumps(event("round", minute(2), round=2)).encode(),
        json.dumps(event("round", minute(2), **{**round_values(2, 3, {}), "round": 2**40})).encode(),
        json.dumps(event("round", minute(2), **{**round_values(3, 3, {}), "sites": twins})).encode(),
        b"[" * 5000,
        b'{"event": "started", "time": "2026-11-23T12:00:00+00:00", "run": "x", "rounds": "\\u0000"}',
    ]
    with path.open("ab") as file:
        file.write(b"\n".join(bad) + b"\n")
    add_round(folder, journal, 2, 3, minute(2))
    journal.close()
    record(folder, None, NOW)

    assert [found.round for found in history.rounds(RUN)] == [1, 2]
    told = [found for found in history.events(after=0) if found.kind == "unreadable"]
    assert len(told) == len(bad)
    assert all(found.run == RUN for found in told)
    assert caplog.text.count("event=line_skipped") == len(bad)
    at = path.read_bytes().index(bad[0])
    assert told[0].text.startswith(f"the journal runs/{RUN} is damaged at byte {at}: ")

    caplog.clear()
    record(folder, None, NOW)
    assert "line_skipped" not in caplog.text
    assert len([kind for kind in kinds(history) if kind == "unreadable"]) == len(told)


def test_a_damaged_line_of_the_servers_journal_is_skipped_too(folder: ServerFolder, history: History) -> None:
    record_event(folder, "invited", site="lab-1")
    with events_file(folder).open("ab") as file:
        file.write(b"half a li\n")
        file.write(json.dumps(event("promoted", NOW)).encode() + b"\n")
    record_event(folder, "enrolled", site="lab-1", how="code")
    record(folder, None, NOW)
    assert kinds(history) == ["invited", "unreadable", "unreadable", "enrolled"]


def test_a_line_that_was_taken_back_leaves_no_round(folder: ServerFolder, url: URL, history: History) -> None:
    journal = begin_run(folder, RUN, 5, NOW)
    for round_ in (1, 2, 3):
        add_round(folder, journal, round_, 5, minute(round_))
    record(folder, None, NOW)
    before = history.events(after=0)

    path = folder.runs / RUN / "rounds.jsonl"
    kept = [line for line in lines_of(path) if line.get("round") != 3]
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in kept))
    record(folder, None, NOW)
    assert [found.round for found in history.rounds(RUN)] == [1, 2]
    assert history.runs()[0].rounds_done == 2
    assert history.events(after=0) == before, "what happened stays told, and is not told twice"

    add_round(folder, journal, 3, 5, minute(9))
    journal.close()
    record(folder, None, NOW)
    assert history.rounds(RUN)[-1].time == "2026-11-23T12:09:00.000+00:00"
    assert len(history.events(after=0)) == len(before) + 1


def test_another_run_under_the_same_name_is_begun_anew(
    folder: ServerFolder, url: URL, history: History
) -> None:
    journal = begin_run(folder, RUN, 2, NOW)
    for round_ in (1, 2):
        add_round(folder, journal, round_, 2, minute(round_))
    journal.close()
    record(folder, None, NOW)

    shutil.rmtree(folder.runs / RUN)
    journal = begin_run(folder, RUN, 2, minute(60))
    add_round(folder, journal, 1, 2, minute(61))
    journal.close()
    record(folder, None, NOW)
    assert [found.time for found in history.rounds(RUN)] == ["2026-11-23T13:01:00.000+00:00"]
    assert {found.round for found in history.site_rounds(RUN)} == {1}


def test_a_run_that_was_deleted_stays_in_the_history(folder: ServerFolder, history: History) -> None:
    journal = begin_run(folder, RUN, 1, NOW)
    add_round(folder, journal, 1, 1, minute(1))
    journal.add(event("finished", minute(2), run=RUN, rounds=1))
    journal.close()
    record(folder, None, NOW)
    shutil.rmtree(folder.runs / RUN)
    record(folder, None, NOW)
    assert [(run.run, run.state) for run in history.runs()] == [(RUN, "finished")]
    assert len(history.rounds(RUN)) == 1


def test_a_run_that_was_deleted_as_it_went_on_is_over(folder: ServerFolder, history: History) -> None:
    journal = begin_run(folder, RUN, 3, NOW)
    record(folder, None, NOW)
    assert history.runs()[0].state == "running"
    journal.close()
    shutil.rmtree(folder.runs / RUN)
    record(folder, None, minute(5))
    assert (history.runs()[0].state, history.runs()[0].reason) == ("died", "its folder was deleted")


def test_states_are_those_of_mien_server_list(folder: ServerFolder, url: URL, history: History) -> None:
    """Every state that a run can be in, by the other code that tells it."""
    with locked_for_up(folder):
        for number, last in enumerate(
            (
                event("finished", minute(3), run="x", rounds=3),
                event("stopped", minute(3), run="x", reason="its operator stopped it"),
                event("failed", minute(3), run="x", error="too few sites"),
                event("died", minute(3), run="x", error="its ServerApp died"),
                None,
            ),
            start=1,
        ):
            journal = begin_run(folder, f"2026-11-22-{number:03d}", 3, NOW)
            add_round(folder, journal, 1, 3, minute(1))
            if last is not None:
                journal.add(last)
            journal.close()
        submit_again(folder, "2026-11-22-002", minute(4))
        waiting = submit(folder, checked({"rounds": 3, "quorum": 2}), minute(5))
        later = submit(folder, checked({"rounds": 3, "quorum": 2}), minute(6), minute(60))
        running = begin_run(folder, "2026-11-24-001", 3, minute(7))
        write_ticket(folder, Ticket(run="2026-11-24-001", asked=minute(0), journal_bytes=0, flower_run=1))
        write_ticket(
            folder, Ticket(run="2026-11-22-005", asked=minute(1), journal_bytes=10_000, flower_run=2)
        )
        record(folder, None, NOW)

        by_files = {run.name: run for run in list_runs(folder)}
        by_history = {run.run: run for run in history.runs()}
        assert by_files.keys() == by_history.keys()
        for name, run in by_history.items():
            other = by_files[name]
            assert (run.state, run.rounds_done, run.reason) == (other.state, other.rounds_done, other.reason)
            assert (run.resumed, run.behind) == (other.resumed, other.behind), name
            assert (run.valence_ccc is None) == (not other.ccc)
            assert _same_moment(run.started, other.started)
            assert _same_moment(run.ended, other.ended), name
            assert _same_moment(run.not_before, other.in_json["not_before"])
        assert {run.state for run in by_history.values()} == {
            *("finished", "waiting", "failed", "died", "running"),
        }
        assert by_history[waiting].behind == ("2026-11-24-001", "2026-11-22-005", "2026-11-22-002")
        assert by_history[later].not_before == "2026-11-23T13:00:00.000+00:00"
        running.close()


def _same_moment(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one == other
    return dt.datetime.fromisoformat(one) == dt.datetime.fromisoformat(other)


def test_a_run_without_its_server_has_died(folder: ServerFolder, history: History) -> None:
    journal = begin_run(folder, RUN, 3, NOW)
    record(folder, None, NOW)
    journal.close()
    record(folder, None, NOW)
    assert (history.runs()[0].state, history.runs()[0].reason) == ("died", GONE)


def test_being_queued_is_told_once_for_each_time(folder: ServerFolder, url: URL, history: History) -> None:
    run = submit(folder, checked({"rounds": 3, "quorum": 2}), NOW, minute(90))
    for _ in range(3):
        record(folder, None, NOW)
    assert kinds(history) == ["queued"]
    assert history.events()[0].text == "in the queue, starts at 2026-11-23 13:30 UTC"
    (folder.queue / f"{run}.json").unlink()
    submit_again(folder, run, minute(1))
    record(folder, None, NOW)
    assert kinds(history) == ["queued", "queued"]
    assert history.runs()[0].asked == "2026-11-23T12:01:00.000+00:00"


def test_a_round_in_full(folder: ServerFolder, url: URL, history: History) -> None:
    journal = begin_run(folder, RUN, 9, NOW)
    journal.add(
        event(
            "round_failed",
            minute(1),
            **{"round": 1, "attempt": 1, "attempts": 3, "quorum": 2},
            sites={"answered": ["lab-1"], "failed": {"lab-2": "it went offline"}},
        )
    )
    values = round_values(1, 9, {"lab-2": "SessionError"})
    values["attempts"], values["epsilon"] = 2, 1.5
    values["evaluated"] = {"answered": ["lab-1"], "failed": {"lab-3": "NoSessionError"}}
    values["ccc"]["arousal"]["pooled"] = None
    values["asked"] = ["lab-1", "lab-2"]
    values["sites"] = {"answered": ["lab-1"], "failed": {"lab-2": "SessionError"}}
    del values["reports"]["lab-3"]
    journal.add(event("round", minute(2), **values))
    journal.close()
    record(folder, None, NOW)

    found = history.rounds(RUN)[0]
    assert (found.attempts, found.sites_asked, found.sites_answered, found.frames) == (2, 2, 1, 3000)
    assert (found.epsilon, found.arousal.pooled, found.arousal.worst_site) == (1.5, None, "lab-3")
    assert found.seconds.model_dump() == values["seconds"]
    assert found.loss.model_dump() == values["loss"]
    one, two, three = history.site_rounds(RUN)
    assert (one.asked, one.answered, one.error, one.evaluation_error) == (True, True, "", "")
    assert one.model_dump(include=set(values["reports"]["lab-1"])) == values["reports"]["lab-1"]
    assert (two.asked, two.answered, two.error, two.frames) == (True, False, "SessionError", None)
    assert (three.asked, three.answered, three.evaluation_error) == (False, False, "NoSessionError")
    dropped = [(found.site, found.round) for found in history.events(after=0, kinds=["dropped"])]
    assert dropped == [("lab-2", 1), ("lab-2", 1), ("lab-3", 1)]


def test_a_journal_of_an_older_mien_is_read(folder: ServerFolder, url: URL, history: History) -> None:
    journal = begin_run(folder, RUN, 9, NOW)
    older = ("rounds", "round", "sites", "evaluated", "ccc", "bytes_up", "bytes_down", "model")
    values = {name: value for name, value in round_values(1, 9, {}).items() if name in older}
    journal.add(
        event(
            "round",
            minute(1),
            **values,
            seconds={"total": 3.0, "train": 2.0, "evaluate": 1.0},
            loss={"mean": 0.5, "worst": 0.6, "worst_site": "lab-1"},
        )
    )
    journal.close()
    record(folder, None, NOW)
    found = history.rounds(RUN)[0]
    assert (found.attempts, found.sites_asked, found.frames) == (1, len(SITES), None)
    assert (found.seconds.wait, found.seconds.train, found.loss.spread) == (None, 2.0, None)
    assert all(part.answered and part.device is None for part in history.site_rounds(RUN))


def test_a_sites_last_word_is_that_of_its_last_round(
    folder: ServerFolder, url: URL, history: History
) -> None:
    """Also where an older run was taken up after a newer one."""
    for number in (1, 2):
        journal = begin_run(folder, f"2026-11-23-00{number}", 9, minute(number))
        add_round(folder, journal, 1, 9, minute(10 * number))
        if number == 1:
            add_round(folder, journal, 2, 9, minute(30), {"lab-2": "SessionError"})
        journal.close()
    record(folder, None, NOW)
    one, two, _ = history.sites()
    assert (one.run, one.round, one.frames, one.frames_in_all) == ("2026-11-23-001", 2, 3000, 6000)
    assert (two.round, two.frames, two.error, two.device) == (2, None, "SessionError", "cpu")
    assert two.error_time == "2026-11-23T12:30:00.000+00:00"
    check_whole(folder, history)


def test_five_hundred_runs_that_are_over_are_not_read_again(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien_server.history import journals
    from mien_server.history.connection import history_url, writer_engine
    from mien_server.history.recorder import Keeper
    from mien_server.history.revisions import prepare

    settings = checked({"rounds": 1, "quorum": 2}).model_dump_json()
    for number in range(500):
        path = folder.runs / f"2026-11-23-{number:03d}"
        path.mkdir()
        (path / "settings.json").write_text(settings)
        lines = [event("started", NOW, run=path.name, rounds=1, rule="fedavg", quorum=2, enrolled=SITES)]
        lines.append(event("finished", NOW, run=path.name, rounds=1))
        (path / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    engine = writer_engine(history_url(folder))
    prepare(engine, engine.url, folder, NOW)
    keeper = Keeper(engine, folder, NOW)
    keeper.look(None, NOW)

    opened: list[object] = []
    whole = journals._read
    monkeypatch.setattr(journals, "_read", lambda *given: opened.append(given) or whole(*given))  # type: ignore[func-returns-value]
    for quarter in range(1, 200):
        keeper.look(None, NOW + dt.timedelta(seconds=quarter / 4))
    assert opened == []
    engine.dispose()
