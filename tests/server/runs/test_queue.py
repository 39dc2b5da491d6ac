"""The queue: one run after another, whatever dies in between. Flower is a list here."""

import datetime as dt
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mien_common.errors import FederationError, MienError, SettingsError
from mien_server.control import RunStatus
from mien_server.folder import ServerFolder, is_up, locked_for_up, remove_drafts
from mien_server.runs.dispatch import START_PATIENCE_S, STOP_PATIENCE_S, ControlApi, Dispatcher
from mien_server.runs.journal import JOURNAL_FILE, Journal
from mien_server.runs.queue import (
    append,
    read_ticket,
    read_tickets,
    request_stop,
    runs_locked,
    stop_asked,
    submit,
    submit_again,
)
from mien_server.runs.record import GONE, list_runs, read_record, run_to_resume, run_to_stop
from mien_server.runs.settings import checked
from mien_server.runs.watch import check_finished, conduct, follow
from mien_server.server_app import _take_up

DAY = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)
SETTINGS = checked({"rounds": 3, "quorum": 1})
CCC = {"valence": {"pooled": 0.5, "mean_over_recordings": 0.4}, "arousal": {"pooled": None}}


@dataclass
class Flower:
    """What the dispatcher asks of Flower."""

    runs: list[str] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    away: bool = False

    @contextmanager
    def __call__(self, _: ServerFolder) -> Iterator[ControlApi]:
        if self.away:
            raise FederationError("no server answers")
        yield self

    def start_run(self, config: object) -> int:
        self.runs.append(dict(config)["run"])  # type: ignore[call-overload]
        return len(self.runs)

    def run_status(self, run_id: int) -> RunStatus:
        return RunStatus(run_id in self.finished, False, False, "out of memory")

    def stop_run(self, run_id: int) -> None:
        self.stopped.append(run_id)


class Server:
    """``mien server up``, as far as runs go."""

    def __init__(self, folder: ServerFolder, flower: Flower) -> None:
        self.folder, self.flower = folder, flower
        self.now, self.clock = DAY, 0.0
        self.apps: dict[str, Journal] = {}
        self.start()

    def start(self) -> None:
        """Begin to serve; a second time, as after a crash."""
        self.dispatcher = Dispatcher(self.folder, self.flower, lambda: self.now, lambda: self.clock)

    def look(self, seconds: float = 5.0) -> None:
        self.clock += seconds
        self.dispatcher.look()

    def begin(self, run: str) -> Journal:
        """Its ServerApp comes up."""
        ticket = read_ticket(self.folder, run)
        assert ticket is not None
        assert ticket.flower_run is not None
        self.apps[run] = _take_up(self.folder, self.folder.runs / run, ticket.flower_run)
        self.apps[run].write("started", run=run, rounds=3)
        return self.apps[run]

    def end(self, run: str, event: str = "finished", **values: str) -> None:
        self.apps[run].write(event, run=run, **values)
        self.apps.pop(run).close()

    def kill(self, run: str) -> None:
        self.apps.pop(run).close()

    def states(self) -> dict[str, str]:
        return {record.name[-3:]: record.state for record in list_runs(self.folder)}


@pytest.fixture
def server(folder: ServerFolder) -> Iterator[Server]:
    with locked_for_up(folder):
        yield Server(folder, Flower())


def put(server: Server, seconds: float = 0.0, at: dt.datetime | None = None) -> str:
    return submit(server.folder, SETTINGS, DAY + dt.timedelta(seconds=seconds), at)


def test_one_after_another_in_the_order_in_which_they_were_asked_for(server: Server) -> None:
    first, second, third = (put(server, seconds) for seconds in range(3))
    server.look()
    assert server.flower.runs == [first]
    assert server.states() == {"001": "running", "002": "waiting", "003": "waiting"}
    assert read_record(server.folder, third).behind == (first, second)
    server.begin(first)
    for _ in range(3):
        server.look()
    assert server.flower.runs == [first]

    server.end(first)
    server.look()
    assert server.flower.runs == [first, second]
    server.begin(second)
    server.end(second, "failed", error="no quorum")
    server.look()
    assert server.flower.runs == [first, second, third], "a run that fails does not hold up the others"
    assert server.states() == {"001": "finished", "002": "failed", "003": "running"}
    assert read_record(server.folder, second).reason == "no quorum"


def test_a_scheduled_run_waits_for_its_time_and_holds_up_nobody(server: Server) -> None:
    later = put(server, 0, DAY + dt.timedelta(hours=2))
    now = put(server, 1)
    server.look()
    assert server.flower.runs == [now]
    record = read_record(server.folder, later)
    assert (record.state, record.not_before) == ("waiting", DAY + dt.timedelta(hours=2))
    server.begin(now)
    server.end(now)
    server.look()
    assert server.flower.runs == [now]
    server.now = DAY + dt.timedelta(hours=2)
    server.look()
    assert server.flower.runs == [now, later]


def test_a_server_app_that_was_killed_is_seen_and_the_next_run_starts(server: Server) -> None:
    first, second = put(server), put(server, 1)
    server.look()
    server.begin(first)
    server.kill(first)
    server.look()
    assert server.states() == {"001": "died", "002": "waiting"} or server.flower.runs == [first, second]
    record = read_record(server.folder, first)
    assert record.state == "died"
    assert record.reason.startswith("its ServerApp died. See ")
    assert server.flower.stopped == [1], "Flower is told, so that its sites are not kept busy"
    server.look()
    assert server.flower.runs == [first, second]


def test_a_server_app_that_never_came_up(server: Server) -> None:
    one, two = put(server), put(server, 1)
    server.look()
    server.look()
    server.flower.finished = {1}
    server.look()
    assert read_record(server.folder, one).reason.startswith("out of memory. See ")
    server.look()
    server.look(START_PATIENCE_S + 1)
    assert "did not start within 180 s" in read_record(server.folder, two).reason


def test_a_superlink_that_is_away_for_a_while_loses_no_run(server: Server) -> None:
    run = put(server)
    server.flower.away = True
    server.look()
    assert server.states() == {"001": "waiting"}
    server.flower.away = False
    server.look()
    server.flower.away = True
    server.look()
    assert server.flower.runs == [run]
    assert server.states() == {"001": "running"}


@pytest.mark.parametrize("begun", [True, False])
def test_a_server_that_was_killed_marks_its_runs_when_it_is_back(server: Server, begun: bool) -> None:
    run, waiting = put(server), put(server, 1)
    server.look()
    if begun:
        server.begin(run)
        server.kill(run)
    server.start()
    server.look()
    server.look()
    assert read_record(server.folder, run).state == "died"
    assert server.flower.runs == [run, waiting], "who waited is served after all"


def test_a_server_that_was_killed_between_flower_and_the_ticket_starts_one_process_only(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's run 1 has no ticket: when its ServerApp comes up, it finds that run 2 is meant."""
    run = put(server)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mien_server.runs.dispatch.write_ticket", killed)
        with pytest.raises(KeyboardInterrupt):
            server.look()
    server.start()
    server.look()
    assert server.flower.runs == [run, run]
    with pytest.raises(FederationError, match="is not Flower's run 1, or no longer"):
        _take_up(server.folder, server.folder.runs / run, 1)
    server.begin(run)


def test_a_ticket_that_cannot_be_written_stops_what_was_started(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server)

    def full(*_: object) -> None:
        raise MienError("disk full")

    monkeypatch.setattr("mien_server.runs.dispatch.write_ticket", full)
    server.look()
    assert server.flower.stopped == [1]
    assert server.states() == {"001": "waiting"}


def test_with_the_server_down_a_dead_run_is_seen_as_dead(folder: ServerFolder) -> None:
    with locked_for_up(folder):
        server = Server(folder, Flower())
        run, waiting = put(server), put(server, 1)
        server.look()
        assert server.states() == {"001": "running", "002": "waiting"}
    assert not is_up(folder)
    assert server.states() == {"001": "died", "002": "waiting"}
    assert read_record(folder, run).reason == GONE
    assert read_record(folder, waiting).reason == ""


class TestStop:
    def test_a_waiting_run_leaves_the_queue_at_once(self, server: Server) -> None:
        first, second = put(server), put(server, 1)
        server.look()
        assert request_stop(server.folder, second)
        assert server.states() == {"001": "running", "002": "stopped"}
        assert "out of the queue" in read_record(server.folder, second).reason
        with pytest.raises(SettingsError, match=r"is over already \(stopped\)"):
            request_stop(server.folder, second)
        assert run_to_stop(server.folder) == first

    def test_a_running_one_is_told(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run)
        assert not stop_asked(server.folder, run)
        assert not request_stop(server.folder, run)
        assert stop_asked(server.folder, run)
        server.end(run, "stopped", reason="its operator stopped it")
        server.look()
        assert read_record(server.folder, run).state == "stopped"
        with pytest.raises(FederationError, match="no run goes on now"):
            run_to_stop(server.folder)

    def test_one_that_does_not_obey_is_ended_by_flower(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run)
        request_stop(server.folder, run)
        server.look()
        assert server.flower.stopped == []
        server.look(STOP_PATIENCE_S + 1)
        assert server.flower.stopped == [1]
        server.kill(run)
        server.look()
        assert read_record(server.folder, run).state == "stopped", "as it was told, not died"


class TestAgain:
    def test_a_dead_run_is_queued_once_and_counts_as_waiting_not_dead(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run).write("round", round=1, ccc=CCC)
        server.kill(run)
        server.look()
        assert run_to_resume(server.folder) == run
        assert submit_again(server.folder, run, DAY)
        assert not submit_again(server.folder, run, DAY), "a second command finds it there"
        assert server.states() == {"001": "waiting"}
        server.look()
        assert server.states() == {"001": "running"}
        assert not submit_again(server.folder, run, DAY)
        server.apps[run] = _take_up(server.folder, server.folder.runs / run, 2)
        server.apps[run].write("resumed", run=run, round=2)
        server.end(run)
        record = read_record(server.folder, run)
        assert (record.state, record.rounds_done, record.resumed) == ("finished", 1, 1)
        assert record.ccc == {"valence": 0.5, "arousal": None}

    def test_a_finished_run_is_refused(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run)
        server.end(run)
        server.look()
        with pytest.raises(SettingsError, match="is finished: there is nothing to resume"):
            submit_again(server.folder, run, DAY)
        with pytest.raises(SettingsError, match="every run is finished"):
            run_to_resume(server.folder)

    @pytest.mark.parametrize("name", ["../x", "..", "/etc", "a/b", "", ".hidden", "a\0b", "x" * 65, "a\n"])
    def test_a_name_that_leads_elsewhere_is_refused(self, folder: ServerFolder, name: str) -> None:
        for use in (
            lambda: submit_again(folder, name, DAY),
            lambda: request_stop(folder, name),
            lambda: read_record(folder, name),
        ):
            with pytest.raises(SettingsError, match="is not the name of a run"):
                use()

    def test_an_unknown_run_is_named(self, folder: ServerFolder) -> None:
        with pytest.raises(SettingsError, match=r"there is no run 2026-01-01-001 in .*mien server list"):
            submit_again(folder, "2026-01-01-001", DAY)


def test_half_a_line_of_a_dead_writer_is_removed_when_the_run_goes_on(server: Server) -> None:
    run = put(server)
    server.look()
    server.begin(run)
    server.kill(run)
    journal = server.folder.runs / run / "rounds.jsonl"
    with journal.open("a") as file:
        file.write('{"event": "rou')
    server.look()
    assert [line.split('"')[3] for line in journal.read_text().splitlines()] == ["started", "died"]


def test_a_damaged_ticket_or_journal_holds_up_nobody(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    broken, ticketless, good = put(server), put(server, 1), put(server, 2)
    server.look()
    server.begin(broken)
    server.kill(broken)
    (server.folder.runs / broken / "rounds.jsonl").write_text("rubbish\n")
    (server.folder.queue / f"{ticketless}.json").write_text("{}")
    server.look()
    server.look()
    assert server.flower.runs == [broken, good]
    assert "ticket_ignored" in caplog.text
    with pytest.raises(SettingsError, match=r"damaged: it is not what Mien wrote\. Delete it"):
        read_ticket(server.folder, ticketless)
    with pytest.raises(MienError, match="'rubbish' is no event of a run"):
        read_record(server.folder, broken)
    assert good[-3:] in server.states()


def forked(work: Callable[[], None]) -> int:
    """A process of its own that does ``work``; its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def test_the_lock_names_its_holder_and_a_dead_one_holds_nothing(folder: ServerFolder) -> None:
    held = folder.path / "held"

    def hold() -> None:
        with runs_locked(folder):
            held.touch()
            signal.pause()

    holder = forked(hold)
    while not held.exists():
        time.sleep(0.01)
    with (
        pytest.raises(FederationError, match=rf"holds the queue .* \(process {holder}\)"),
        runs_locked(folder, patience_s=0.05),
    ):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with runs_locked(folder, patience_s=0.05):
        pass


def test_commands_at_once_get_a_run_each(folder: ServerFolder) -> None:
    def submit_some() -> None:
        for _ in range(8):
            submit(folder, SETTINGS, DAY)

    children = [forked(submit_some) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    names = [ticket.run for ticket in read_tickets(folder)]
    assert names == [f"2026-11-24-{number:03d}" for number in range(1, 25)]
    assert sorted(path.name for path in folder.runs.iterdir()) == names


def test_what_a_crash_left_half_written_is_removed(folder: ServerFolder) -> None:
    run = submit(folder, SETTINGS, DAY)
    state = folder.runs / run / "state"
    state.mkdir()
    drafts = [folder.runs / ".2026-11-24-002.abc", state / ".round-0001.x", folder.queue / ".y.json.z"]
    for draft in drafts:
        draft.write_text("half")
    assert set(remove_drafts(folder)) == set(drafts)
    assert [ticket.run for ticket in read_tickets(folder)] == [run]


def test_a_run_whose_name_has_models_already_gets_another(folder: ServerFolder) -> None:
    """Where the runs were tidied away but not the models, a new run must not publish among old ones."""
    (folder.models / "2026-11-24-001").mkdir()
    assert submit(folder, SETTINGS, DAY) == "2026-11-24-002"


def test_an_event_is_appended_only_where_nobody_writes(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien_server.runs.journal.LOCK_PATIENCE_S", 0.05)
    path = folder.runs / submit(folder, SETTINGS, DAY)
    journal = Journal(path)
    began = time.monotonic()
    with pytest.raises(FederationError, match="another process conducts the run"):
        append(path, "died")
    assert time.monotonic() - began < 5
    journal.close()


def fill(journal: Journal) -> None:
    for _ in range(1000):
        journal.write("round", text="x" * 1000)


def test_a_full_disk_tears_no_line(small_disk: Path) -> None:
    journal = Journal(small_disk)
    journal.write("started")
    with pytest.raises(MienError, match="No space left"):
        fill(journal)
    before = (small_disk / "rounds.jsonl").read_bytes()
    assert before.endswith(b"}\n")
    journal.close()


class TestFollow:
    def test_who_waits_is_told_for_what_and_ctrl_c_takes_it_out_of_the_queue(self, server: Server) -> None:
        first, second = put(server), put(server, 1)
        server.look()
        server.begin(first)
        events = conduct(server.folder, second)
        told = next(events)
        assert (told["event"], told["behind"], told["not_before"]) == ("queued", [first], None)
        events.close()
        assert server.states() == {"001": "running", "002": "stopped"}

    def test_it_ends_with_the_run(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run)
        server.end(run, "failed", error="no quorum")
        server.look()
        events = conduct(server.folder, run)
        assert next(events)["event"] == "started"
        assert next(events)["event"] == "failed"
        with pytest.raises(FederationError, match=f"the run {run} failed: no quorum"):
            next(events)

    def test_a_journal_just_made_whose_writer_holds_no_lock_yet_is_no_dead_run(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = put(server)
        server.look()
        (server.folder.runs / run / JOURNAL_FILE).touch()
        server.look()
        assert server.states() == {"001": "running"}
        steps = iter((server.begin, server.end))

        def meanwhile(_: float) -> None:
            next(steps)(run)

        monkeypatch.setattr("mien_server.runs.watch.time.sleep", meanwhile)
        assert [event["event"] for event in follow(server.folder, run)] == ["started", "finished"]

    def test_a_run_that_is_taken_up_again_is_followed_from_there(self, server: Server) -> None:
        run = put(server)
        server.look()
        server.begin(run)
        server.kill(run)
        server.look()
        submit_again(server.folder, run, DAY)
        server.look()
        server.apps[run] = _take_up(server.folder, server.folder.runs / run, 2)
        server.apps[run].write("resumed", run=run, round=1)
        server.end(run)
        assert [event["event"] for event in follow(server.folder, run)] == ["resumed", "finished"]
        whole = [event["event"] for event in follow(server.folder, run, whole=True)]
        assert whole == ["started", "died", "resumed", "finished"]

    def test_a_run_that_went_with_its_server_is_said_to_have_died(self, folder: ServerFolder) -> None:
        with locked_for_up(folder):
            server = Server(folder, Flower())
            run = put(server)
            server.look()
            server.begin(run)
            server.kill(run)
        events = list(follow(folder, run))
        assert [event["event"] for event in events] == ["started", "died"]
        with pytest.raises(FederationError, match=f"mien server run --resume {run}"):
            check_finished(run, events[-1])

    def test_a_queue_without_a_server_is_not_waited_for_for_ever(
        self, folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mien_server.runs.watch.SERVER_PATIENCE_S", 0.2)
        run = submit(folder, SETTINGS, DAY)
        with pytest.raises(FederationError, match=rf"the run {run} is waiting, but no server is up\. Start"):
            list(conduct(folder, run))
        assert read_record(folder, run).state == "waiting", "it keeps its place"
