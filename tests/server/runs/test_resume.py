"""A run that is killed at any moment goes on to the same weights, over the fake grid of test_rounds.py.

The killing is real: a forked process that ends at its n-th change to the disk, for every n there is.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict

from mien_common.errors import FederationError, MienError, ModelError, StorageError
from mien_common.messages import ARRAYS, RoundOrder, unpack
from mien_common.published import read_published
from mien_common.weights import Weights, from_record, to_record, weights_of
from mien_server.publishing.registry import list_models
from mien_server.rules.choice import rule_from
from mien_server.rules.settings import RuleSettings
from mien_server.runs.checkpoint import Checkpoints
from mien_server.runs.journal import Journal, JournalReader

from .test_rounds import FRAMES, SITES, TINY, FakeSite, World, delta_of, train_reply

CHANGES = [
    (os, "write"),
    (os, "fsync"),
    (os, "ftruncate"),
    (Path, "replace"),
    (Path, "rename"),
    (Path, "symlink_to"),
    (Path, "unlink"),
]
"""What changes the disk under a run; a process is killed before one of them takes effect."""

KILLED = 9


def answer(message: Message, site: str) -> RecordDict:
    """An update that depends on the weights, so that wrong ones are not forgiven."""
    content = train_reply(message, site)
    weights = from_record(message.content.array_records[ARRAYS], TINY)
    fixed = delta_of(site, unpack(message.content, RoundOrder).round)
    content[ARRAYS] = to_record({name: fixed[name] - 0.1 * weights[name] for name in weights})
    return content


def new_world(path: Path) -> World:
    path.mkdir(exist_ok=True)
    return World(path, {node: FakeSite(name, train=answer) for node, name in SITES.items()})


def conduct(path: Path, **settings: Any) -> Weights:
    """The run in ``path``, in a process's life of its own; it begins or goes on."""
    return new_world(path).conduct(**settings)


def killed(path: Path, before: int, settings: dict[str, Any]) -> bool:
    """Conduct the run in a process that dies before its ``before``-th change; False if it came to its end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, KILLED), code
        return code == KILLED
    try:
        left = [before]
        for owner, name in CHANGES:
            _die_before(owner, name, left)
        conduct(path, **settings)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the test goes on in the parent only
        os._exit(1)


def _die_before(owner: Any, name: str, left: list[int]) -> None:
    original = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os._exit(KILLED)
        return original(*arguments, **options)

    setattr(owner, name, counted)


def same(found: Weights, expected: Weights) -> bool:
    return all(np.array_equal(found[name], expected[name]) for name in expected)


FEDADAM: dict[str, Any] = {"rounds": 3, "quorum": 3, "rule": {"name": "fedadam"}}


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """And nothing is missing: every round published once, told once in the journal, the newest the latest."""
    settings = FEDADAM | {"rounds": 2}
    expected = conduct(tmp_path / "whole", **settings)
    moments = 0
    while killed(run := tmp_path / f"killed-{moments + 1}", moments + 1, settings):
        moments += 1
        assert same(conduct(run, **settings), expected), f"killed before change {moments}"
        events = list(JournalReader(run).new())
        told = [event["round"] for event in events if event["event"] == "round"]
        assert told == [1, 2], f"killed before change {moments}"
        assert [model.card.round for model in list_models(run / "models")] == [1, 2]
        assert same(read_published(run / "models" / "latest")[1], expected)
        assert len(list((run / "state").glob("round-*"))) == 1
    assert moments > 40, "the points of failure of two rounds"


def test_killed_again_and_again(tmp_path: Path) -> None:
    expected = conduct(tmp_path / "whole", **FEDADAM)
    lives = 0
    while killed(tmp_path / "run", 23, FEDADAM):
        lives += 1
        assert lives < 20
    assert lives > 1
    assert same(read_published(tmp_path / "run" / "models" / "latest")[1], expected)


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "fedavg"},
        {"name": "fedprox"},
        {"name": "fedavgm", "server_momentum": 0.7},
        {"name": "fedyogi"},
        {"name": "fedadagrad"},
        {"name": "median"},
        {"name": "trimmed-mean", "trimmed_share": 0.34},
    ],
)
def test_every_rule_goes_on_as_if_nothing_had_been(tmp_path: Path, rule: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"rounds": 4, "quorum": 3, "rule": rule}
    expected = conduct(tmp_path / "whole", **settings)

    interrupted = new_world(tmp_path / "run")
    stop_after(interrupted, 2)
    with pytest.raises(KeyboardInterrupt):
        interrupted.conduct(**settings)

    assert same(conduct(tmp_path / "run", **settings), expected)
    resumed = next(e for e in JournalReader(tmp_path / "run").new() if e["event"] == "resumed")
    assert (resumed["round"], resumed["rounds"]) == (3, 4)


def stop_after(world: World, round_: int) -> None:
    """Ctrl-C, as it comes to a ServerApp: while the sites train in the next round."""

    def interrupted(message: Message, site: str) -> RecordDict:
        if unpack(message.content, RoundOrder).round > round_:
            raise KeyboardInterrupt
        return answer(message, site)

    for site in world.sites.values():
        site.train = interrupted


MANY = {number: f"lab-{number}" for number in range(1, 9)}


class TestWhoIsAsked:
    @pytest.fixture(autouse=True)
    def frames(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for number, name in MANY.items():
            monkeypatch.setitem(FRAMES, name, 40 + 10 * number)

    def world(self, path: Path, **changes: Callable[[Message, str], RecordDict | Error]) -> World:
        path.mkdir(exist_ok=True)
        return World(
            path,
            {node: FakeSite(name, train=changes.get(name, self.reply)) for node, name in MANY.items()},
        )

    @staticmethod
    def reply(message: Message, site: str) -> RecordDict:
        return train_reply(message, site)

    def asked(self, world: World) -> list[list[str]]:
        return [event["asked"] for event in world.events("round_started")]

    def test_a_fraction_is_drawn_anew_each_round_the_same_for_the_same_seed(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"rounds": 12, "quorum": 2, "fraction": 0.4}
        first, second, other = (self.world(tmp_path / name) for name in ("a", "b", "c"))
        weights = [world.conduct(**settings) for world in (first, second)]
        other.conduct(**settings | {"seed": 4})

        assert all(len(sites) == 4 for sites in self.asked(first)), "0.4 of 8 is 3.2"
        assert self.asked(first) == self.asked(second) != self.asked(other)
        assert len({tuple(sites) for sites in self.asked(first)}) > 6
        assert set().union(*self.asked(first)) == set(MANY.values()), "everybody's turn comes"
        assert same(*weights)
        answered = [event["sites"]["answered"] for event in first.events("round")]
        assert answered == self.asked(first)
        evaluated = [event["evaluated"]["answered"] for event in first.events("round")]
        assert all(len(sites) == 8 for sites in evaluated), "a round's CCC is of everybody"

    def test_never_fewer_than_the_quorum(self, tmp_path: Path) -> None:
        world = self.world(tmp_path / "a")
        world.conduct(rounds=2, quorum=5, fraction=0.1)
        assert all(len(sites) == 5 for sites in self.asked(world))

    def test_a_sample_that_failed_is_not_asked_again_also_after_a_crash(self, tmp_path: Path) -> None:
        """Which sites a second try asks must not depend on when the run was interrupted."""
        settings: dict[str, Any] = {"rounds": 2, "quorum": 2, "fraction": 0.25, "deadline_s": 5.0}

        def refuse(*_: object) -> Error:
            return Error(code=2, reason="no")

        probe = self.world(tmp_path / "probe")
        probe.conduct(**settings)
        bad = {self.asked(probe)[0][1]: refuse}
        whole = self.world(tmp_path / "whole", **bad)
        expected = whole.conduct(**settings)
        assert whole.events("round_failed")[0]["round"] == 1

        run = self.world(tmp_path / "run", **bad)

        def die_in_the_second_try(message: Message, site: str) -> RecordDict:
            if run.events("round_failed"):
                raise KeyboardInterrupt
            return self.reply(message, site)

        for site in run.sites.values():
            if site.name not in bad:
                site.train = die_in_the_second_try
        with pytest.raises(KeyboardInterrupt):
            run.conduct(**settings)
        again = self.world(tmp_path / "run", **bad)
        assert same(again.conduct(**settings), expected)
        assert self.asked(again)[2:] == self.asked(whole)[1:]


class TestWhoIsWaitedFor:
    def test_the_sites_that_were_there_are_waited_for(self, tmp_path: Path) -> None:
        """After a crash agents come back one by one; with the first two alone the model would be another."""
        settings: dict[str, Any] = {"rounds": 2, "quorum": 2}
        expected = conduct(tmp_path / "whole", **settings)
        before = new_world(tmp_path / "run")
        stop_after(before, 1)
        with pytest.raises(KeyboardInterrupt):
            before.conduct(**settings)

        after = new_world(tmp_path / "run")
        after.site["site-b"].online_from = 9.0
        assert same(after.conduct(**settings), expected)
        assert after.events("waiting")[0]["missing"] == ["site-b"]

    def test_also_in_the_first_round(self, tmp_path: Path) -> None:
        expected = conduct(tmp_path / "whole")
        before = new_world(tmp_path / "run")
        stop_after(before, 0)
        with pytest.raises(KeyboardInterrupt):
            before.conduct()
        after = new_world(tmp_path / "run")
        after.site["site-b"].online_from = 9.0
        assert same(after.conduct(), expected)

    def test_but_not_for_ever(self, tmp_path: Path) -> None:
        before = new_world(tmp_path / "run")
        stop_after(before, 1)
        with pytest.raises(KeyboardInterrupt):
            before.conduct(rounds=2)
        after = new_world(tmp_path / "run")
        after.site["site-b"].online_from = 1e9
        after.conduct(rounds=2)
        assert 30 <= after.clock.now < 40, "the run's wait, once"
        assert after.events("round")[-1]["sites"]["answered"] == ["site-a", "site-c"]


class TestWhatCannotGoOn:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        """A run of three rounds that was interrupted after the second."""
        world = new_world(tmp_path / "run-1")
        stop_after(world, 2)
        with pytest.raises(KeyboardInterrupt):
            world.conduct(**FEDADAM)
        return world.path

    def refused(self, run: Path, match: str) -> None:
        with pytest.raises(MienError, match=match) as caught:
            conduct(run, **FEDADAM)
        assert "\n" not in str(caught.value)

    def test_a_damaged_state(self, run: Path) -> None:
        file = run / "state" / "round-0002.safetensors"
        content = file.read_bytes()
        for damage in (
            content[: len(content) // 2],
            b"",
            b"\x00" * 100,
            content.replace(b"m/", b"q/", 1)[:-8],
        ):
            file.write_bytes(damage)
            self.refused(run, r"cannot go on: .*round-0002\.safetensors is damaged: .*start a new run")

    def test_a_state_of_another_rule(self, run: Path) -> None:
        weights = read_published(run / "models" / "run-1" / "round-0002")[1]
        Checkpoints(run, run / "models", "run-1", "fedyogi").save(
            2, weights, {}, {"event": "round", "round": 2}
        )
        self.refused(run, "it is of run run-1, round 2, rule fedyogi")

    def test_numbers_that_no_rule_remembers(self, run: Path) -> None:
        weights = read_published(run / "models" / "run-1" / "round-0002")[1]
        keep, event = Checkpoints(run, run / "models", "run-1", "fedadam"), {"event": "round", "round": 2}
        name = next(iter(weights))
        keep.save(2, weights, {f"m/{name}": np.full(weights[name].shape, np.nan)}, event)
        self.refused(run, f"m/{re.escape(name)} holds NaN")
        keep.save(2, weights, {f"m/{name}": np.zeros(1)}, event)
        self.refused(run, rf"m/{re.escape(name)} is float64\[1\]")

    def test_a_state_and_a_model_that_do_not_belong_together(self, run: Path) -> None:
        weights = read_published(run / "models" / "run-1" / "round-0001")[1]
        event = {"event": "round", "round": 2}
        Checkpoints(run, run / "models", "run-1", "fedadam").save(2, weights, {}, event)
        self.refused(run, "do not belong together")

    def test_a_state_that_is_gone(self, run: Path) -> None:
        (run / "state" / "round-0002.safetensors").unlink()
        self.refused(run, r"round-0002\.safetensors is missing")

    def test_models_that_are_gone(self, run: Path) -> None:
        """Beginning anew in silence would not be the same run."""
        (run / "models" / "run-1").rename(run / "elsewhere")
        self.refused(run, "round 1 of it was published, but its model is gone")

    def test_a_damaged_model(self, run: Path) -> None:
        (run / "models" / "run-1" / "round-0002" / "model.safetensors").write_bytes(b"x")
        with pytest.raises(ModelError, match="does not match its card"):
            conduct(run, **FEDADAM)

    def test_two_at_once(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mien_server.runs.journal.LOCK_PATIENCE_S", 0.05)
        journal = Journal(run)
        with pytest.raises(FederationError, match="another process conducts the run run-1"):
            conduct(run, **FEDADAM)
        journal.close()
        conduct(run, **FEDADAM)


def test_a_run_that_is_done_but_did_not_say_so_has_nothing_left_to_do(tmp_path: Path) -> None:
    expected = conduct(tmp_path / "run", **FEDADAM)
    journal = tmp_path / "run" / "rounds.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    world = new_world(tmp_path / "run")
    assert same(world.conduct(**FEDADAM), expected)
    assert world.grid.pushed == []
    assert len(world.events("finished")) == 1


def test_a_later_runs_model_stays_the_latest_while_nothing_new_is_there(tmp_path: Path) -> None:
    conduct(tmp_path / "run", **FEDADAM)
    latest = tmp_path / "run" / "models" / "latest"
    latest.unlink()
    latest.symlink_to("run-2/round-0001")
    conduct(tmp_path / "run", **FEDADAM)
    assert latest.readlink() == Path("run-2/round-0001")


def test_a_disk_that_is_full_while_the_state_is_written_loses_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    expected = conduct(tmp_path / "whole", **FEDADAM)
    run = tmp_path / "run"
    world = new_world(run)
    stop_after(world, 1)
    with pytest.raises(KeyboardInterrupt):
        world.conduct(**FEDADAM)
    state = small_disk / "state"
    (run / "state").rename(tmp_path / "kept")
    state.mkdir()
    (state / "round-0001.safetensors").write_bytes(
        (tmp_path / "kept" / "round-0001.safetensors").read_bytes()
    )
    (run / "state").symlink_to(state)
    stuffing = small_disk / "stuffing"
    with stuffing.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass

    with pytest.raises(
        StorageError, match=r"cannot write .*round-0002\.safetensors: No space left on device"
    ):
        conduct(run, **FEDADAM)
    assert [model.card.round for model in list_models(run / "models")] == [1], "no model without its state"
    assert [path.name for path in state.iterdir()] == ["round-0001.safetensors"], "nothing half-written"

    stuffing.unlink()
    assert same(conduct(run, **FEDADAM), expected)


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_state_is_private_and_bears_the_rules_whole_memory(tmp_path: Path, name: Any) -> None:
    conduct(tmp_path / "run-1", rounds=2, rule={"name": name})
    file = tmp_path / "run-1" / "state" / "round-0002.safetensors"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    found = Checkpoints(tmp_path / "run-1", tmp_path / "run-1" / "models", "run-1", name).last(TINY)
    assert found is not None
    rule = rule_from(RuleSettings(name=name))
    rule.restore(found.memory)
    assert {key: value.tobytes() for key, value in rule.state().items()} == {
        key: value.tobytes() for key, value in found.memory.items()
    }
    assert bool(found.memory) == (name != "fedavg")
    shapes = {key: array.shape for key, array in weights_of_tiny().items()}
    assert all(array.shape == shapes[key.split("/")[1]] for key, array in found.memory.items())


def weights_of_tiny() -> Weights:
    from mien_common.network import build

    return weights_of(build(TINY, 0))
