"""A server folder with a past, as the server's own processes would have written it; and its history.

Two runs: one finished with 12 rounds, one in its fourth round, with lab-2 awaited. Three sites, two releases.
"""

import datetime as dt
import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec

from mien_common.published import Agreement, Contribution
from mien_common.site_keys import public_openssh
from mien_server.folder import ServerFolder, locked_for_up
from mien_server.history.connection import history_url, writer_engine
from mien_server.history.recorder import Keeper
from mien_server.history.revisions import prepare
from mien_server.membership.enrolment import enrol_key, public_key_pem, read_sites
from mien_server.publishing.model_choice import published_model
from mien_server.publishing.releases import promote
from mien_server.runs.journal import Event, Journal
from mien_server.runs.progress import Progress, write_progress
from mien_server.runs.queue import Ticket, write_ticket
from mien_server.runs.settings import checked
from mien_server.server_events import record_event

from ...made_models import publish_model

FINISHED = "2026-11-22-001"
RUNNING = "2026-11-23-001"
SITES = ("lab-1", "lab-2", "lab-3")


@dataclass(frozen=True)
class MadeNode:
    """How a key stands with a SuperLink that there is none of."""

    public_key: bytes
    online: bool
    late: bool
    last_seen: dt.datetime | None


@dataclass(frozen=True)
class MadeHistory:
    """What was made; it looks like a server that runs, with a run that goes on, until :meth:`close`."""

    folder: ServerFolder
    now: dt.datetime
    """The moment that it shows; everything in it was before."""
    journal: Journal
    """Of the run that goes on; write into it, then :meth:`record`."""
    _held: ExitStack

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self) -> None:
        """Take up what is new, as the recorder would."""
        record(self.folder, made_nodes(self.folder, self.now), self.now)


def make_history(folder: ServerFolder, now: dt.datetime | None = None, up: bool = True) -> MadeHistory:
    """Fill ``folder`` and record it.

    Parameters
    ----------
    now : when all of it has just happened.
    up : whether it looks as if a server ran, which keeps a real one from being started.
    """
    now = now or dt.datetime.now(dt.UTC)
    held = ExitStack()
    if up:
        held.enter_context(locked_for_up(folder))
    for name in SITES:
        enrol_key(
            folder, public_openssh(ec.generate_private_key(ec.SECP384R1()).public_key()), name, now, name
        )
    record_event(folder, "server_started", version="0.1.0", how="signal")
    begin = now - dt.timedelta(days=1)
    journal = begin_run(folder, FINISHED, 12, begin)
    for round_ in range(1, 13):
        add_round(folder, journal, round_, 12, begin + dt.timedelta(minutes=round_), publish=True)
    journal.add(event("finished", begin + dt.timedelta(minutes=12, seconds=1), run=FINISHED, rounds=12))
    journal.close()
    for round_, version in ((6, now - dt.timedelta(hours=3)), (12, now - dt.timedelta(hours=2))):
        promote(folder, published_model(folder, f"{FINISHED}/{round_}"), None, version)

    begin = now - dt.timedelta(minutes=5)
    write_ticket(folder, Ticket(run=RUNNING, asked=begin, journal_bytes=0, flower_run=7))
    journal = begin_run(folder, RUNNING, 20, begin)
    held.callback(journal.close)
    for round_ in range(1, 4):
        failed = {"lab-3": "SessionError"} if round_ == 3 else {}
        add_round(folder, journal, round_, 20, begin + dt.timedelta(minutes=round_), failed, publish=True)
    since = now - dt.timedelta(seconds=45)
    asked = {"round": 4, "attempt": 1, "online": SITES, "asked": SITES}
    journal.add(event("round_started", since, rounds=20, **asked))
    progress = {"since": since.isoformat(), "deadline": (since + dt.timedelta(minutes=10)).isoformat()}
    write_progress(
        folder.runs / RUNNING,
        Progress(phase="train", answered=("lab-1", "lab-3"), **asked, **progress),  # type: ignore[arg-type]
    )
    record(folder, made_nodes(folder, now), now)
    return MadeHistory(folder, now, journal, held)


def record(folder: ServerFolder, nodes: Sequence[MadeNode] | None, now: dt.datetime) -> None:
    """One look of a recorder that has just been started."""
    url = history_url(folder)
    engine = writer_engine(url)
    try:
        prepare(engine, url, folder, now)
        Keeper(engine, folder, now).look(nodes, now)
    finally:
        engine.dispose()


def made_nodes(folder: ServerFolder, now: dt.datetime) -> list[MadeNode]:
    """lab-1 and lab-3 online; of lab-2 nothing was heard for 40 s."""
    found = []
    for site in read_sites(folder):
        late = site.name == "lab-2"
        seen = now - dt.timedelta(seconds=40 if late else 3)
        found.append(MadeNode(public_key_pem(site), True, late, seen))
    return found


def begin_run(folder: ServerFolder, run: str, rounds: int, begin: dt.datetime, **settings: Any) -> Journal:
    """A new run's folder, and its journal, which is held like a ServerApp's until it is closed."""
    path = folder.runs / run
    path.mkdir(parents=True)
    found = checked({"rounds": rounds, "quorum": 2, **settings})
    (path / "settings.json").write_text(found.model_dump_json())
    journal = Journal(path)
    journal.add(event("started", begin, run=run, rounds=rounds, rule="fedavg", quorum=2, enrolled=SITES))
    return journal


def add_round(
    folder: ServerFolder,
    journal: Journal,
    round_: int,
    rounds: int,
    time: dt.datetime,
    failed: dict[str, str] | None = None,
    publish: bool = False,
) -> None:
    """A round's events, and its model."""
    run = journal.run.name
    asked = {"round": round_, "rounds": rounds, "attempt": 1, "online": SITES, "asked": SITES}
    journal.add(event("round_started", time - dt.timedelta(seconds=50), **asked))
    journal.add(event("round", time, **round_values(round_, rounds, failed or {})))
    if publish:
        publish_model(
            folder.models,
            round_,
            run=run,
            created=time.isoformat(timespec="milliseconds"),
            sites=tuple(Contribution(site=site, frames=frames_of(site)) for site in SITES),
            ccc={
                target: Agreement(mean_over_recordings=ccc - 0.02, pooled=ccc)
                for target, ccc in agreement(round_).items()
            },
        )


def round_values(
    round_: int, rounds: int, failed: dict[str, str], sites: Sequence[str] = SITES
) -> dict[str, Any]:
    """What a round's event bears, but for its time."""
    answered = [site for site in sites if site not in failed]
    ccc, loss = agreement(round_), 0.95 * math.exp(-round_ / 15)
    return {
        "round": round_,
        "rounds": rounds,
        "attempts": 1,
        "asked": list(sites),
        "sites": {"answered": answered, "failed": failed},
        "evaluated": {"answered": list(sites), "failed": {}},
        "seconds": {
            **{"wait": 0.5, "train": 30.0, "transfer": 9.0, "aggregate": 1.0},
            **{"evaluate": 8.0, "total": 49.0},
        },
        "loss": {"mean": loss, "worst": loss + 0.05, "worst_site": answered[-1], "spread": 0.03},
        "ccc": {
            target: {"pooled": found, "mean_over_recordings": found - 0.02} for target, found in ccc.items()
        },
        "worst_site": {
            target: {"site": sites[-1], "pooled": found - 0.1, "mean_over_recordings": found - 0.12}
            for target, found in ccc.items()
        },
        "spread": {"valence": 0.04, "arousal": 0.05},
        "reports": {
            site: {
                "frames": frames_of(site),
                "loss": loss + place / 100,
                "update_norm": 1.5 / round_ + place / 10,
                "seconds": 25.0 + place,
                "device": "cuda" if place == 0 else "cpu",
                "version": "0.1.0",
                "bytes_up": 151_000,
                "bytes_down": 150_000,
            }
            for place, site in enumerate(answered)
        },
        "site_ccc": {
            site: {target: found - place / 20 for target, found in ccc.items()}
            for place, site in enumerate(sites)
        },
        "bytes_up": 151_000 * len(answered),
        "bytes_down": 150_000 * len(sites),
        "model": f"models/round-{round_:04d}",
    }


def agreement(round_: int) -> dict[str, float]:
    """CCC that rises from round to round."""
    return {"valence": 0.45 - 0.4 / round_, "arousal": 0.6 - 0.5 / round_}


def frames_of(site: str) -> int:
    return 3000 + 500 * (int(site.rpartition("-")[2]) - 1)


def event(kind: str, time: dt.datetime, **values: Any) -> Event:
    """As :func:`mien_server.runs.journal.new_event` makes it, at another time."""
    plain = json.loads(json.dumps(values))
    return {"event": kind, "time": time.astimezone(dt.UTC).isoformat(timespec="milliseconds"), **plain}


def journal_of(folder: ServerFolder, run: str) -> Path:
    return folder.runs / run / "rounds.jsonl"
