"""What a status says of a run that waits for sites: whom it waits for, and when they were last seen."""

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast

from mien_server.facts import CurrentRound
from mien_server.folder import ServerFolder
from mien_server.runs.progress import Progress, write_progress
from mien_server.status import Past, current_round

from .made_facts import NOW, RUN, made_run, made_site

SEEN = "2026-11-23T12:00:00.000+00:00"


def waiting(folder: ServerFolder, **changes: Any) -> CurrentRound:
    """Round 4 waits for sites; lab-1 is online, lab-2 is offline, lab-3 never came, lab-4 was revoked."""
    values: dict[str, Any] = {
        **{"round": 4, "attempt": 1, "phase": "waiting", "since": NOW, "deadline": None},
        **{"online": ("lab-1",), "asked": ()},
    }
    path = folder.runs / RUN
    path.mkdir(parents=True)
    write_progress(path, Progress(**values | changes))
    sites = [
        made_site("lab-1", presence="online"),
        made_site("lab-2", presence="offline", last_seen=SEEN),
        made_site("lab-3", presence="never seen", last_seen=None),
        made_site("lab-4", presence="revoked"),
    ]
    past = cast(Past, SimpleNamespace(rounds=lambda *_, **__: []))
    found = current_round(folder, past, made_run(), sites, dt.datetime.fromisoformat(NOW))
    assert found is not None
    return found


def test_too_few_are_there(folder: ServerFolder) -> None:
    found = waiting(folder)
    assert [site.site for site in found.awaits] == ["lab-2", "lab-3"]
    assert found.in_words == (
        "waiting for 2 sites to be online; online now: lab-1; lab-2 last seen 40 s ago, lab-3 never seen"
    )


def test_nobody_is_there(folder: ServerFolder) -> None:
    assert "online now: none; lab-2" in waiting(folder, online=()).in_words


def test_enough_are_there_but_not_those_that_were(folder: ServerFolder) -> None:
    found = waiting(folder, online=("lab-1", "lab-3"), missing=("lab-2",))
    assert [site.site for site in found.awaits] == ["lab-2"]
    assert found.in_words == (
        "waiting for sites that were there before the run was interrupted: lab-2 last seen 40 s ago"
    )


def test_who_is_in_the_round_was_seen_also_while_no_history_tells(folder: ServerFolder) -> None:
    trains = {"phase": "train", "online": ("lab-3", "lab-9"), "asked": ("lab-3", "lab-9")}
    found = waiting(folder, **trains)
    assert [site.presence for site in found.awaits] == ["online", "online"]
    assert found.in_words == "waiting for 2 of 2 sites: lab-3, lab-9"
