"""The live stream: what happens arrives, once, also after a break, for as long as one may listen."""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from mien_server.folder import ServerFolder
from mien_server.history.connection import history_url
from mien_server.history.reader import History
from mien_server.publishing.catalogue import Catalogue
from mien_server.server_events import record_event
from mien_server.web.dashboard import process as process_module
from mien_server.web.dashboard import stream as stream_module
from mien_server.web.dashboard.desk import Desk
from mien_server.web.dashboard.login import Gate
from mien_server.web.dashboard.moment import Moment
from mien_server.web.dashboard.sessions import Sessions
from mien_server.web.dashboard.stream import Stream
from mien_server.web.dashboard.tokens import Tokens, new_token
from mien_server.web.dashboard.watch import Watch

from ...history.made_history import RUNNING, MadeHistory, add_round, make_history
from .listening import listening

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other sooner, so that tests do."""
    monkeypatch.setattr(stream_module, "LOOK_S", 0.05)
    monkeypatch.setattr(stream_module, "WELCOME_S", 0.1)
    monkeypatch.setattr("mien_server.web.dashboard.moment.AGAIN_S", 0.2)


@pytest.fixture
def made(folder: ServerFolder) -> Iterator[MadeHistory]:
    """With the time of day: a status says how long ago things were."""
    with make_history(folder) as made:
        yield made


@dataclass
class Told:
    """One message of a stream."""

    event: str = ""
    data: str = ""
    id: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class Listener:
    """Reads a stream as browsers do (WHATWG HTML, 9.2.6)."""

    _buffer: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _now: Told = field(default_factory=Told)

    def read(self, text: str) -> Iterator[Told]:
        self._buffer += text
        *lines, self._buffer = self._buffer.split("\n")
        for line in lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if self._now.data:
                    yield self._now
                self._now = Told()
            elif not name:
                self.comments += 1
            elif name == "retry":
                self.retry_ms = int(value)
            elif name in ("event", "data", "id"):
                setattr(self._now, name, value)


def rounds_on(made: MadeHistory, round_: int) -> None:
    """The run does another round, and the recorder takes it up."""
    add_round(made.folder, made.journal, round_, 20, dt.datetime.now(dt.UTC), publish=True)
    made.record()


def messages(port: int, token: str, path: str = "/api/v1/stream", **headers: str) -> Iterator[Told]:
    """Everything that the stream says, until it ends."""
    listener = Listener()
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client,
        client.stream("GET", path, headers={"Authorization": f"Bearer {token}", **headers}) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        for text in answer.iter_text():
            yield from listener.read(text)
            assert listener.retry_ms == 2000


def until(told: Iterator[Told], event: str) -> Told:
    """The next message called ``event``."""
    end = time.monotonic() + PATIENCE_S
    for each in told:
        if each.event == event:
            return each
        assert time.monotonic() < end
    raise AssertionError(f"the stream ended without {event}")


def test_the_status_at_once_then_whatever_happens(made: MadeHistory) -> None:
    token = new_token(made.folder, "viewer", made.now)
    with listening(made.folder) as port:
        told = messages(port, token)
        first = next(told)
        assert first.event == "status"
        assert first.json["run"]["run"] == RUNNING
        assert first.json["now"]["round"] == 4
        rounds_on(made, 4)
        seen: dict[str, Any] = {}
        while (
            not {"round", "log", "models", "status"} <= set(seen) or seen["status"]["run"]["rounds_done"] < 4
        ):
            message = next(told)
            seen[message.event] = message.json
            if message.event == "log":
                assert int(message.id) == message.json["id"]
        assert seen["round"]["round"] == 4
        assert seen["round"]["run"] == RUNNING
        assert seen["models"] == {}
        told.close()  # type: ignore[attr-defined]


def test_who_comes_back_gets_every_line_of_the_log_once(made: MadeHistory) -> None:
    token = new_token(made.folder, "viewer", made.now)
    with listening(made.folder) as port:
        told = messages(port, token)
        next(told)
        record_event(made.folder, "invited", site="lab-4")
        made.record()
        had = int(until(told, "log").id)
        told.close()  # type: ignore[attr-defined]  # a break
        for name in ("lab-5", "lab-6"):
            record_event(made.folder, "invited", site=name)
        made.record()
        for headers, path in (
            ({"Last-Event-ID": str(had)}, "/api/v1/stream"),
            ({}, f"/api/v1/stream?after={had}"),
        ):
            again = messages(port, token, path, **headers)
            missed = [until(again, "log") for _ in range(2)]
            assert [int(each.id) for each in missed] == [had + 1, had + 2]
            assert "lab-5" in missed[0].json["text"]
            again.close()  # type: ignore[attr-defined]
        # Of a log that is not ours, or rubbish, nothing is believed.
        for strange in (str(10**9), "rubbish", "-1", "9" * 20):
            again = messages(port, token, **{"Last-Event-ID": strange})
            assert next(again).event == "status"
            record_event(made.folder, "invited", site="lab-7")
            made.record()
            assert "lab-7" in until(again, "log").json["text"]
            again.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["logout", "another token"])
def test_a_stream_ends_with_its_session(made: MadeHistory, how: str) -> None:
    token = new_token(made.folder, "viewer", made.now)
    with (
        listening(made.folder) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as page,
    ):
        assert page.post("/api/v1/login", json={"token": token}).status_code == 200
        with page.stream("GET", "/api/v1/stream") as answer:
            pieces = answer.iter_text()
            next(pieces)
            if how == "logout":
                assert page.post("/api/v1/logout").status_code == 204
            else:
                new_token(made.folder, "viewer", made.now)
            began = time.monotonic()
            assert "".join(pieces) is not None
            assert time.monotonic() - began < 10, "it ended"


def desk_of(made: MadeHistory) -> Desk:
    tokens = Tokens(made.folder)
    history, catalogue = History(history_url(made.folder)), Catalogue(made.folder)
    gate = Gate(tokens, Sessions(made.folder, tokens, lambda: made.now), lambda: None)
    return Desk(
        made.folder, history, catalogue, Moment(made.folder, history, catalogue), gate, lambda: made.now
    )


def test_a_hundred_listeners_cost_one_look(made: MadeHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    look = Watch.look

    def counted(watch: Watch) -> Any:
        looks.append(1)
        return look(watch)

    monkeypatch.setattr(Watch, "look", counted)

    async def watched() -> list[int]:
        stream = Stream(desk_of(made))
        counts = [0] * 100

        async def one(place: int) -> None:
            async with aclosing(stream.listen(None, lambda: True)) as pieces:
                async for piece in pieces:
                    counts[place] += piece.startswith(b"event: status")
                    if piece.startswith(b"event: round"):
                        return

        tasks = [asyncio.create_task(one(place)) for place in range(100)]
        while not all(counts):
            await asyncio.sleep(0.01)
        before = len(looks)
        began = time.monotonic()
        await asyncio.sleep(0.5)
        assert len(looks) - before <= (time.monotonic() - began) / 0.05 + 1
        await asyncio.to_thread(rounds_on, made, 4)
        await asyncio.gather(*tasks)
        after = len(looks)
        await asyncio.sleep(0.3)
        assert len(looks) - after <= 1, "nobody watches, nobody looks"
        return counts

    assert all(asyncio.run(watched()))


def test_who_is_slow_is_sent_away_and_holds_nobody_up(
    made: MadeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "MOST_NEWS", 5)

    async def watched() -> tuple[list[bytes], int]:
        stream = Stream(desk_of(made))
        slow = stream.listen(None, lambda: True)
        quick = stream.listen(None, lambda: True)
        had = [await anext(slow), await anext(slow)]
        lines = 0
        await anext(quick)
        for number in range(4):
            for each in range(3):
                record_event(made.folder, "invited", site=f"lab-{10 + number * 3 + each}")
            await asyncio.to_thread(made.record)
            while lines < 3 * (number + 1):
                lines += (await anext(quick)).startswith(b"event: log")
        had += [piece async for piece in slow]
        await quick.aclose()
        return had, lines

    had, lines = asyncio.run(watched())
    assert lines == 12
    assert had[0] == b"retry: 2000\n\n"
    assert not [piece for piece in had if piece.startswith(b"event: log")], "it comes back and asks for them"


def test_a_history_that_goes_away_comes_back_and_nothing_is_missed(made: MadeHistory) -> None:
    token = new_token(made.folder, "viewer", made.now)
    database, away = made.folder.state / "history.db", made.folder.state / "away.db"
    with listening(made.folder) as port:
        told = messages(port, token)
        assert next(told).json["server"]["behind_s"] is not None
        database.rename(away)
        while True:
            status = until(told, "status").json
            if status["server"]["behind_s"] is None:
                break
        assert status["run"]["run"] == RUNNING
        away.rename(database)
        rounds_on(made, 4)
        assert until(told, "round").json["round"] == 4
        told.close()  # type: ignore[attr-defined]


def test_only_so_many_listen(made: MadeHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MOST_LISTENERS", 1)
    token = new_token(made.folder, "viewer", made.now)
    with listening(made.folder) as port:
        told = messages(port, token)
        next(told)
        refused = httpx.get(
            f"http://127.0.0.1:{port}/api/v1/stream",
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE_S,
        )
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        told.close()  # type: ignore[attr-defined]


def test_who_listens_does_not_hold_up_the_server_s_end(
    made: MadeHistory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = new_token(made.folder, "viewer", made.now)
    # Were it waited for, that would take as long as this.
    monkeypatch.setattr(process_module, "MANNERS", replace(process_module.MANNERS, goodbye_s=50))
    with listening(made.folder) as port:
        told = messages(port, token)
        next(told)
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert "status" in {each.event for each in told} | {"status"}, "an end, and no broken line"
    assert "Traceback" not in caplog.text
