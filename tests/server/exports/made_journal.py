"""A run's journal as its ServerApp would write it, round by round."""

import datetime as dt
from pathlib import Path
from typing import Any

from mien_server.folder import ServerFolder
from mien_server.runs.journal import Event, Journal
from mien_server.runs.settings import RunSettings, create_run

SITES = ("lab-1", "lab-2", "lab-3")


def made_run(folder: ServerFolder, rounds: int = 20) -> str:
    """A new run with an empty journal; its name."""
    return create_run(
        folder, RunSettings(rounds=rounds, quorum=2), dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    ).name


def round_event(number: int, sites: tuple[str, ...] = SITES, **changes: Any) -> Event:
    """Of the round ``number``: its figures follow from it, and it was done a minute after the one before."""
    failed = {sites[1]: "no answer"} if number % 2 == 0 else {}
    answered = [site for site in sites if site not in failed]
    event: Event = {
        "event": "round",
        "time": f"2026-11-23T{10 + number // 60:02}:{number % 60:02}:30.250+00:00",
        "round": number,
        "rounds": 20,
        "attempts": 1,
        "asked": list(sites),
        "seconds": {
            **{"wait": 0.5, "train": 6.25, "transfer": 1.5, "aggregate": 0.125, "evaluate": 2.0},
            "total": 10.0 + number,
        },
        "sites": {"answered": answered, "failed": failed},
        "evaluated": {"answered": answered, "failed": {}},
        "loss": {"mean": 1 / number, "worst": 1.5 / number, "worst_site": sites[0], "spread": 0.25},
        "ccc": {
            "valence": {"pooled": number / 32, "mean_over_recordings": number / 64},
            "arousal": {"pooled": None, "mean_over_recordings": None},
        },
        "worst_site": {"valence": {"site": sites[0], "pooled": number / 128, "mean_over_recordings": None}},
        "spread": {"valence": 0.0625, "arousal": None},
        "reports": {
            site: {
                **{"frames": 1000 + number, "loss": 1.25, "update_norm": 2.5, "seconds": 6.25},
                **{"device": "cpu", "version": "0.1.0", "bytes_up": 100_000, "bytes_down": 101_000},
            }
            for site in answered
        },
        "site_ccc": {site: {"valence": 0.125, "arousal": None} for site in answered},
        "bytes_up": 300_000 + number,
        "bytes_down": 310_000 + number,
        "model": f"models/round-{number:04}",
    }
    return event | changes


def write(folder: ServerFolder, run: str, *events: Event) -> None:
    """Append to its journal."""
    journal = Journal(folder.runs / run)
    for event in events:
        journal.add(event)
    journal.close()


def old_round_event(number: int) -> Event:
    """As Mien wrote it before sites' reports were kept."""
    event = round_event(number)
    for name in ("attempts", "asked", "worst_site", "spread", "reports", "site_ccc"):
        del event[name]
    return event | {"seconds": {"total": 3.0, "train": 2.0, "evaluate": 1.0}}


def journal_file(folder: ServerFolder, run: str) -> Path:
    return folder.runs / run / "rounds.jsonl"
