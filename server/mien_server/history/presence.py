"""Who is there: the sites' rows, and the events ``joined``, ``late`` and ``left``.

Enters: the roll, and what the SuperLink says of every key. Leaves: rows, and an event a change. A SuperLink
that is away says nothing, so every site stays as it was; when it is back, sites have a while to come back.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sqlalchemy import Connection, Engine, delete, insert, select, update

from mien_server.facts import SitePresence
from mien_server.history.site_rows import unknown
from mien_server.history.tables import EventRow, ServerRow, SiteRow
from mien_server.history.texts import text_of_presence
from mien_server.membership.enrolment import public_key_pem
from mien_server.membership.roll import Roll

GRACE: Final = dt.timedelta(seconds=60)
"""How long sites may take to come back to a SuperLink, or a server, that was away: a call may last 30 s, and
an agent waits 10 s before the next."""
GIVEN_UP: Final = dt.timedelta(seconds=60)
"""After so long a silence, at most, a site counts as offline: Flower's own SuperNode; ours after a third."""
SOURCE: Final = "presence"
THERE: Final = ("online", "late")


class Node(Protocol):
    """How a key stands: the part of :class:`~mien_server.control.NodeStanding` that this needs."""

    @property
    def public_key(self) -> bytes:
        """PEM."""
        ...

    @property
    def online(self) -> bool: ...

    @property
    def late(self) -> bool:
        """A sign of life is overdue."""
        ...

    @property
    def last_seen(self) -> dt.datetime | None: ...


@dataclass(frozen=True)
class Standing:
    """A site as its row has it."""

    presence: SitePresence
    last_seen: dt.datetime | None = None
    fingerprint: str | None = None


class Presence:
    """Writes how the sites stand; one per recorder.

    Parameters
    ----------
    engine : of the writer, to a database that was prepared.
    """

    def __init__(self, engine: Engine, now: dt.datetime) -> None:
        self._engine = engine
        with engine.begin() as connection:
            seen = connection.execute(select(ServerRow.seen)).scalar() or now
            if now - seen > GRACE:  # a server that was down for long: its log says so, and who comes joins
                there = SiteRow.presence.in_(THERE)
                connection.execute(update(SiteRow).where(there).values(presence="offline"))
            columns = (SiteRow.name, SiteRow.presence, SiteRow.last_seen, SiteRow.fingerprint)
            self._known = {
                row.name: Standing(row.presence, row.last_seen, row.fingerprint)
                for row in connection.execute(select(*columns))
            }
        self._returning: set[str] = set()
        """Who was there when the SuperLink went away, and was not heard of since."""
        self._since = now
        self._await_returns(now)

    def take(self, roll: Roll, nodes: Sequence[Node] | None, now: dt.datetime) -> None:
        """Keep how all sites stand now.

        Parameters
        ----------
        nodes : None while the SuperLink does not answer.
        """
        if nodes is None:
            self._await_returns(now)
        elif now >= self._since + GRACE:
            self._returning.clear()
        found = standings(roll, nodes, self._known, self._returning, now)
        with self._engine.begin() as connection:
            for name in sorted(found.keys() | self._known.keys()):
                self._write(connection, name, self._known.get(name), found.get(name), now)
            connection.execute(update(ServerRow).values(seen=now))
        self._known = found
        self._returning -= {
            name
            for name, site in found.items()
            if site.last_seen is not None and site.last_seen > self._since
        }

    def _await_returns(self, now: dt.datetime) -> None:
        self._returning = {name for name, site in self._known.items() if site.presence in THERE}
        self._since = now

    def _write(
        self,
        connection: Connection,
        name: str,
        before: Standing | None,
        standing: Standing | None,
        now: dt.datetime,
    ) -> None:
        if standing == before:
            return
        this = SiteRow.name == name
        if standing is None:
            connection.execute(delete(SiteRow).where(this))
            return
        values = {
            "presence": standing.presence,
            "last_seen": standing.last_seen,
            "fingerprint": standing.fingerprint,
        }
        if before is None and connection.execute(select(SiteRow.name).where(this)).first() is None:
            connection.execute(insert(SiteRow), {**unknown(name), **values})
        else:
            connection.execute(update(SiteRow).where(this).values(**values))
        for kind in kinds_of_change("never seen" if before is None else before.presence, standing.presence):
            said = text_of_presence(kind, name, standing.last_seen)
            row = {"time": now, "kind": kind, "run": None, "round": None, "site": name}
            connection.execute(insert(EventRow), {**row, "text": said, "source": SOURCE})


def standings(
    roll: Roll,
    nodes: Sequence[Node] | None,
    known: Mapping[str, Standing],
    returning: Collection[str],
    now: dt.datetime,
) -> dict[str, Standing]:
    """How every site stands.

    Parameters
    ----------
    nodes : None while the SuperLink does not answer; then sites stay as they are ``known``.
    returning : who may still be on the way back, and counts as there until then.
    """
    found: dict[str, Standing] = {}
    for name, was in known.items():  # in the history and not in the roll: sites.json was replaced
        if was.presence != "invited":
            found[name] = replace(was, presence="revoked" if was.presence == "revoked" else "offline")
    for invite in roll.invites:
        if invite.used_by is None and invite.holds(now):
            found[invite.name] = Standing("invited")
    by_key = {node.public_key: node for node in nodes or ()}
    for site in sorted(roll.sites, key=lambda site: site.revoked is None):  # who is enrolled counts: last
        was_there = known.get(site.name, Standing("never seen"))
        if site.revoked is not None:
            if site.name not in found or found[site.name].presence != "invited":
                found[site.name] = Standing("revoked", was_there.last_seen, site.fingerprint)
            continue
        node = by_key.get(public_key_pem(site))
        found[site.name] = _standing(was_there, node, site.fingerprint, site.name in returning)
    return found


def kinds_of_change(before: SitePresence, after: SitePresence) -> list[str]:
    """The events that tell of it."""
    kinds = []
    if after in THERE and before not in THERE:
        kinds.append("joined")
    if after == "late" and before != "late":
        kinds.append("late")
    if after == "offline" and before in THERE:
        kinds.append("left")
    return kinds


def _standing(was: Standing, node: Node | None, fingerprint: str, returns: bool) -> Standing:
    stays: SitePresence = "never seen" if was.presence in ("invited", "revoked") else was.presence
    if node is None or (returns and was.presence in THERE and not node.online):
        return Standing(stays, was.last_seen, fingerprint)
    if node.online:
        return Standing("late" if node.late else "online", node.last_seen, fingerprint)
    presence: SitePresence = "never seen" if node.last_seen is None else "offline"
    return Standing(presence, _last_seen(was, node.last_seen), fingerprint)


def _last_seen(was: Standing, gone: dt.datetime | None) -> dt.datetime | None:
    """Of a site that is offline: Flower keeps when it gave a silent one up, we when it was last heard."""
    if was.presence not in ("late", "offline") or was.last_seen is None or gone is None:
        return gone
    return was.last_seen if dt.timedelta(0) <= gone - was.last_seen <= GIVEN_UP else gone
