"""A run's events in words for the person who watches it."""

import datetime as dt

from mien_server.runs.journal import Event


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
        ccc = "  ".join(f"{target} {number(found['pooled'])}" for target, found in event["ccc"].items())
        sites = event["sites"]
        count = f"{len(sites['answered'])}/{len(sites['answered']) + len(sites['failed'])}"
        missed = sites["failed"] | event["evaluated"]["failed"]
        trouble = "".join(f"\n    {site}: {reason}" for site, reason in missed.items())
        return (
            f"round {event['round']:>3}/{event['rounds']}  {event['seconds']['total']:6.2f} s  sites {count} "
            f" loss {event['loss']['mean']:.3f}  CCC (pooled) {ccc}  up {_bytes(event['bytes_up'])}  "
            f"down {_bytes(event['bytes_down'])}{trouble}"
        )
    if kind == "round_failed":
        reasons = "; ".join(f"{site}: {reason}" for site, reason in event["sites"]["failed"].items())
        return (
            f"round {event['round']} stayed below its quorum of {event['quorum']} "
            f"(attempt {event['attempt']} of {event['attempts']}): {reasons}"
        )
    why = event.get("error") or event.get("reason")
    return f"run {event['run']} {kind}" + (f": {why}" if why else "")


def when(moment: str) -> str:
    """A time of the server's files, on this machine's clock."""
    return f"{dt.datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def number(value: float | None) -> str:
    return "  -  " if value is None or value != value else f"{value:.3f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
