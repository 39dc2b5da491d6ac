"""What the journal tells of a round: where its time went, who did what, and how far a site is believed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict

from mien_common.ccc import ccc
from mien_common.messages import DOCUMENT, METRICS, NUM_EXAMPLES, RoundOrder, unpack
from mien_server.commands.event_lines import line_of, time_shares
from mien_server.facts import RoundSeconds
from mien_server.runs.checkpoint import Checkpoints
from mien_server.runs.journal import JournalReader

from .test_rounds import (
    FRAMES,
    SITES,
    TINY,
    FakeSite,
    World,
    answers_after,
    delta_of,
    recording_of,
    train_reply,
)


def new_world(path: Path) -> World:
    path.mkdir(exist_ok=True)
    return World(path, {node: FakeSite(name) for node, name in SITES.items()})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def says(**changes: Any) -> Callable[[Message, str], RecordDict]:
    """A site that says something else of its training."""
    return lambda message, site: train_reply(message, site, **changes)


def takes_to_train(seconds: float) -> Callable[[str, int], float]:
    return lambda kind, _round: seconds if kind == "train" else 3.0


def the_round(world: World) -> dict[str, Any]:
    (event,) = world.events("round")
    return event


class TestSeconds:
    def test_they_tell_where_the_time_went(self, world: World) -> None:
        """Two sites come after 20 s; the slowest trains 4 s and needs 2 more; evaluation takes 3 s."""
        for name, there, trains, takes in (("a", 0, 1.0, 3.0), ("b", 20, 4.0, 6.0), ("c", 20, 2.0, 2.5)):
            site = world.site[f"site-{name}"]
            site.online_from, site.train = there, says(seconds=trains)
            site.delay_s = takes_to_train(takes)
        world.conduct(quorum=3)

        seconds = the_round(world)["seconds"]
        assert set(seconds) == set(RoundSeconds.model_fields)
        polls = 0.3
        assert seconds["wait"] == pytest.approx(20, abs=polls)
        assert seconds["train"] == 4.0
        assert seconds["transfer"] == pytest.approx(2, abs=polls)
        assert seconds["evaluate"] == pytest.approx(3, abs=polls)
        assert seconds["aggregate"] == 0.0, "this clock stands still while we work"
        parts = [value for part, value in seconds.items() if part != "total"]
        assert seconds["total"] == pytest.approx(sum(parts), abs=0.01)

    def test_work_and_publishing_count_as_aggregation(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mien_server.runs import rounds

        def taking(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
            def slow(*arguments: Any) -> Any:
                world.clock.sleep(seconds)
                return work(*arguments)

            return slow

        for name, takes in (("read_updates", 1.0), ("combine", 2.0), ("publish_round", 4.0)):
            monkeypatch.setattr(rounds, name, taking(takes, getattr(rounds, name)))
        world.conduct()

        assert the_round(world)["seconds"]["aggregate"] == pytest.approx(7.0)

    def test_attempts_that_failed_are_in_it(self, world: World) -> None:
        tries: list[str] = []

        def fail_once(message: Message, site: str) -> RecordDict | Error:
            tries.append(site)
            return Error(code=2, reason="not yet") if tries.count(site) < 2 else train_reply(message, site)

        for name in ("site-a", "site-b"):
            world.site[name].train = fail_once
            world.site[name].delay_s = answers_after(10.0)
        world.conduct()

        event = the_round(world)
        assert event["attempts"] == 2
        assert event["seconds"]["transfer"] == pytest.approx(20, abs=1)
        assert event["seconds"]["total"] >= 30

    def test_without_evaluation_there_is_none(self, world: World) -> None:
        world.conduct(evaluate=False)
        event = the_round(world)
        assert event["seconds"]["evaluate"] is None
        assert event["site_ccc"] == event["worst_site"] == {}
        assert event["spread"] == {"valence": None, "arousal": None}


class TestSites:
    def test_who_was_asked(self, world: World) -> None:
        world.site["site-b"].train = lambda *_: Error(code=2, reason="no")
        world.conduct()
        event = the_round(world)
        assert (event["asked"], event["attempts"]) == (["site-a", "site-b", "site-c"], 1)
        assert list(event["reports"]) == ["site-a", "site-c"], "those who answered"
        assert list(event["site_ccc"]) == ["site-a", "site-b", "site-c"], "those who evaluated"

    def test_loss_and_ccc_site_by_site(self, world: World) -> None:
        losses = {"site-a": 0.25, "site-b": 1.5, "site-c": 0.75}
        for name, loss in losses.items():
            world.site[name].train = says(loss=loss)
        world.conduct()

        event = the_round(world)
        assert event["loss"] == {
            "mean": pytest.approx(np.average(list(losses.values()), weights=[100, 300, 50])),
            "worst": 1.5,
            "worst_site": "site-b",
            "spread": pytest.approx(np.std(list(losses.values()))),
        }
        each = {site: ccc(*recording_of(site)) for site in sorted(FRAMES)}
        lowest = min(each, key=lambda site: each[site])
        for target in ("valence", "arousal"):
            found = {site: values[target] for site, values in event["site_ccc"].items()}
            assert found == pytest.approx(each)
            assert event["worst_site"][target]["site"] == lowest
            assert event["worst_site"][target]["pooled"] == pytest.approx(each[lowest])
            assert event["spread"][target] == pytest.approx(np.std(list(each.values())))

    def test_one_site_alone_has_no_spread(self, world: World) -> None:
        for name in ("site-a", "site-b"):
            world.site[name].train = world.site[name].evaluate = lambda *_: Error(code=2, reason="no")
        world.conduct(quorum=1)
        event = the_round(world)
        assert event["loss"]["spread"] is None
        assert event["spread"] == {"valence": None, "arousal": None}

    def test_bytes_are_counted_here(self, world: World) -> None:
        for site in world.sites.values():
            site.train = says(bytes_up=10**15, bytes_down=10**15)
        world.conduct()

        event = the_round(world)
        weights = sum(array.nbytes for array in delta_of("site-a", 1).values())
        for report in event["reports"].values():
            assert weights < report["bytes_up"] < weights + 10_000
            assert 2 * weights < report["bytes_down"] < 2 * weights + 10_000, "to train, and to evaluate"
        for way in ("bytes_up", "bytes_down"):
            assert event[way] == sum(report[way] for report in event["reports"].values())

    def test_attempts_from_before_the_run_was_interrupted_count(self, world: World) -> None:
        def refuse_then_die(*_: object) -> Error:
            if world.events("round_failed"):
                raise KeyboardInterrupt
            return Error(code=2, reason="no")

        for site in world.sites.values():
            site.train = refuse_then_die
        with pytest.raises(KeyboardInterrupt):
            world.conduct()
        again = new_world(world.path)
        again.conduct()
        assert the_round(again)["attempts"] == 2


class TestWhatASiteSays:
    def test_nobody_is_believed_to_train_longer_than_it_took(self, world: World) -> None:
        world.site["site-b"].train = says(seconds=1e300)
        world.site["site-b"].delay_s = answers_after(5.0)
        world.conduct()
        event = the_round(world)
        assert event["seconds"]["train"] == event["reports"]["site-b"]["seconds"] == pytest.approx(5, abs=0.3)
        assert event["seconds"]["transfer"] == 0.0

    def test_its_norm_is_measured(self, world: World) -> None:
        world.site["site-a"].train = says(update_norm=1e9)
        world.conduct()
        delta = np.concatenate([array.ravel() for array in delta_of("site-a", 1).values()])
        assert the_round(world)["reports"]["site-a"]["update_norm"] == pytest.approx(np.linalg.norm(delta))

    def test_its_words_command_no_terminal(self, world: World) -> None:
        world.site["site-a"].train = says(device="\x1b[2Jcu\nda\u202e", version="1\x07\r")
        world.site["site-b"].train = lambda *_: Error(code=2, reason="\x1b]0;gone\x07 no\nrated session" * 99)
        world.site["site-c"].evaluate = lambda *_: Error(code=2, reason="a\u2028b\x00c")
        world.conduct(quorum=1)

        event = the_round(world)
        assert event["reports"]["site-a"]["device"] == " [2Jcu da "
        assert event["reports"]["site-a"]["version"] == "1  "
        reason = event["sites"]["failed"]["site-b"]
        assert reason.startswith(" ]0;gone  no rated session")
        assert len(reason) == 300
        assert event["evaluated"]["failed"]["site-c"] == "a b c"
        assert all(line.isprintable() for line in line_of(event).split("\n"))

    def test_a_message_that_does_not_hold_is_quoted_without_harm(self, world: World) -> None:
        key = "\x1b[31mred" * 1000
        world.site["site-b"].train = lambda message, site: unchecked(message, site, **{key: 1})
        world.conduct()
        reason = the_round(world)["sites"]["failed"]["site-b"]
        assert reason.startswith("update rejected: a TrainReport that does not hold:")
        assert reason.isprintable()
        assert len(reason) <= 300

    def test_more_frames_than_there_can_be_are_refused(self, world: World) -> None:
        world.site["site-b"].train = lambda message, site: unchecked(message, site, frames=10**12 + 1)
        world.conduct()
        assert "frames" in the_round(world)["sites"]["failed"]["site-b"]

    def test_losses_beyond_all_numbers_leave_plain_json(self, world: World) -> None:
        for site in world.sites.values():
            site.train = says(loss=1e308)
        world.conduct()
        loss = the_round(world)["loss"]
        assert (loss["worst"], loss["spread"]) == (1e308, None)
        assert "loss" in line_of(the_round(world))


def unchecked(message: Message, site: str, **said: Any) -> RecordDict:
    """As :func:`train_reply`, from a site whose software does not check what it says."""
    content = train_reply(message, site)
    document = content[DOCUMENT]
    assert isinstance(document, ConfigRecord)
    content[DOCUMENT] = ConfigRecord({"json": json.dumps(json.loads(str(document["json"])) | said)})
    if "frames" in said:
        content[METRICS] = MetricRecord({NUM_EXAMPLES: said["frames"]})
    return content


NEW_PARTS = ("attempts", "asked", "worst_site", "spread", "reports", "site_ccc")


def as_it_was(event: dict[str, Any]) -> dict[str, Any]:
    """A round's event as versions before these parts wrote it."""
    if event["event"] != "round":
        return event
    seconds, loss = event["seconds"], event["loss"]
    return {name: value for name, value in event.items() if name not in NEW_PARTS} | {
        "seconds": {"total": seconds["total"], "train": seconds["train"], "evaluate": seconds["evaluate"]},
        "loss": {name: loss[name] for name in ("mean", "worst", "worst_site")},
    }


def test_a_run_of_an_older_version_goes_on_and_is_shown(tmp_path: Path) -> None:
    """Its journal and its checkpoint tell less of each round."""
    expected = new_world(tmp_path / "whole").conduct(rounds=3)
    run = tmp_path / "run"
    before = new_world(run)
    before.site["site-a"].train = interrupted_in(3)
    with pytest.raises(KeyboardInterrupt):
        before.conduct(rounds=3)
    journal = run / "rounds.jsonl"
    events = [as_it_was(event) for event in JournalReader(run).new()]
    checkpoints = Checkpoints(run, run / "models", "run-1", "fedavg")
    last = checkpoints.last(TINY)
    assert last is not None
    checkpoints.save(2, last.weights, last.memory, as_it_was(last.event))
    journal.write_text("".join(json.dumps(event) + "\n" for event in events[:-2]))  # it died before it told

    final = new_world(run).conduct(rounds=3)

    assert all(np.array_equal(final[name], expected[name]) for name in expected)
    rounds = [event for event in JournalReader(run).new() if event["event"] == "round"]
    assert [event["round"] for event in rounds] == [1, 2, 3]
    assert ["reports" in event for event in rounds] == [False, False, True]
    assert all(line_of(event).startswith("round") for event in rounds)
    assert time_shares(rounds[:2]) == "", "nothing is made up of what was not told"
    assert "train" in time_shares(rounds)


def interrupted_in(round_: int) -> Callable[[Message, str], RecordDict]:
    def train(message: Message, site: str) -> RecordDict:
        if unpack(message.content, RoundOrder).round == round_:
            raise KeyboardInterrupt
        return train_reply(message, site)

    return train
