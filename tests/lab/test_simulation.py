"""Many tiny sites: the same weights whoever trains them, memory that stands still, nothing left behind."""

import gc
import hashlib
import json
import os
import signal
import subprocess
import time
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mien_client.client_app import window_seed
from mien_client.rated_recording import Recording
from mien_client.training import local_update
from mien_common.architecture import Architecture
from mien_common.errors import MienError, SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_common.weights import Weights, to_safetensors, weights_of
from mien_lab.cli import app
from mien_lab.corpora.synthetic import make_person, make_recording
from mien_lab.mien_command import mien
from mien_lab.recent_recordings import RecentRecordings
from mien_lab.simulated_site import SimulatedSite, name_of, number_of
from mien_lab.simulated_visits import TrainOrder, blocks_of
from mien_lab.simulation import (
    SimulatedRound,
    SimulationSettings,
    run,
    shared_of,
    simulate,
)
from mien_lab.simulation_crew import InThisProcess, Workers
from mien_server.rules.settings import RuleSettings

TINY = SimulationSettings(
    sites=6,
    rounds=2,
    seconds=6.0,
    architecture=Architecture(hidden_units=4, layers=1),
    training=TrainingSettings(local_epochs=1, window_s=2.0, batch_windows=4),
    validation_sites=3,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def in_this_process(settings: SimulationSettings) -> tuple[Weights, list[SimulatedRound]]:
    points: list[SimulatedRound] = []
    result = run(settings, InThisProcess(shared_of(settings)), points.append, time.monotonic())
    return result.weights, points


def test_weights_do_not_depend_on_the_number_of_workers() -> None:
    """To the last bit; and they are those of one process that does everything.

    One worker: see the test of the command, which compares fingerprints.
    """
    alone, _ = in_this_process(TINY)
    result = simulate(TINY, 2)
    for name, array in alone.items():
        np.testing.assert_array_equal(result.weights[name], array)
    assert len(result.rounds[-1].workers_peak_mb) == 2


def test_blocks_are_made_of_the_sites_alone() -> None:
    """As equal as can be, in order, none too large for memory, and two where there are two sites."""
    names = [name_of(number) for number in range(60)]
    assert [len(block) for block in blocks_of(names, 12.0)] == [20, 20, 20]
    assert [site for block in blocks_of(names, 12.0) for site in block] == names
    assert [len(block) for block in blocks_of(names[:3], 12.0)] == [1, 2]
    assert [len(block) for block in blocks_of(names[:1], 12.0)] == [1]
    assert blocks_of([], 12.0) == ()
    assert {len(block) for block in blocks_of(names, 3600.0)} == {1}


def test_few_recordings_are_kept_and_many_made_anew() -> None:
    made: list[int] = []

    def make(number: int) -> Recording:
        made.append(number)
        return Recording(np.zeros((10, 40), np.float32), np.zeros((10, 2), np.float32), np.ones(10, bool))

    recent = RecentRecordings(most_frames=30)
    for number in (1, 2, 3, 1, 2, 3):
        recent.get(number, partial(make, number))
    assert made == [1, 2, 3]
    for number in (4, 3, 1):
        recent.get(number, partial(make, number))
    assert made == [1, 2, 3, 4, 1]


def test_a_round_is_fedavg_over_the_deployed_training() -> None:
    """McMahan et al. (2017), Algorithm 1, written out: weights plus the mean update by frames."""
    sgd = TINY.training.model_copy(update={"optimiser": "sgd", "learning_rate": 0.1})
    settings = replace(TINY, rounds=1, training=sgd)
    weights = weights_of(build(settings.architecture, settings.seed))
    updates = [
        local_update(
            weights,
            settings.architecture,
            [SimulatedSite(settings.seed, number, settings.seconds).training()],
            settings.training,
            window_seed(settings.seed, 1, name_of(number)),
            torch.device("cpu"),
        )
        for number in range(settings.sites)
    ]
    frames = sum(update.result.frames for update in updates)
    made, points = in_this_process(settings)
    for name, array in made.items():
        mean = sum(update.result.frames / frames * update.delta[name].astype(float) for update in updates)
        np.testing.assert_allclose(array, weights[name] + mean, atol=3e-7)
    losses = sum(update.result.frames * update.result.loss for update in updates)
    assert points[0].loss == pytest.approx(losses / frames)


def test_memory_does_not_grow_with_the_sites() -> None:
    """Neither at its peak nor afterwards; the updates of 140 more sites alone would be 140 times one.

    Not nothing: among more sites there are longer recordings, and Python keeps some freed blocks. With 100
    sites there are several blocks of them already, and all the recordings that are kept.
    """
    in_this_process(TINY)  # what PyTorch makes once
    peaks, kept = {}, {}
    architecture = Architecture(hidden_units=16, layers=1)
    training = TINY.training.model_copy(update={"window_s": 0.5, "batch_windows": 64})
    for sites in (100, 240):
        settings = replace(TINY, sites=sites, rounds=1, architecture=architecture, training=training)
        gc.collect()
        tracemalloc.start()
        try:
            in_this_process(settings)
            gc.collect()
            kept[sites], peaks[sites] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    one_update = 4 * sum(array.size for array in weights_of(build(architecture, 0)).values())
    assert peaks[240] - peaks[100] < 40 * one_update
    assert kept[240] - kept[100] < 20 * one_update


def test_a_site_is_the_same_person_whenever_its_turn_comes() -> None:
    first, again = (SimulatedSite(3, 4, 6.0) for _ in range(2))
    np.testing.assert_array_equal(first.training().inputs, again.training().inputs)
    assert not np.array_equal(first.training().inputs[:50], first.validation().inputs[:50])
    person = make_person(3, 4, raters=1)
    features = make_recording(person, 3, 4, 0, seconds=6.0 + 2.8 / person.length).features
    known = np.isfinite(features)
    standard = (features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0)
    np.testing.assert_allclose(first.training().inputs[known], standard[known], atol=1e-3)
    assert [number_of(name_of(number)) for number in (0, 12345)] == [0, 12345]


def test_participation_asks_some_sites_only_and_others_the_next_round() -> None:
    _, points = in_this_process(replace(TINY, sites=10, participation=0.3))
    assert [point.sites for point in points] == [3, 3]


def test_rules_that_cannot_be_simulated_are_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"scaffold.*mien lab compare"):
        simulate(replace(TINY, rule=RuleSettings(name="scaffold")), 1)
    with pytest.raises(SettingsError, match="krum needs 5 sites a round and 2 take part"):
        simulate(replace(TINY, sites=2, rule=RuleSettings(name="krum", byzantine_sites=1)), 1)


def test_robust_rules_work_too() -> None:
    weights, _ = in_this_process(replace(TINY, rounds=1, rule=RuleSettings(name="median")))
    assert all(np.isfinite(array).all() for array in weights.values())


def test_a_worker_that_dies_ends_the_simulation_with_a_sentence() -> None:
    crew = Workers(shared_of(TINY), 1)
    (worker,) = crew._workers
    os.kill(worker.process.pid, signal.SIGKILL)
    weights = weights_of(build(TINY.architecture, 0))
    try:
        with pytest.raises(MienError, match="worker process of the simulation ended with -9"):
            list(crew.train(TrainOrder(1, weights, (("site-000000",),))))
    finally:
        crew.stop()


def test_the_command_prints_a_line_per_round_and_a_fingerprint() -> None:
    arguments = ["simulate", "--sites", "4", "--rounds", "2", "--seconds", "6", "--workers", "1", "--json"]
    lines = [json.loads(line) for line in CliRunner().invoke(app, arguments).stdout.splitlines()]
    assert [line["event"] for line in lines] == ["round", "round", "done"]
    assert lines[0]["sites"] == 4
    again, _ = in_this_process(SimulationSettings(sites=4, rounds=2, seconds=6.0))
    assert lines[-1]["weights_sha256"] == hashlib.sha256(to_safetensors(again)).hexdigest()


@pytest.mark.parametrize(
    ("wrong", "said"), [("--rule=fedsgd", "no such rule"), ("--participation=0", "share above 0")]
)
def test_the_command_says_what_is_wrong(wrong: str, said: str) -> None:
    assert said in str(CliRunner().invoke(app, ["simulate", wrong]).exception)


def test_ctrl_c_leaves_nothing_running() -> None:
    command = mien("lab", "simulate", "--sites", 4, "--rounds", 10000, "--seconds", 5, "--workers", 1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as simulation:
        assert simulation.stdout is not None
        first = [simulation.stdout.readline() for _ in range(3)]
        assert first[1].split() == ["round", "seconds", "sites/s", "loss", "valence", "arousal", "peak", "MB"]
        assert first[2].split()[0] == "1"
        children = _children(simulation.pid)
        assert len(children) == 1
        simulation.send_signal(signal.SIGINT)
        out, err = simulation.communicate(timeout=120)
    assert simulation.returncode == 130
    assert "nothing is left running" in out
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(process: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found |= set(map(int, (task / "children").read_text().split()))
    return found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rule", "bulyan"], "tell bulyan how many sites may be hostile"),
        (["--rule", "median", "--byzantine-sites", "1"], "--rule median does not look at it"),
        (["--rule", "krum", "--byzantine-sites", "1", "--sites", "4"], "krum needs 5 sites a round"),
    ],
)
def test_rules_against_hostile_sites_are_told_how_many(options: list[str], said: str) -> None:
    assert said in str(CliRunner().invoke(app, ["simulate", *options]).exception)
