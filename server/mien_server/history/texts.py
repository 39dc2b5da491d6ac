"""What happened, in a line for a person: the text of each event in the log."""

import datetime as dt
from typing import Any

from mien_server.runs.journal import Event

DOORS = {"enrolment": "at the enrolment door", "login": "at the page's login"}
WAYS = {"code": "by a code", "key": "by its public key", "approval": "by a request file"}


def text_of_run(event: Event) -> str:
    """An event of a run's journal."""
    kind = event["event"]
    if kind == "started":
        return f"{event['rounds']} rounds, rule {event['rule']}, quorum {event['quorum']}"
    if kind == "resumed":
        return f"goes on with round {event['round']} of {event['rounds']}"
    if kind == "waiting":
        return _waiting(event)
    if kind == "round":
        return _round(event)
    if kind == "round_failed":
        answered, failed = len(event["sites"]["answered"]), len(event["sites"]["failed"])
        return (
            f"round {event['round']} stayed below its quorum of {event['quorum']}: {answered} of "
            f"{answered + failed} sites answered (attempt {event['attempt']} of {event['attempts']})"
        )
    if kind == "finished":
        return f"all {event['rounds']} rounds are done"
    return str(event.get("error") or event.get("reason") or "")


def text_of_server(event: Event) -> str:
    """An event of the server's own journal."""
    how = event.get("how")
    match event["event"]:
        case "invited":
            return f"{event['site']} was invited"
        case "enrolled":
            return f"{event['site']} was enrolled {WAYS.get(str(how), '')}".strip()
        case "revoked" if how == "invitation":
            return f"the invitation of {event['site']} was withdrawn"
        case "revoked":
            return f"{event['site']} was revoked: it is refused from its next message on"
        case "key_rotated":
            return f"{event['site']} has a new key"
        case "refused":
            tries = event.get("count", 1)
            times = "a try was refused" if tries == 1 else f"{tries} tries were refused"
            return f"{times} {DOORS.get(str(how), '')}".strip()
        case "promoted":
            return f"release {event['version']} was made of {event['run']}, round {event['round']}"
        case "rolled_back":
            return f"release {event['version']} is the latest again"
        case "release_key_rotated":
            return "releases are signed with a new key"
        case "server_started":
            crash = " after a crash" if how == "crash" else ""
            return f"the server came up{crash} (mien {event['version']})"
        case "server_stopped":
            return f"the server went down (mien {event['version']})"
    others = {name: value for name, value in event.items() if name not in ("event", "time")}
    return ", ".join(f"{name} {value}" for name, value in others.items())


def text_of_presence(kind: str, site: str, last_seen: dt.datetime | None) -> str:
    """A change of a site's presence."""
    seen = "" if last_seen is None else f"; last seen at {last_seen.astimezone(dt.UTC):%H:%M:%S} UTC"
    if kind == "joined":
        return f"{site} is online"
    if kind == "late":
        return f"{site} is late with its sign of life{seen}"
    return f"{site} is offline{seen}"


def text_of_queue(not_before: dt.datetime | None, behind: tuple[str, ...]) -> str:
    """A run that was put into the queue."""
    start = f", starts at {not_before.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC" if not_before else ""
    return "in the queue" + start + (f", waits for {', '.join(behind)}" if behind else "")


def text_of_drop(site: str, round_: int, reason: str, to_train: bool) -> str:
    """A site that did not do its part of a round."""
    what = "did not train" if to_train else "was not evaluated"
    return f"{site} {what} in round {round_}: {reason}"


def _waiting(event: Event) -> str:
    online = event["online"]
    if event.get("missing") and len(online) >= event["quorum"]:
        return f"waits for {', '.join(event['missing'])}, there before the run was interrupted"
    return f"waits for {event['quorum']} sites; online: {', '.join(online) or 'none'}"


def _round(event: Event) -> str:
    sites = event["sites"]
    answered = len(sites["answered"])
    ccc = ", ".join(f"{target} CCC {_number(found['pooled'])}" for target, found in event["ccc"].items())
    return (
        f"round {event['round']} of {event['rounds']}: {answered} of {answered + len(sites['failed'])} "
        f"sites, loss {_number(event['loss']['mean'])}" + (f", {ccc}" if ccc else "")
    )


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "unknown"
