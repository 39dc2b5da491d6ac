"""The past that other tests are made with is one that the recorder and the readers understand."""

from mien_server.folder import ServerFolder
from mien_server.history.database import open_history
from mien_server.status import read_status

from .made_history import FINISHED, RUNNING, make_history


def test_a_made_past_is_read_as_it_was_made(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        history = open_history(folder)
        status = read_status(folder, history, made.now)

        assert [(run.run, run.state, run.rounds_done) for run in history.runs()] == [
            (RUNNING, "running", 3),
            (FINISHED, "finished", 12),
        ]
        assert [found.round for found in history.rounds(FINISHED)] == list(range(1, 13))
        assert [(site.name, site.presence) for site in status.sites] == [
            ("lab-1", "online"),
            ("lab-2", "late"),
            ("lab-3", "online"),
        ]
        assert status.now is not None
        assert status.now.in_words == "waiting for 1 of 3 sites: lab-2 last seen 40 s ago"
        assert status.latest_release == "1.1.0"
        history.close()


def test_what_was_recorded_is_not_recorded_again(folder: ServerFolder) -> None:
    with make_history(folder) as made:
        history = open_history(folder)
        before = history.last_event(), len(history.site_rounds(FINISHED))
        made.record()
        assert (history.last_event(), len(history.site_rounds(FINISHED))) == before
        history.close()
