"""A run's events in words for the person who watches it."""

import datetime as dt
from typing import Final

from mien_server.runs.journal import Event

PARTS: Final = ("wait", "train", "transfer", "aggregate", "evaluate")
"""Of a round's time."""
WIDTH: Final = 116
"""Of a round's line; where its time went is left out of a longer one."""


def line_of(event: Event) -> str:
    """One event for a person; empty for those that only machines want."""
    kind = event["event"]
    if kind == "started":
        enrolled = ", ".join(event["enrolled"])
        return f"run {event['run']}: {event['rounds']} rounds, rule {event['rule']}, enrolled: {enrolled}"
    if kind == "resumed":
        return f"run {event['run']} goes on with round {event['round']} of {event['rounds']}"
    if kind == "queued":
        behind = f"waits for {', '.join(event['behind'])}" if event["behind"] else ""
        start = f"starts at {when(event['not_before'])}" if event["not_before"] else ""
        return f"run {event['run']} " + " and ".join(filter(None, (start, behind)))
    if kind == "round_started":
        return ""
    if kind == "waiting" and event.get("missing") and len(event["online"]) >= event["quorum"]:
        missing = ", ".join(event["missing"])
        return f"waiting for {missing}, there before the run was interrupted"
    if kind == "waiting":
        return f"waiting for {event['quorum']} sites; online: {', '.join(event['online']) or 'none'}"
    if kind == "round":
        return _round(event)
    if kind == "round_failed":
        reasons = "; ".join(f"{site}: {reason}" for site, reason in event["sites"]["failed"].items())
        return (
            f"round {event['round']} stayed below its quorum of {event['quorum']} "
            f"(attempt {event['attempt']} of {event['attempts']}): {reasons}"
        )
    why = event.get("error") or event.get("reason")
    return f"run {event['run']} {kind}" + (f": {why}" if why else "")


def time_shares(events: list[Event]) -> str:
    """Where the time of some rounds went, the longest first; empty where an older version did not tell."""
    parts: dict[str, float] = {}
    for event in events:
        if event["event"] == "round" and "transfer" in event["seconds"]:
            for part in PARTS:
                parts[part] = parts.get(part, 0.0) + (event["seconds"][part] or 0.0)
    whole = sum(parts.values())
    shares = {part: round(100 * seconds / whole) for part, seconds in parts.items()} if whole else {}
    order = sorted((part for part, share in shares.items() if share), key=lambda part: -parts[part])
    return ", ".join(f"{shares[part]}% {part}" for part in order)


def when(moment: str) -> str:
    """A time of the server's files, on this machine's clock."""
    return f"{dt.datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def number(value: float | None) -> str:
    return "  -  " if value is None or value != value else f"{value:.3f}"


def _round(event: Event) -> str:
    sites, rounds, loss = event["sites"], event["rounds"], event["loss"]["mean"]
    count = f"{len(sites['answered'])}/{len(sites['answered']) + len(sites['failed'])}"
    ccc = " ".join(f"{target} {number(found['pooled'])}" for target, found in event["ccc"].items())
    begin = f"round {event['round']:>{len(str(rounds))}}/{rounds}  {_seconds(event['seconds']['total'])}"
    longest = time_shares([event]).partition(",")[0]
    rest = (
        f"  {count} sites  loss {number(loss)}  pooled CCC {ccc}  "
        f"up/down {_bytes(event['bytes_up'], event['bytes_down'])}"
    )
    line = f"{begin}, {longest}{rest}"
    missed = sites["failed"] | event["evaluated"]["failed"]
    trouble = "".join(f"\n    {site}: {reason}" for site, reason in missed.items())
    return (line if longest and len(line) <= WIDTH else f"{begin}{rest}") + trouble


def _seconds(value: float) -> str:
    return f"{value:5.2f} s" if value < 10 else f"{value:5.1f} s"


def _bytes(up: int, down: int) -> str:
    unit, name = (1e6, "MB") if max(up, down) >= 1e6 else (1e3, "kB")
    digits = 1 if max(up, down) < 10 * unit else 0
    return f"{up / unit:.{digits}f}/{down / unit:.{digits}f} {name}"
