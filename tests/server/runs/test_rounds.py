"""Rounds over an in-memory grid and a clock that only our own sleeping moves."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from mien_common.architecture import Architecture
from mien_common.ccc import Moments, ccc, moments
from mien_common.errors import FederationError
from mien_common.messages import (
    ARRAYS,
    DOCUMENT,
    METRICS,
    NUM_EXAMPLES,
    EvaluateReport,
    RecordingMoments,
    RoundOrder,
    TrainReport,
    pack,
    unpack,
)
from mien_common.network import build
from mien_common.published import read_published
from mien_common.weights import Weights, from_record, to_record, weights_of
from mien_server.control import PushInterruptedError
from mien_server.runs.journal import Journal, JournalReader
from mien_server.runs.rounds import ATTEMPTS, Rounds
from mien_server.runs.settings import RunSettings

TINY = Architecture(hidden_units=3, layers=1)
SITES = {11: "site-c", 22: "site-a", 33: "site-b"}
FRAMES = {"site-a": 100, "site-b": 300, "site-c": 50}

Reply = Callable[[Message, str], RecordDict | Error]


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-3)


@dataclass
class FakeSite:
    """How a site behaves."""

    name: str
    delay_s: Callable[[str, int], float] = lambda _kind, _round: 1.0
    """Seconds until its answer, by message type and round; infinity for never."""
    train: Reply = field(default=lambda message, site: train_reply(message, site))
    evaluate: Reply = field(default=lambda message, site: evaluate_reply(message, site))
    online_until: float = float("inf")
    online_from: float = 0.0


def answers_after(seconds: float) -> Callable[[str, int], float]:
    return lambda _kind, _round: seconds


class FakeGrid(Grid):
    """Carries messages like Flower's, and, unlike Flower's, hands out replies that nobody asked for."""

    def __init__(self, clock: FakeClock, sites: dict[int, FakeSite]) -> None:
        self.clock, self.sites = clock, sites
        self.pushed: list[Message] = []
        self._replies: list[tuple[float, Message]] = []
        self.interruptions = 0
        """So many pushes are cut off in the middle, as by a SuperLink that is started again."""

    def get_node_ids(self) -> list[int]:
        now = self.clock.now
        return [node for node, site in self.sites.items() if site.online_from <= now < site.online_until]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        if self.interruptions:
            self.interruptions -= 1
            raise PushInterruptedError("0" * 64, 1, "session")
        ids = []
        for message in messages:
            self.pushed.append(message)
            ids.append(f"message-{len(self.pushed)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            site = self.sites[message.metadata.dst_node_id]
            kind, round_ = message.metadata.message_type, int(message.metadata.group_id)
            answer = (site.train if kind == "train" else site.evaluate)(message, site.name)
            ready = self.clock.now + site.delay_s(kind, round_)
            if ready < site.online_until:
                self._replies.append((ready, Message(answer, reply_to=message)))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        assert list(message_ids), "Flower raises an error when asked for nothing"
        ready = [reply for at, reply in self._replies if at <= self.clock.now]
        self._replies = [(at, reply) for at, reply in self._replies if at > self.clock.now]
        return ready

    def set_run(self, *_: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, *_: Any, **__: Any) -> list[Message]:
        raise NotImplementedError


def delta_of(site: str, round_: int) -> Weights:
    """A site's update in a round; any fixed one will do."""
    generator = np.random.default_rng([round_, *site.encode()])
    return {
        name: generator.normal(0, 0.1, array.shape).astype(np.float32)
        for name, array in weights_of(build(TINY, 0)).items()
    }


def train_reply(message: Message, site: str, **changes: Any) -> RecordDict:
    order = unpack(message.content, RoundOrder)
    report = TrainReport.model_validate(
        {
            "site": site,
            "round": order.round,
            "frames": FRAMES[site],
            "loss": 0.5,
            "update_norm": 1.0,
            "seconds": 0.1,
            "device": "cpu",
            "version": "0",
            "bytes_down": 1,
            "bytes_up": 1,
        }
        | changes
    )
    return RecordDict(
        {
            ARRAYS: to_record(delta_of(site, order.round)),
            METRICS: MetricRecord({NUM_EXAMPLES: report.frames}),
            DOCUMENT: pack(report),
        }
    )


def recording_of(site: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(list(site.encode()))
    rating = np.tanh(generator.normal(size=200 + len(site) * 10))
    return np.clip(0.7 * rating + 0.1 * generator.normal(size=rating.size), -1, 1), rating


def evaluate_reply(message: Message, site: str) -> RecordDict:
    found = moments(*recording_of(site))
    report = EvaluateReport(
        site=site,
        round=unpack(message.content, RoundOrder).round,
        recordings=(RecordingMoments(valence=found, arousal=found),),
        seconds=0,
        bytes_down=1,
    )
    return RecordDict({METRICS: MetricRecord({NUM_EXAMPLES: 1}), DOCUMENT: pack(report)})


@dataclass
class World:
    """A run over fake sites, and what it left behind."""

    path: Path
    sites: dict[int, FakeSite]
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.grid = FakeGrid(self.clock, self.sites)

    def conduct(self, superlink: Callable[[], object] = lambda: None, **settings: Any) -> Weights:
        chosen = RunSettings.model_validate(
            {"rounds": 1, "quorum": 2, "deadline_s": 60.0, "wait_s": 30.0, "seed": 3, "architecture": TINY}
            | settings
        )
        journal = Journal(self.path)
        try:
            names = {node: site.name for node, site in self.sites.items()}
            return Rounds(
                *(self.grid, names, chosen, "run-1", self.path / "models", journal),
                clock=self.clock,
                superlink=superlink,
            ).conduct()
        finally:
            journal.close()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in JournalReader(self.path).new() if event["event"] == kind]

    @property
    def site(self) -> dict[str, FakeSite]:
        return {site.name: site for site in self.sites.values()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {node: FakeSite(name) for node, name in SITES.items()})


def average(weights: Weights, round_: int, sites: list[str]) -> Weights:
    """Weighted mean in double precision: an independent reference for FedAvg."""
    total = sum(FRAMES[site] for site in sites)
    return {
        name: np.sum(
            [
                FRAMES[site] / total * (array.astype(np.float64) + delta_of(site, round_)[name])
                for site in sites
            ],
            axis=0,
        ).astype(np.float32)
        for name, array in weights.items()
    }


def assert_close(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_rounds_average_publish_and_report(world: World) -> None:
    final = world.conduct(rounds=2)

    expected = weights_of(build(TINY, 3))
    for round_ in (1, 2):
        expected = average(expected, round_, sorted(FRAMES))
    assert_close(final, expected)
    card, published = read_published(world.path / "models" / "latest")
    assert_close(published, final)
    assert (card.run, card.round) == ("run-1", 2)
    assert {part.site: part.frames for part in card.sites} == FRAMES
    rounds = world.events("round")
    assert [event["round"] for event in rounds] == [1, 2]
    assert rounds[0]["sites"] == {"answered": ["site-a", "site-b", "site-c"], "failed": {}}
    assert rounds[0]["bytes_up"] > 0
    assert world.events("finished")
    sent = world.grid.pushed[-1].content.array_records[ARRAYS]
    assert_close(from_record(sent, TINY), final)


def test_the_order_of_answers_changes_nothing(tmp_path: Path) -> None:
    results = []
    for turn, delays in enumerate(({"site-a": 1.0, "site-b": 5.0}, {"site-a": 9.0, "site-b": 2.0})):
        path = tmp_path / str(turn)
        path.mkdir()
        sites = {
            node: FakeSite(name, delay_s=answers_after(delays.get(name, 3.0))) for node, name in SITES.items()
        }
        results.append(World(path, sites).conduct())
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_a_site_that_never_answers_is_left_out_at_the_deadline(world: World) -> None:
    world.site["site-b"].delay_s = lambda kind, _: float("inf") if kind == "train" else 1.0

    final = world.conduct()

    assert_close(final, average(weights_of(build(TINY, 3)), 1, ["site-a", "site-c"]))
    event = world.events("round")[0]
    assert event["sites"] == {"answered": ["site-a", "site-c"], "failed": {"site-b": "no answer within 60 s"}}
    assert event["seconds"]["train"] == 0.1, "as the others say"
    assert 59.9 <= event["seconds"]["transfer"] < 62, "most of it waiting"


def test_a_site_that_went_offline_is_not_waited_for(world: World) -> None:
    world.site["site-b"].delay_s = lambda *_: float("inf")
    world.site["site-b"].online_until = 5.0

    world.conduct()

    event = world.events("round")[0]
    assert event["sites"]["failed"] == {"site-b": "it went offline"}
    assert event["evaluated"]["failed"] == {"site-b": "it went offline"}
    assert event["seconds"]["total"] < 20


def test_a_late_answer_does_not_enter_a_later_round(world: World) -> None:
    world.site["site-b"].delay_s = lambda kind, round_: 61.5 if (kind, round_) == ("train", 1) else 1.0

    final = world.conduct(rounds=2)

    expected = average(weights_of(build(TINY, 3)), 1, ["site-a", "site-c"])
    assert_close(final, average(expected, 2, sorted(FRAMES)))


def test_an_error_at_a_site_is_reported_in_its_words(world: World) -> None:
    world.site["site-a"].train = lambda *_: Error(code=2, reason="no rated session in this site")

    world.conduct()

    assert world.events("round")[0]["sites"]["failed"] == {"site-a": "no rated session in this site"}


def test_a_rejected_update_is_named_and_left_out(world: World) -> None:
    world.site["site-a"].train = lambda message, _: train_reply(message, "site-b")

    final = world.conduct()

    failed = world.events("round")[0]["sites"]["failed"]
    assert "calls itself 'site-b'" in failed["site-a"]
    assert_close(final, average(weights_of(build(TINY, 3)), 1, ["site-b", "site-c"]))


def test_an_answer_from_another_node_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is enrolled must not be able to answer in another's name."""
    original = world.grid.pull_messages

    def pull(message_ids: Iterable[str]) -> list[Message]:
        replies = original(message_ids)
        for reply in replies:
            if reply.metadata.src_node_id == 22:
                reply.metadata.__dict__["_src_node_id"] = 33
        return replies

    monkeypatch.setattr(world.grid, "pull_messages", pull)
    world.conduct()

    assert "another node (33)" in world.events("round")[0]["sites"]["failed"]["site-a"]


def test_a_round_below_its_quorum_changes_nothing_and_is_tried_again(world: World) -> None:
    asked: list[str] = []

    def fail_twice(message: Message, site: str) -> RecordDict | Error:
        asked.append(site)
        return Error(code=2, reason="not yet") if asked.count(site) < 3 else train_reply(message, site)

    for name in ("site-a", "site-b"):
        world.site[name].train = fail_twice

    final = world.conduct()

    failures = world.events("round_failed")
    assert [event["attempt"] for event in failures] == [1, 2]
    assert failures[0]["sites"] == {
        "answered": ["site-c"],
        "failed": {"site-a": "not yet", "site-b": "not yet"},
    }
    assert_close(final, average(weights_of(build(TINY, 3)), 1, sorted(FRAMES)))


def test_a_run_fails_after_three_rounds_below_the_quorum(world: World) -> None:
    for name in ("site-a", "site-b"):
        world.site[name].train = lambda *_: Error(code=2, reason="disk full")

    with pytest.raises(FederationError, match=r"below its quorum of 2 sites 3 times.*site-a: disk full"):
        world.conduct(rounds=5)

    assert len(world.events("round_failed")) == ATTEMPTS
    assert not (world.path / "models").exists()


def test_too_few_sites_end_the_run_after_the_wait(world: World) -> None:
    world.site["site-a"].online_from = world.site["site-b"].online_from = 1000.0

    with pytest.raises(FederationError, match=r"1 of the 2 sites needed.*30 s \(online: site-c\)"):
        world.conduct()

    assert 30 <= world.clock.now < 31
    assert world.events("waiting")[0]["online"] == ["site-c"]


def test_the_first_round_waits_until_the_quorum_is_there(world: World) -> None:
    world.site["site-a"].online_from = world.site["site-b"].online_from = 20.0

    world.conduct(quorum=3)

    assert world.events("round")[0]["sites"]["answered"] == ["site-a", "site-b", "site-c"]


def test_a_quorum_larger_than_the_enrolled_sites_is_refused(world: World) -> None:
    with pytest.raises(FederationError, match="only 3 sites are enrolled"):
        world.conduct(quorum=4)


def test_ccc_is_exact_from_the_sites_sums(world: World) -> None:
    world.conduct()

    traces = [recording_of(site) for site in sorted(FRAMES)]
    found = world.events("round")[0]["ccc"]["valence"]
    assert found["mean_over_recordings"] == pytest.approx(np.mean([ccc(*pair) for pair in traces]))
    pooled = ccc(np.concatenate([pair[0] for pair in traces]), np.concatenate([pair[1] for pair in traces]))
    assert found["pooled"] == pytest.approx(pooled)


def test_a_round_without_any_evaluation_still_counts(world: World) -> None:
    for site in world.sites.values():
        site.evaluate = lambda *_: Error(code=2, reason="no held-out session")

    world.conduct()

    event = world.events("round")[0]
    assert event["ccc"]["arousal"] == {"mean_over_recordings": None, "pooled": None}
    assert set(event["evaluated"]["failed"]) == set(FRAMES)
    card, _ = read_published(Path(event["model"]))
    assert np.isnan(card.ccc["arousal"].pooled)


def test_recordings_without_a_ccc_do_not_spoil_the_mean(world: World) -> None:
    def with_a_constant_recording(message: Message, site: str) -> RecordDict:
        content = evaluate_reply(message, site)
        report = unpack(content, EvaluateReport)
        constant = Moments(n=30.0, x=15.0, y=15.0, xx=7.5, yy=7.5, xy=7.5)
        undefined = RecordingMoments(valence=constant, arousal=constant)
        content[DOCUMENT] = pack(report.model_copy(update={"recordings": (*report.recordings, undefined)}))
        return content

    for site in world.sites.values():
        site.evaluate = with_a_constant_recording

    world.conduct()

    expected = np.mean([ccc(*recording_of(site)) for site in FRAMES])
    assert world.events("round")[0]["ccc"]["valence"]["mean_over_recordings"] == pytest.approx(expected)


def test_the_journal_is_plain_json(world: World) -> None:
    for site in world.sites.values():
        site.evaluate = lambda *_: Error(code=2, reason="none")
    world.conduct()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for line in (world.path / "rounds.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_push_that_is_cut_off_is_tried_again(world: World) -> None:
    world.grid.interruptions = 2
    world.conduct()
    assert [event["round"] for event in world.events("round")] == [1]


def test_a_superlink_that_never_takes_a_push_fails_the_run(world: World) -> None:
    world.grid.interruptions = 1000
    with pytest.raises(FederationError, match="did not take a round's messages"):
        world.conduct()


def test_who_was_asked_through_a_superlink_that_died_is_asked_again(world: World) -> None:
    """It hands a message out once; the one it was handing over when it died is lost."""
    asked = {"site-b": 0}

    def lost_once(kind: str, _round: int) -> float:
        asked["site-b"] += kind == "train"
        return math.inf if kind == "train" and asked["site-b"] == 1 else 1.0

    world.site["site-b"].delay_s = lost_once
    world.conduct(quorum=3, deadline_s=600.0, superlink=lambda: world.clock.now > 5.0)
    (done,) = world.events("round")
    assert done["sites"] == {"answered": ["site-a", "site-b", "site-c"], "failed": {}}
    assert done["seconds"]["transfer"] < 10
    asked_for_training = [
        message for message in world.grid.pushed if message.metadata.message_type == "train"
    ]
    assert len(asked_for_training) == 4, "those who had answered are left in peace"


def test_the_journal_names_the_rule(world: World) -> None:
    world.conduct(rule={"name": "fedadam"})
    assert world.events("started")[0]["rule"] == "fedadam"


def test_a_run_moves_the_weights_by_its_rule(world: World) -> None:
    """With FedAvgM the second round goes on along the first's way."""
    final = world.conduct(rounds=2, rule={"name": "fedavgm", "server_momentum": 0.5})

    start = weights_of(build(TINY, 3))
    first = average(start, 1, sorted(FRAMES))
    second = average(first, 2, sorted(FRAMES))
    assert_close(final, {name: array + 0.5 * (first[name] - start[name]) for name, array in second.items()})


def test_a_round_that_is_tried_again_moves_the_weights_once(world: World) -> None:
    """A server's momentum must not count a round that failed."""
    asked: list[str] = []

    def fail_once(message: Message, site: str) -> RecordDict | Error:
        asked.append(site)
        return Error(code=2, reason="not yet") if asked.count(site) < 2 else train_reply(message, site)

    for name in ("site-a", "site-b"):
        world.site[name].train = fail_once

    final = world.conduct(rule={"name": "fedavgm", "server_momentum": 0.5})

    assert len(world.events("round_failed")) == 1
    assert_close(final, average(weights_of(build(TINY, 3)), 1, sorted(FRAMES)))


@pytest.mark.parametrize(("name", "mu"), [("fedavg", 0.0), ("fedprox", 0.25)])
def test_sites_are_told_how_strongly_they_are_held(world: World, name: str, mu: float) -> None:
    world.conduct(rule={"name": name, "proximal_mu": 0.25})

    orders = [unpack(message.content, RoundOrder) for message in world.grid.pushed]
    assert {order.training.proximal_mu for order in orders} == {mu}
    assert {order.schema_name for order in orders} == {"au-v1"}


def test_one_hostile_site_does_not_move_a_median_run_far(world: World) -> None:
    def hostile(message: Message, site: str) -> RecordDict:
        content = train_reply(message, site, frames=10**6)
        content[ARRAYS] = to_record({name: array * 0 + 5 for name, array in delta_of(site, 1).items()})
        return content

    world.site["site-b"].train = hostile
    start = weights_of(build(TINY, 3))
    moved = world.conduct(quorum=3, rule={"name": "median"})

    for name, array in moved.items():
        honest = [delta_of(site, 1)[name] for site in ("site-a", "site-c")]
        assert (array - start[name] <= np.max(honest, axis=0) + 1e-6).all()


def test_a_rule_for_more_sites_than_are_enrolled_ends_the_run_at_once(world: World) -> None:
    with pytest.raises(
        FederationError,
        match=r"the rule bulyan.*at least 7 sites.*only 3 are enrolled \(site-a, site-b, site-c\)",
    ):
        world.conduct(quorum=3, rule={"name": "bulyan", "byzantine_sites": 1})
    assert world.grid.pushed == []
