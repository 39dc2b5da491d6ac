"""One exchange: the same question to several sites, their answers until all are in or time is up.

Built on Flower's public Grid (``push_messages``, ``pull_messages``, ``get_node_ids``), with a deadline
and a quorum of our own: a site that died, or never answers, does not hold up the others.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from mien_common.errors import FederationError
from mien_server.control import PushInterruptedError
from mien_server.runs.clock import Clock
from mien_server.runs.site_words import printable

POLL_FIRST_S: Final = 0.05
POLL_LAST_S: Final = 0.25
"""Short at first, so that a fast round is not held up; slower later, so that a long one costs little."""
POLL_GROWTH: Final = 1.1
PRESENCE_POLL_S: Final = 1.0
PUSH_ATTEMPTS: Final = 5
PUSH_PAUSE_S: Final = 2.0
GRACE_S: Final = 30.0
"""How long beyond the deadline a message lives in the SuperLink. Ours must come first: a message that has
expired is answered by the SuperLink with an error of its own."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """What came of an exchange."""

    contents: dict[str, RecordDict]
    """By site, in the order of their names."""
    failed: dict[str, str]
    """Why a site has no answer, by site."""


def exchange(
    grid: Grid,
    sites: Mapping[int, str],
    content: RecordDict,
    kind: str,
    group: str,
    deadline_s: float,
    quorum: int,
    clock: Clock = time,
    superlink: Callable[[], object] = lambda: None,
    watch: Callable[[Iterable[str], Mapping[str, str]], None] = lambda _answered, _failed: None,
) -> Answers:
    """Send ``content`` to every one of ``sites`` and gather their answers.

    Parameters
    ----------
    sites : name by node id.
    kind : Flower's message type, ``train`` or ``evaluate``.
    group : Flower's group id; the round.
    deadline_s : the longest to wait, seconds.
    quorum : once so many have answered, sites that went offline are no longer waited for.
    superlink : tells one SuperLink process from the next. One that dies may take along what it was just
        handing over, so those who have not answered are asked again; of two answers the first counts.
    watch : is told at every look, several times a second, who has answered and who has failed so far.

    Returns
    -------
    Answers of this exchange only: a late answer to an earlier one bears another message's id.
    """
    end = clock.monotonic() + deadline_s
    order = sorted(sites, key=lambda node: sites[node])

    waiting: dict[str, int] = {}
    found: dict[str, RecordDict] = {}
    failed: dict[str, str] = {}

    def ask(nodes: list[int]) -> None:
        def write() -> list[Message]:
            left_s = max(end - clock.monotonic(), 0.0)
            return [Message(content, node, kind, ttl=left_s + GRACE_S, group_id=group) for node in nodes]

        for node, message_id in zip(nodes, _push(grid, write, clock), strict=True):
            if message_id:
                waiting[message_id] = node
            else:
                failed[sites[node]] = "the server could not queue a message for it"

    asked_through = superlink()
    ask(order)
    pause_s, next_presence = POLL_FIRST_S, clock.monotonic() + PRESENCE_POLL_S
    while waiting:
        # Before pulling: a reply that was slow to arrive must not cost the others their last chance.
        is_over = clock.monotonic() >= end
        for reply in grid.pull_messages(list(waiting)):
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            again = [message_id for message_id, other in waiting.items() if other == node]
            if node is None or (again and reply.has_error()):
                continue  # not asked here, or asked again since: that answer counts
            for message_id in again:
                del waiting[message_id]
            _take(reply, node, sites[node], found, failed)
        now = clock.monotonic()
        if not waiting:
            break
        if is_over:
            failed |= {sites[node]: f"no answer within {deadline_s:g} s" for node in waiting.values()}
            break
        if len(found) >= quorum and now >= next_presence:
            online = set(grid.get_node_ids())
            for message_id, node in list(waiting.items()):
                if node not in online:
                    del waiting[message_id]
                    failed[sites[node]] = "it went offline"
            next_presence = now + PRESENCE_POLL_S
        if superlink() != asked_through:
            asked_through = superlink()
            log.warning("event=asked_again reason=another_superlink round=%s", group)
            ask(sorted(set(waiting.values()), key=lambda node: sites[node]))
        watch(found, failed)
        clock.sleep(min(pause_s, max(end - now, 0.0)))
        pause_s = min(pause_s * POLL_GROWTH, POLL_LAST_S)
    return Answers({site: found[site] for site in sorted(found)}, dict(sorted(failed.items())))


def wait_for_sites(
    grid: Grid,
    enrolled: Mapping[int, str],
    quorum: int,
    wait_s: float,
    waiting: Callable[[list[str]], None],
    clock: Clock = time,
    expected: frozenset[str] = frozenset(),
) -> dict[int, str]:
    """Enrolled sites that are online, as soon as they are ``quorum`` and the ``expected`` are among them.

    Those who are there, however few, when ``wait_s`` is over. ``waiting`` is told who is there at every look
    while it waits.
    """
    end = clock.monotonic() + wait_s
    while True:
        online = {node: enrolled[node] for node in grid.get_node_ids() if node in enrolled}
        names = sorted(online.values())
        if (len(online) >= quorum and expected <= set(names)) or clock.monotonic() >= end:
            return online
        waiting(names)
        clock.sleep(POLL_LAST_S)


def _push(grid: Grid, write: Callable[[], list[Message]], clock: Clock) -> list[str]:
    """Hand messages to the SuperLink; their ids.

    A SuperLink that is started again in the middle of an upload has forgotten its beginning. Then all
    are written anew; a site that had got its message already answers both, and one answer is ignored.

    Raises
    ------
    FederationError
        It could not be done in several tries.
    """
    for attempt in range(1, PUSH_ATTEMPTS + 1):
        try:
            return list(grid.push_messages(write()))
        except PushInterruptedError as error:
            log.warning("event=push_interrupted attempt=%d reason=%s", attempt, error)
            reason = error
            clock.sleep(PUSH_PAUSE_S)
    raise FederationError(
        f"the SuperLink did not take a round's messages in {PUSH_ATTEMPTS} tries: {reason}"
    ) from reason


def _take(reply: Message, node: int, site: str, found: dict[str, RecordDict], failed: dict[str, str]) -> None:
    if reply.has_error():
        failed[site] = printable(reply.error.reason or f"Flower's error {reply.error.code}")
    elif reply.metadata.src_node_id != node:
        failed[site] = f"another node ({reply.metadata.src_node_id}) answered for it"
    else:
        found[site] = reply.content
