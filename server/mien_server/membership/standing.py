"""How every site stands: enrolled, online, invited, revoked; for ``mien server sites`` and others."""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mien_common.errors import FederationError
from mien_server.folder import ServerFolder
from mien_server.health import check_health
from mien_server.membership.enrolment import public_key_pem
from mien_server.membership.roll import read_roll

if TYPE_CHECKING:
    from mien_server.control import NodeStanding

SiteState = Literal["online", "late", "offline", "enrolled", "invited", "invitation expired", "revoked"]


@dataclass(frozen=True)
class SiteStanding:
    """One site, as the operator sees it."""

    name: str
    state: SiteState
    """``late``: counted online, but its heartbeat is overdue. ``enrolled``: it has not joined yet, or no
    server runs that could tell."""
    fingerprint: str | None
    """Of its key; None where it is only invited."""
    key_since: dt.datetime | None
    last_seen: dt.datetime | None
    """Its last sign of life; of one that fell silent up to 20 s later. None where none is known."""
    until: dt.datetime | None = None
    """When its invitation ends."""
    revoked: dt.datetime | None = None


def standings(folder: ServerFolder, now: dt.datetime) -> tuple[list[SiteStanding], bool]:
    """Every site by name, and whether a running server was asked.

    Raises
    ------
    SettingsError
        ``sites.json`` is damaged.
    """
    nodes = nodes_now(folder)
    roll = read_roll(folder)
    found = []
    for site in roll.sites:
        node = (nodes or {}).get(public_key_pem(site)) if site.revoked is None else None
        state: SiteState = "enrolled"
        if site.revoked is not None:
            state = "revoked"
        elif node is not None and node.last_seen is not None:
            state = "late" if node.late else "online" if node.online else "offline"
        found.append(
            SiteStanding(
                *(site.name, state, site.fingerprint, site.key_since, node.last_seen if node else None),
                revoked=site.revoked,
            )
        )
    for invite in roll.invites:
        if invite.used_by is None:
            invited: SiteState = "invited" if invite.holds(now) else "invitation expired"
            found.append(SiteStanding(invite.name, invited, None, None, None, until=invite.expires))
    return sorted(found, key=lambda standing: (standing.name, standing.state == "revoked")), nodes is not None


def nodes_now(folder: ServerFolder) -> "dict[bytes, NodeStanding] | None":
    """What the running SuperLink says of every key; None where none runs."""
    try:
        check_health(folder)
    except FederationError:
        return None
    from mien_server.control import Control  # seconds to load

    with Control(folder) as control:
        return {node.public_key: node for node in control.nodes()}
