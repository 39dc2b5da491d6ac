"""What is told of the round that goes on now, how often, and what becomes of it when the run ends."""

import datetime as dt
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message, RecordDict

from mien_common.errors import FederationError
from mien_server.runs import progress as module
from mien_server.runs.progress import PROGRESS_FILE, LiveProgress, Progress, read_progress, write_progress

from .test_rounds import FRAMES, SITES, FakeClock, FakeSite, World, answers_after, evaluate_reply, train_reply

BEGAN = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {node: FakeSite(name) for node, name in SITES.items()})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Progress]]:
    """Everything that is written."""
    written: list[tuple[Path, Progress]] = []

    def write(run: Path, progress: Progress) -> None:
        write_progress(run, progress)
        found = read_progress(run)
        assert found is not None
        written.append((run, found))

    monkeypatch.setattr(module, "write_progress", write)
    return written


def phases(seen: list[tuple[Path, Progress]]) -> list[str]:
    told = [progress.phase for _, progress in seen]
    return [phase for number, phase in enumerate(told) if number == 0 or told[number - 1] != phase]


class TestARun:
    def test_every_phase_is_told_and_who_is_awaited(
        self, world: World, seen: list[tuple[Path, Progress]]
    ) -> None:
        world.site["site-a"].delay_s = answers_after(3.0)
        world.site["site-b"].delay_s = answers_after(9.0)
        world.site["site-c"].train = lambda *_: Error(code=2, reason="no rated session")
        world.conduct(quorum=2, rounds=2, deadline_s=60.0, wait_s=30.0)

        assert phases(seen) == ["train", "aggregate", "evaluate"] * 2
        first = seen[0][1]
        assert (first.round, first.attempt, first.online) == (1, 1, ("site-a", "site-b", "site-c"))
        assert length(first) == 60
        second = [progress for _, progress in seen if progress.round == 2]
        awaited = [set(p.asked) - set(p.answered) - set(p.failed) for p in second if p.phase == "train"]
        assert awaited[0] == {"site-a", "site-b", "site-c"}
        assert {"site-a", "site-b"} in awaited, "the one that failed is not awaited"
        assert {"site-b"} in awaited
        failed = [p for p in second if p.failed]
        assert failed[0].failed == {"site-c": "no rated session"}
        assert all(p.since <= later.since for p, later in itertools.pairwise(second))

    def test_while_it_waits_it_tells_who_is_there(
        self, world: World, seen: list[tuple[Path, Progress]]
    ) -> None:
        world.site["site-a"].online_from, world.site["site-b"].online_from = 10.0, 20.0
        world.conduct(quorum=3)
        waiting = [progress for _, progress in seen if progress.phase == "waiting"]
        assert [progress.online for progress in waiting] == [("site-c",), ("site-a", "site-c")]
        assert len({progress.since for progress in waiting}) == 1, "it began once"
        assert length(waiting[0]) == 30
        assert len(world.events("waiting")) == 2, "the journal is told of changes, not of looks"

    def test_a_resumed_run_tells_whom_it_misses(
        self, tmp_path: Path, seen: list[tuple[Path, Progress]]
    ) -> None:
        before = World(tmp_path, {node: FakeSite(name) for node, name in SITES.items()})
        before.site["site-a"].train = interrupt
        with pytest.raises(KeyboardInterrupt):
            before.conduct()
        seen.clear()
        after = World(tmp_path, {node: FakeSite(name) for node, name in SITES.items()})
        after.site["site-b"].online_from = 9.0
        after.conduct()
        assert [p.missing for _, p in seen if p.phase == "waiting"] == [("site-b",)]

    def test_an_update_that_is_rejected_has_not_answered_well(
        self, world: World, seen: list[tuple[Path, Progress]]
    ) -> None:
        world.site["site-b"].train = lambda message, _: train_reply(message, "site-c")
        world.conduct()
        last = [progress for _, progress in seen if progress.phase == "aggregate"][-1]
        assert last.answered == ("site-a", "site-c")
        assert last.failed["site-b"].startswith("update rejected")

    def test_it_is_removed_at_the_end_and_when_it_fails(self, world: World) -> None:
        there: list[bool] = []

        def look(message: Message, site: str) -> RecordDict:
            there.append((world.path / PROGRESS_FILE).exists())
            return evaluate_reply(message, site)

        world.site["site-a"].evaluate = look
        world.conduct()
        assert there == [True]
        assert left(world.path) == []
        for site in world.sites.values():
            site.online_until = 0.0
        with pytest.raises(FederationError):
            world.conduct(rounds=2)
        assert left(world.path) == []

    def test_what_a_killed_life_left_is_not_taken_for_now(self, world: World) -> None:
        write_progress(world.path, a_moment(round=7))
        found: list[Progress | None] = []

        def look(message: Message, site: str) -> RecordDict:
            found.append(read_progress(world.path))
            return train_reply(message, site)

        world.site["site-a"].train = look
        world.conduct()
        assert found[0] is not None
        assert found[0].round == 1

    def test_a_disk_that_is_full_ends_no_run(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        original = Path.write_bytes

        def full(path: Path, content: bytes) -> int:
            if PROGRESS_FILE in path.name:
                raise OSError(28, "No space left on device")
            return original(path, content)

        monkeypatch.setattr(Path, "write_bytes", full)
        with caplog.at_level(logging.WARNING):
            world.conduct(rounds=5)
        assert len(world.events("finished")) == 1
        assert caplog.text.count("progress_not_written") == 1, "once, not at every step"

    @pytest.mark.parametrize("delay_s", [0.0, 2.0, 30.0])
    def test_fifty_sites_cause_no_more_writes_than_three(
        self,
        tmp_path: Path,
        seen: list[tuple[Path, Progress]],
        delay_s: float,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        names = {number: f"lab-{number:02d}" for number in range(1, 51)}
        for number, name in names.items():
            monkeypatch.setitem(FRAMES, name, 100 + number)
        sites = {
            number: FakeSite(name, delay_s=answers_after(delay_s * number / 50))
            for number, name in names.items()
        }
        world = World(tmp_path, sites)
        world.conduct(rounds=2, quorum=50)
        assert len(seen) <= 4 * world.clock.now + 5
        if delay_s == 30.0:
            some = [p for _, p in seen if p.round == 2 and p.phase == "train" and 0 < len(p.answered) < 50]
            assert len(some) > 40, "one can watch them come in"


class TestLiveProgress:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def live(self, tmp_path: Path, clock: FakeClock) -> LiveProgress:
        return LiveProgress(tmp_path, clock, lambda: BEGAN + dt.timedelta(seconds=clock.now))

    def test_news_that_came_too_early_is_told_later(
        self, tmp_path: Path, live: LiveProgress, clock: FakeClock
    ) -> None:
        live.begin("train", 1, 1, 60.0, ["a", "b"], ["a", "b"])
        live.answers(["a"], {})
        live.answers(["a", "b"], {})
        assert answered(tmp_path) == ("a",)
        clock.sleep(0.5)
        live.answers(["a", "b"], {})
        assert answered(tmp_path) == ("a", "b")

    def test_a_phase_that_was_left_out_is_told_once_it_lasts(
        self, tmp_path: Path, live: LiveProgress, clock: FakeClock
    ) -> None:
        for round_ in range(1, 9):
            live.begin("train", round_, 1, 60.0)
        found = read_progress(tmp_path)
        assert found is not None
        assert found.round == 4
        clock.sleep(0.5)
        live.answers([], {})
        assert read_progress(tmp_path) == a_moment(
            round=8, phase="train", deadline=iso(60), since=iso(0), online=(), asked=()
        )

    def test_nothing_new_is_not_written_again(
        self, tmp_path: Path, live: LiveProgress, clock: FakeClock
    ) -> None:
        live.begin("train", 1, 1, 60.0, ["a"], ["a"])
        (tmp_path / PROGRESS_FILE).unlink()
        for _ in range(100):
            clock.sleep(0.25)
            live.answers([], {})
        assert read_progress(tmp_path) is None

    def test_before_the_first_phase_and_after_the_end_there_is_nothing(
        self, tmp_path: Path, live: LiveProgress
    ) -> None:
        live.answers(["a"], {})
        live.begin("train", 1, 1)
        live.end()
        live.answers(["a"], {})
        assert left(tmp_path) == []

    @pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"round": 1}', b"\xff" * 100])
    def test_what_cannot_be_read_is_nothing(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / PROGRESS_FILE).write_bytes(content)
        assert read_progress(tmp_path) is None


def interrupt(*_: object) -> RecordDict:
    raise KeyboardInterrupt


def left(path: Path) -> list[str]:
    return [found.name for found in path.iterdir() if "progress" in found.name]


def length(progress: Progress) -> float:
    assert progress.deadline is not None
    return (dt.datetime.fromisoformat(progress.deadline) - dt.datetime.fromisoformat(progress.since)).seconds


def iso(seconds: float) -> str:
    return (BEGAN + dt.timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def a_moment(**changes: Any) -> Progress:
    plain: dict[str, Any] = {
        **{"round": 1, "attempt": 1, "phase": "train", "since": iso(0), "deadline": None},
        **{"online": ("site-a",), "asked": ("site-a",)},
    }
    return Progress.model_validate(plain | changes)


def answered(path: Path) -> tuple[str, ...]:
    found = read_progress(path)
    assert found is not None
    return found.answered
