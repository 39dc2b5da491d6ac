"""Everything of this moment: what an operator is told of the server, the run, the queue and the sites."""

import datetime as dt

import pytest

from mien_server.facts import RoundFacts, RoundSeconds
from mien_server.folder import ServerFolder, locked_for_up
from mien_server.history.database import open_history
from mien_server.runs.progress import Progress
from mien_server.runs.queue import request_stop, submit
from mien_server.runs.record import GONE
from mien_server.runs.settings import checked
from mien_server.status import ago, left_s, read_status, since_asked

from .history.made_history import FINISHED, RUNNING, event, make_history
from .made_facts import NOW, made_round

MOMENT = dt.datetime.fromisoformat(NOW)


def test_the_server_itself(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        history = open_history(folder)
        server = read_status(folder, history, made.now + dt.timedelta(seconds=7)).server
        history.close()
    assert (server.up, server.database, server.behind_s) == (True, "sqlite", 7.0)
    assert server.since is not None
    assert server.certificate_ends is not None
    days = dt.datetime.fromisoformat(server.certificate_ends) - made.now
    assert days > dt.timedelta(days=29)


def test_a_server_that_is_down_has_nobody_online_and_nothing_going_on(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        history = open_history(folder)
    status = read_status(folder, history, made.now)
    history.close()
    assert not status.server.up
    assert status.server.since is None
    assert status.server.behind_s is None
    assert status.now is None
    assert status.run is not None
    assert (status.run.run, status.run.state, status.run.reason) == (RUNNING, "died", GONE)
    assert {site.presence for site in status.sites} == {"offline"}


def test_what_has_just_happened_is_known_before_the_history_knows(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        history = open_history(folder)
        made.journal.add(event("stopped", made.now, run=RUNNING, reason="its operator stopped it"))
        made.journal.close()
        (folder.queue / f"{RUNNING}.json").unlink()
        status = read_status(folder, history, made.now)
        assert status.run is not None
        assert (status.run.state, status.run.reason) == ("stopped", "its operator stopped it")
        history.close()


def test_the_queue_in_its_order(folder: ServerFolder) -> None:
    settings = checked({"rounds": 3, "quorum": 2})
    with make_history(folder) as made:
        history = open_history(folder)
        names = [
            submit(folder, settings, made.now, made.now + dt.timedelta(hours=1)),
            submit(folder, settings, made.now + dt.timedelta(seconds=1)),
        ]
        made.record()
        queue = read_status(folder, history, made.now).queue
        assert [run.run for run in queue] == names
        assert queue[0].not_before is not None
        assert queue[1].behind == (RUNNING,)
        request_stop(folder, names[0])
        assert [run.run for run in read_status(folder, history, made.now).queue] == names[1:]
        history.close()


def test_without_a_run_the_last_one_is_shown(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        (folder.queue / f"{RUNNING}.json").unlink()
        made.journal.add(event("stopped", made.now - dt.timedelta(days=2), run=RUNNING, reason="x"))
        made.journal.close()
        made.record()
        history = open_history(folder)
        status = read_status(folder, history, made.now)
        history.close()
    assert status.run is not None
    assert status.run.run == FINISHED  # it ended later, though it began before


def test_an_empty_server(folder: ServerFolder) -> None:
    from .history.made_history import record

    record(folder, None, MOMENT)
    history = open_history(folder)
    with locked_for_up(folder):
        status = read_status(folder, history, MOMENT)
    history.close()
    assert (status.run, status.now, status.queue, status.sites) == (None, None, (), ())
    assert (status.latest_release, status.events) == (None, 0)


def rounds(*totals: float | None) -> list[RoundFacts]:
    found = []
    for number, total in enumerate(totals, start=1):
        seconds = RoundSeconds(
            wait=1, train=total and total * 0.4, transfer=2, aggregate=1, evaluate=3, total=total
        )
        found.append(made_round(number, seconds=seconds))
    return found


def progress(phase: str, seconds_ago: float) -> Progress:
    since = (MOMENT - dt.timedelta(seconds=seconds_ago)).isoformat()
    values = {"round": 4, "attempt": 1, "phase": phase, "since": since, "deadline": None}
    return Progress.model_validate({**values, "online": (), "asked": ()})


@pytest.mark.parametrize(
    ("phase", "seconds_ago", "expected"),
    [
        ("waiting", 0, 40.0),
        ("waiting", 60, 30.0),  # longer than a round takes: the others are still to come
        ("train", 4, 35.0),
        ("evaluate", 1, 40.0 - (1 + 4 + 2 + 1) - 1),
    ],
)
def test_time_left_is_what_the_medians_say(phase: str, seconds_ago: float, expected: float) -> None:
    assert left_s(4, rounds(10, 9, 300, 10, 11), progress(phase, seconds_ago), MOMENT) == expected


def test_nothing_is_guessed_from_nothing() -> None:
    assert left_s(4, [], progress("train", 1), MOMENT) is None
    assert left_s(4, rounds(None, None), progress("train", 1), MOMENT) is None


def test_a_run_that_was_resumed_is_as_quick_as_it_is_now() -> None:
    done = [made_round(1), made_round(2), made_round(3)]
    assert since_asked(done, done[1].time) == done[1:]
    assert since_asked(done, "2027-01-01T00:00:00.000+00:00") == done
    assert since_asked(done, None) == done


def test_how_long_ago_is_said_as_one_would() -> None:
    said = [ago(seconds) for seconds in (-1, 40, 119, 120, 7199, 7200, 172_799, 172_800)]
    assert said == ["0 s", "40 s", "119 s", "2 min", "120 min", "2 h", "48 h", "2 days"]
