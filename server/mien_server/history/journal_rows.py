"""From the lines of journals to rows of the history: pure, one event at a time.

Enters: an event of a run's journal or of the server's. Leaves: values for the tables. What a journal of an
older version lacks is None; what is no number, or no finite one, too.
"""

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mien_common.errors import InputError
from mien_server.history.kinds import KINDS
from mien_server.history.texts import text_of_drop, text_of_run, text_of_server
from mien_server.runs.journal import Event

Row = dict[str, Any]

TEXT_LIMIT: Final = 2000
NAME_LIMIT: Final = 64
_BIGGEST: Final = 2**53
"""Of counts: beyond it JSON's readers are not exact any more."""
_BIGGEST_SMALL: Final = 2**31 - 1
"""Of the numbers of rounds."""
TARGETS: Final = ("valence", "arousal")
SECONDS: Final = ("wait", "train", "transfer", "aggregate", "evaluate", "total")


@dataclass(frozen=True)
class SiteNews:
    """What a round says of a site that it asked."""

    time: dt.datetime
    error: str
    round: int | None
    """None of a round that failed: it is no round of the run."""
    told: dict[str, str | None] = field(default_factory=dict)
    """Its device and version; None where it did not answer."""


@dataclass(frozen=True)
class Rows:
    """What becomes of one line."""

    round: Row | None = None
    site_rounds: tuple[Row, ...] = ()
    events: tuple[Row, ...] = ()
    sites: dict[str, SiteNews] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSoFar:
    """A run, as far as its journal was read."""

    rounds_done: int = 0
    started: dt.datetime | None = None
    resumed: int = 0
    tries: int = 0
    """Attempts at the next round that stayed below the quorum."""
    valence_ccc: float | None = None
    arousal_ccc: float | None = None
    last: str = ""
    """The kind of the last event."""
    last_at: int = -1
    """The byte of the journal that it begins at."""
    last_time: dt.datetime | None = None
    last_reason: str = ""

    def after(self, event: Event, at: int) -> "RunSoFar":
        """With one more event, which begins at the byte ``at``."""
        kind, time = event["event"], moment(event["time"])
        changed = replace(
            self,
            last=kind,
            last_at=at,
            last_time=time,
            last_reason=text(event.get("error") or event.get("reason") or ""),
        )
        match kind:
            case "started":
                return replace(changed, started=self.started or time)
            case "resumed":
                return replace(changed, resumed=self.resumed + 1)
            case "round_failed":
                return replace(changed, tries=self.tries + 1)
            case "round":
                ccc = {f"{target}_ccc": _agreement(event, target, "pooled") for target in TARGETS}
                done = max(self.rounds_done, int(event["round"]))
                return replace(changed, rounds_done=done, tries=0, **ccc)  # type: ignore[arg-type]
        return changed


def parsed(line: bytes) -> Event:
    """The event in a line.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        event = json.loads(line)
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise ValueError("no event")
        moment(event["time"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("it is no event") from error
    return event


def run_rows(run: str, event: Event, so_far: RunSoFar, source: str) -> Rows:
    """Of an event of the run's journal; ``so_far`` is the run before it.

    Raises
    ------
    InputError
        A part of the event is missing, or is not what it should be.
    """
    try:
        return _run_rows(run, event, so_far, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the event {event['event']!r} lacks a part ({error})") from error


def server_event(event: Event, source: str) -> Row:
    """Of an event of the server's own journal; raises InputError likewise."""
    try:
        return _event(event, source, text_of_server(event), run=event.get("run"), site=event.get("site"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the event {event['event']!r} lacks a part ({error})") from error


def unreadable(source: str, at: int, run: str | None, now: dt.datetime, reason: str) -> Row:
    """An event in the place of a line that cannot be read."""
    said = f"the journal {source} is damaged at byte {at}: {reason}; the line was skipped"
    return {
        **{"time": now, "kind": "unreadable", "run": run, "round": None, "site": None},
        **{"text": text(said), "source": source},
    }


def moment(value: Any) -> dt.datetime:
    """A time as journals write it; ValueError or TypeError where it is none."""
    found = dt.datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(dt.UTC)


def number(value: Any) -> float | None:
    """A finite number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> int | None:
    """A whole number that a database can keep; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _BIGGEST:
        return None
    return value


def text(value: Any, limit: int = TEXT_LIMIT) -> str:
    """What a database can keep of a text."""
    whole = str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def _run_rows(run: str, event: Event, so_far: RunSoFar, source: str) -> Rows:
    kind = event["event"]
    if kind not in KINDS:
        return Rows()
    events = [_event(event, source, text_of_run(event), run=run)]
    if kind == "round":
        time, round_ = moment(event["time"]), _round_number(event)
        site_rounds = _site_rounds(run, event)
        for row in site_rounds:
            to_train, reason = bool(row["error"]), row["error"] or row["evaluation_error"]
            if reason:
                said = text_of_drop(row["site"], round_, reason, to_train)
                events.append(_event(event, source, said, run=run, site=row["site"], kind="dropped"))
        news = {
            row["site"]: SiteNews(
                time,
                row["error"] or row["evaluation_error"],
                round_,
                {"device": row["device"], "version": row["version"]},
            )
            for row in site_rounds
        }
        return Rows(_round(run, event, so_far, site_rounds), tuple(site_rounds), tuple(events), news)
    if kind == "round_failed":
        time, failed = moment(event["time"]), _reasons(event["sites"]["failed"])
        for site, reason in failed.items():
            said = text_of_drop(site, _round_number(event), reason, True)
            events.append(_event(event, source, said, run=run, site=site, kind="dropped"))
        return Rows(
            events=tuple(events), sites={site: SiteNews(time, why, None) for site, why in failed.items()}
        )
    return Rows(events=tuple(events))


def _round(run: str, event: Event, so_far: RunSoFar, site_rounds: list[Row]) -> Row:
    loss, seconds = event["loss"], event["seconds"]
    frames = [row["frames"] for row in site_rounds if row["frames"] is not None]
    row: Row = {
        "run": run,
        "round": _round_number(event),
        "time": moment(event["time"]),
        "attempts": _small(event.get("attempts")) or so_far.tries + 1,
        "sites_asked": sum(row["asked"] for row in site_rounds),
        "sites_answered": sum(row["answered"] for row in site_rounds),
        "frames": count(sum(frames)) if frames else None,
        "loss_mean": number(loss.get("mean")),
        "loss_worst": number(loss.get("worst")),
        "loss_worst_site": _name(loss.get("worst_site")),
        "loss_spread": number(loss.get("spread")),
        "bytes_up": count(event["bytes_up"]) or 0,
        "bytes_down": count(event["bytes_down"]) or 0,
        "epsilon": number(event.get("epsilon")),
        **{f"{name}_s": number(seconds.get(name)) for name in SECONDS},
    }
    for target in TARGETS:
        worst = (event.get("worst_site") or {}).get(target) or {}
        row |= {
            f"{target}_pooled": _agreement(event, target, "pooled"),
            f"{target}_mean": _agreement(event, target, "mean_over_recordings"),
            f"{target}_worst": number(worst.get("pooled")),
            f"{target}_worst_site": _name(worst.get("site")),
            f"{target}_spread": number((event.get("spread") or {}).get(target)),
        }
    return row


def _site_rounds(run: str, event: Event) -> list[Row]:
    """A row for every site that was asked to train or to evaluate."""
    answered, failed = set(event["sites"]["answered"]), _reasons(event["sites"]["failed"])
    not_evaluated = _reasons(event["evaluated"]["failed"])
    asked = set(event.get("asked") or ()) | answered | set(failed)
    reports, ccc = event.get("reports") or {}, event.get("site_ccc") or {}
    rows = []
    for site in sorted(asked | set(event["evaluated"]["answered"]) | set(not_evaluated)):
        report = reports.get(site) or {}
        own_ccc = ccc.get(site) or {}
        rows.append(
            {
                "run": run,
                "round": _round_number(event),
                "site": _name(site) or "",
                "asked": site in asked,
                "answered": site in answered,
                "error": failed.get(site, ""),
                "evaluation_error": not_evaluated.get(site, ""),
                "frames": count(report.get("frames")),
                "device": _words(report.get("device"), NAME_LIMIT),
                "version": _words(report.get("version"), 32),
                "bytes_up": count(report.get("bytes_up")),
                "bytes_down": count(report.get("bytes_down")),
                **{name: number(report.get(name)) for name in ("loss", "update_norm", "seconds")},
                **{f"{target}_ccc": number(own_ccc.get(target)) for target in TARGETS},
            }
        )
    return rows


def _event(
    event: Event,
    source: str,
    said: str,
    run: Any = None,
    site: Any = None,
    kind: str | None = None,
) -> Row:
    return {
        "time": moment(event["time"]),
        "kind": text(kind or event["event"], 32),
        "run": _name(run),
        "round": _small(event.get("round")),
        "site": _name(site),
        "text": text(said),
        "source": source,
    }


def _round_number(event: Event) -> int:
    number_ = _small(event["round"])
    if not number_:
        raise ValueError(f"{event['round']!r} is no round")
    return number_


def _small(value: Any) -> int | None:
    found = count(value)
    return found if found is not None and found <= _BIGGEST_SMALL else None


def _agreement(event: Event, target: str, rule: str) -> float | None:
    return number((event["ccc"].get(target) or {}).get(rule))


def _reasons(failed: Mapping[str, Any]) -> dict[str, str]:
    return {site: text(reason) for site, reason in failed.items()}


def _name(value: Any) -> str | None:
    return _words(value, NAME_LIMIT)


def _words(value: Any, limit: int) -> str | None:
    return None if value is None else text(value, limit)
