"""The live stream: server-sent events, from one look at the server for everybody who watches.

Enters: news (:mod:`mien_server.web.dashboard.watch`), twice a second while somebody watches. Leaves: to each
the status of the moment at once, then whatever changes. Nothing is kept per listener but how far it is: one
that is slow finds the newest status, and one that missed anything else is sent away, to come back with the id
of the last line of the log that it had.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from itertools import islice
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Send

from mien_common.errors import StorageError
from mien_server.facts import EventFacts
from mien_server.web.dashboard.desk import Desk
from mien_server.web.dashboard.watch import News, Watch, json_of, line_of, what_matters

LOOK_S: Final = 0.5
AT_LEAST_EACH_S: Final = 2.0
"""While a run goes on a status is sent this often, also when nothing changed."""
QUIET_S: Final = 10.0
"""And this often otherwise."""
WELCOME_S: Final = 0.5
"""How soon a stream ends after its session, or with its server."""
COME_BACK_MS: Final = 2000
MOST_NEWS: Final = 2000
"""Kept for those who are slow, and told again to those who come back."""
MOST_LISTENERS: Final = 200
REPLAYED_AT_ONCE: Final = 500

log = logging.getLogger(__name__)


class Stream:
    """Everybody who watches one server; to be used in one event loop.

    Parameters
    ----------
    is_ending : whether this process is about to end, and nobody should be kept.
    """

    def __init__(self, desk: Desk, is_ending: Callable[[], bool] = lambda: False) -> None:
        self._desk, self._is_ending = desk, is_ending
        self._listeners = 0
        self._watching: asyncio.Task[None] | None = None
        self._board = _Board()

    @property
    def is_full(self) -> bool:
        """Whether nobody else can listen."""
        return self._listeners >= MOST_LISTENERS

    async def listen(self, after: int | None, is_welcome: Callable[[], bool]) -> AsyncGenerator[bytes]:
        """What one listener is sent, until its session ends or it has missed something.

        Parameters
        ----------
        after : the last line of the log that it has; None for only those to come.
        """
        self._listeners += 1
        try:
            if self._watching is None or self._watching.done():
                self._board = _Board()
                self._watching = asyncio.create_task(self._watch(self._board))
                self._watching.add_done_callback(_say_why)
            async for piece in self._pieces(self._board, self._watching, after, is_welcome):
                yield piece
        finally:
            self._listeners -= 1
            if not self._listeners and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def _pieces(
        self,
        board: "_Board",
        watching: "asyncio.Task[None]",
        after: int | None,
        is_welcome: Callable[[], bool],
    ) -> AsyncIterator[bytes]:
        had, told, line = board.last, 0, 0
        yield f"retry: {COME_BACK_MS}\n\n".encode()
        if after is not None:
            line = await self._had(after)
            async for event in self._missed(line):
                line = event.id
                yield encoded(line_of(event))
        spoke = time.monotonic()
        while is_welcome() and not watching.done() and not self._is_ending():
            news = board.since(had)
            if news is None:
                return
            pieces = [encoded(each) for each in news if each.id is None or each.id > line]
            had += len(news)
            if board.status_number > told:
                told = board.status_number
                pieces.append(encoded(News("status", board.status)))
            elif not pieces and time.monotonic() - spoke > QUIET_S:
                pieces.append(b": still here\n\n")
            for piece in pieces:
                yield piece
                spoke = time.monotonic()
            await board.wait(WELCOME_S)

    async def _had(self, after: int) -> int:
        """Up to which line of the log the listener needs nothing; what it says may be of another history."""
        try:
            last = await run_in_threadpool(self._desk.history.last_event)
        except StorageError:
            return 0
        return min(max(after, last - MOST_NEWS), last)

    async def _missed(self, after: int) -> AsyncIterator[EventFacts]:
        """Lines of the log since then."""
        events = self._desk.history.events
        try:
            while found := await run_in_threadpool(events, after=after, limit=REPLAYED_AT_ONCE):
                for event in found:
                    after = event.id
                    yield event
        except StorageError as error:  # they are in GET /events, once it answers
            log.warning("event=log_not_replayed reason=%s", error)

    async def _watch(self, board: "_Board") -> None:
        watch, sent, sent_at = Watch(self._desk), "", float("-inf")
        while True:
            news = await run_in_threadpool(watch.look)
            now, status = time.monotonic(), watch.status
            says = what_matters(status) if status is not None else sent
            pause_s = AT_LEAST_EACH_S if status is not None and status.now is not None else QUIET_S
            is_due = status is not None and (says != sent or now - sent_at >= pause_s)
            if is_due:
                sent, sent_at = says, now
            board.put(news, json_of(status) if is_due and status is not None else None)
            await asyncio.sleep(LOOK_S)


def _say_why(watching: "asyncio.Task[None]") -> None:
    """Whoever listens is sent away when it fails, and comes back to a new one."""
    if not watching.cancelled() and (error := watching.exception()) is not None:
        log.error("event=stream_failed", exc_info=error)


class _Board:
    """What was said last; every listener reads it from where it is."""

    def __init__(self) -> None:
        self._news: deque[News] = deque(maxlen=MOST_NEWS)
        self._changed = asyncio.Event()
        self.last = 0
        """How much news there has been."""
        self.status, self.status_number = "", 0

    def put(self, news: list[News], status: str | None) -> None:
        """Say something to everybody."""
        self._news.extend(news)
        self.last += len(news)
        if status is not None:
            self.status, self.status_number = status, self.status_number + 1
        if news or status is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def since(self, had: int) -> list[News] | None:
        """What came after the first ``had``; None where some of it is gone."""
        new = self.last - had
        if new > len(self._news):
            return None
        return list(islice(self._news, len(self._news) - new, None))

    async def wait(self, longest_s: float) -> None:
        """Until there is more, or a while has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._changed.wait()


class EventStream(StreamingResponse):
    """Server-sent events; whatever way it ends, the listener is let go at once."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]  # it is an async generator
            await super().stream_response(send)


def encoded(news: News) -> bytes:
    """As it stands on the wire."""
    id_ = f"id: {news.id}\n" if news.id is not None else ""
    return f"event: {news.event}\n{id_}data: {news.data}\n\n".encode()
