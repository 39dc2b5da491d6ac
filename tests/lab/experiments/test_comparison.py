"""Runs over processes: each once, whatever stops in between, and what fails is named."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any, Final

import numpy as np
import pytest
import torch

from mien_common.errors import MienError, SettingsError, StorageError
from mien_lab.corpora.corpus import Corpus
from mien_lab.experiments.comparison import Result, Standing, jobs, run_comparison
from mien_lab.experiments.comparison_folder import folder_name
from mien_lab.experiments.config import Config, read_config
from mien_lab.experiments.methods import run_job
from mien_lab.experiments.outcome import Job, Outcome
from mien_lab.experiments.results import load_outcome
from mien_lab.experiments.worker_messages import Broke, Ended, Material, Message

KINDS: Final = {"all": "centralised", "fed": "federated"}


class Listener:
    """An audience that remembers."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.made: list[Job] = []
        self.broke: dict[Job, str] = {}
        self.standings: list[Standing] = []
        self._stop_after = stop_after

    def began(self, every: Sequence[Job], done: Mapping[Job, Outcome], workers: int) -> None:
        assert workers
        self.said.append(f"{len(every)} runs, {len(done)} done")

    def say(self, line: str) -> None:
        self.said.append(line)

    def finished(self, outcome: Outcome, standing: Standing) -> None:
        self.made.append(outcome.job)
        self.standings.append(standing)
        if len(self.made) == self._stop_after:
            raise KeyboardInterrupt

    def failed(self, job: Job, reason: str, standing: Standing) -> None:
        self.broke[job] = reason
        self.standings.append(standing)

    def moved(self, standing: Standing) -> None:
        self.standings.append(standing)


class InProcess:
    """A crew without processes, for what does not depend on them: each costs seconds to start."""

    def __init__(self, material: Material, _workers: int, _log_file: Path) -> None:
        self._material = material
        self._job: Job | None = None

    @property
    def has_room(self) -> bool:
        return self._job is None

    def give(self, job: Job) -> None:
        self._job = job

    def next(self, _wait_s: float) -> tuple[Job, Message] | None:
        if self._job is None:
            return None
        job, self._job = self._job, None
        try:
            return job, Ended(run_job(job, self._material.corpus, self._material.config))
        except MienError as error:
            return job, Broke(str(error))

    def stop(self) -> None:
        return None


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in this process."""
    monkeypatch.setattr("mien_lab.experiments.comparison.Crew", InProcess)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def configured(**changes: Any) -> Config:
    """A comparison of four runs of a second."""
    values: dict[str, Any] = {
        "name": "tiny",
        "corpus": {"kind": "csv", "path": "x"},
        "split": {"kind": "k-fold", "folds": 2},
        "rounds": 2,
        "training": {"window_s": 4.0, "batch_windows": 4, "local_epochs": 1},
        "models": [{"name": "GRU", "architecture": {"hidden_units": 4, "layers": 1}}],
        "methods": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
        "device": "cpu",
    }
    return Config.model_validate(values | changes)


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Iterator[None]:
    """The report is tried by its own tests; here it costs seconds each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien_lab.experiments.report.draw_all", lambda *_: ())
        patch.setattr("mien_lab.experiments.statistics.RESAMPLES", 99)
        yield


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Any) -> Corpus:
    """Four people."""
    made: Corpus = tiny_corpus(frames=500)
    return made


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A comparison that nothing disturbed, by two workers."""
    out = tmp_path_factory.mktemp("whole")
    return out, run_comparison(configured(), corpus, out, 2, Listener())


def fingerprints(out: Path) -> dict[str, str]:
    """By run."""
    return {folder.name: load_outcome(folder).fitted for folder in sorted((out / "runs").iterdir())}


def test_every_combination_is_one_run(corpus: Corpus) -> None:
    config = configured(seeds=(1, 2))
    made = jobs(config, corpus)
    assert len(made) == len(set(made)) == 1 * 2 * 2 * 2
    assert {job.fold for job in made} == {"fold-1", "fold-2"}


def test_runs_are_kept_with_what_made_them(whole: tuple[Path, Result], corpus: Corpus) -> None:
    out, result = whole
    assert not result.failed
    assert not result.interrupted
    assert result.report is not None
    assert result.report.files[0].is_file()
    assert [outcome.job for outcome in result.outcomes] == list(jobs(configured(), corpus))
    kept = [load_outcome(out / "runs" / folder_name(job)) for job in jobs(configured(), corpus)]
    assert [outcome.fitted for outcome in kept] == [outcome.fitted for outcome in result.outcomes]
    record = json.loads((out / "comparison.json").read_text())
    assert record["seeds"] == [1]
    assert record["sessions"][0]["versions"]["torch"]
    assert record["sessions"][0]["machine"]["cpu"]


def test_each_test_person_is_predicted_once_by_each_method(
    whole: tuple[Path, Result], corpus: Corpus
) -> None:
    for method in ("all", "fed"):
        tested = [
            scored.participant
            for outcome in whole[1].outcomes
            if outcome.job.method == method
            for scored in outcome.scored
        ]
        assert sorted(tested) == sorted(corpus.participants)


@pytest.mark.usefixtures("in_process")
def test_a_stopped_comparison_goes_on_and_comes_to_the_same(
    whole: tuple[Path, Result], corpus: Corpus, tmp_path: Path
) -> None:
    first = Listener(stop_after=1)
    stopped = run_comparison(configured(), corpus, tmp_path, 1, first)
    assert stopped.interrupted
    assert len(stopped.outcomes) == 1
    assert stopped.report is not None
    second = Listener()
    result = run_comparison(configured(), corpus, tmp_path, 1, second)
    assert second.said[0] == "4 runs, 1 done"
    assert set(second.made) == set(jobs(configured(), corpus)) - set(first.made)
    assert not result.interrupted
    assert fingerprints(tmp_path) == fingerprints(whole[0])
    third = Listener()
    run_comparison(configured(), corpus, tmp_path, 1, third)
    assert (third.made, third.said[0]) == ([], "4 runs, 4 done")


@pytest.mark.usefixtures("in_process")
def test_a_damaged_run_is_made_again_and_that_is_said(
    whole: tuple[Path, Result], corpus: Corpus, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    copytree(whole[0], out)
    job = jobs(configured(), corpus)[2]
    (out / "runs" / folder_name(job) / "traces.npz").write_bytes(b"rubbish")
    listener = Listener()
    run_comparison(configured(), corpus, out, 1, listener)
    assert listener.made == [job]
    assert any("made again" in line and "traces.npz" in line for line in listener.said)
    assert fingerprints(out) == fingerprints(whole[0])


def test_the_configuration_that_is_kept_is_the_same_again(whole: tuple[Path, Result]) -> None:
    assert read_config(whole[0] / "config.toml").model_dump(exclude={"corpus"}) == configured().model_dump(
        exclude={"corpus"}
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"training": {"window_s": 4.0, "batch_windows": 4, "learning_rate": 0.5}},
            "training.learning_rate was 0.003 and is now 0.5",
        ),
        (
            {"methods": [{"name": "fed", "kind": "federated", "rule": {"name": "fedprox"}}]},
            "methods 'fed'.rule.name was \"fedavg\"",
        ),
        ({"split": {"kind": "leave-one-out"}}, "split.kind"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused_and_told(
    whole: tuple[Path, Result], corpus: Corpus, changes: dict[str, Any], named: str
) -> None:
    before = fingerprints(whole[0])
    with pytest.raises(SettingsError, match="--fresh") as caught:
        run_comparison(configured(**changes), corpus, whole[0], 1, Listener())
    assert named in str(caught.value)
    assert fingerprints(whole[0]) == before


def test_other_data_under_the_same_configuration_are_refused(
    whole: tuple[Path, Result], tiny_corpus: Any
) -> None:
    with pytest.raises(SettingsError, match="data were others"):
        run_comparison(configured(), tiny_corpus(frames=500, seed=2), whole[0], 1, Listener())


@pytest.mark.usefixtures("in_process")
def test_a_method_more_makes_only_its_own_runs_and_fresh_makes_all(
    whole: tuple[Path, Result], corpus: Corpus, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    copytree(whole[0], out)
    methods = [{"name": name, "kind": kind} for name, kind in KINDS.items()]
    more = configured(methods=[*methods, {"name": "alone", "kind": "local-only"}])
    listener = Listener()
    result = run_comparison(more, corpus, out, 2, listener)
    assert {job.method for job in listener.made} == {"alone"}
    assert len(result.outcomes) == 6
    (out / "mine.txt").write_text("kept")
    again = Listener()
    run_comparison(configured(rounds=1), corpus, out, 2, again, fresh=True)
    assert len(again.made) == 4
    assert len(fingerprints(out)) == 4
    assert (out / "mine.txt").read_text() == "kept"


@pytest.mark.usefixtures("in_process")
def test_fresh_never_touches_a_folder_that_holds_no_comparison(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "runs" / "somebodys").mkdir(parents=True)
    (tmp_path / "runs" / "somebodys" / "weights.bin").write_text("kept")
    run_comparison(configured(rounds=1), corpus, tmp_path, 1, Listener(), fresh=True)
    assert (tmp_path / "runs" / "somebodys" / "weights.bin").read_text() == "kept"


@pytest.mark.usefixtures("in_process")
def test_what_cannot_be_trained_on_is_named_by_each_run_and_kept(corpus: Corpus, tmp_path: Path) -> None:
    first, *others = corpus.recordings
    faceless = replace(corpus, recordings=(replace(first, valid=np.zeros_like(first.valid)), *others))
    config = configured(methods=[{"name": "alone", "kind": "local-only"}], split={"kind": "leave-one-out"})
    listener = Listener()
    result = run_comparison(config, faceless, tmp_path, 2, listener)
    assert set(listener.broke) == set(result.failed)
    assert all("P01" in reason and "Leave" in reason for reason in result.failed.values())
    assert len(result.failed) == 4
    assert result.report is None
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert set(record["failed"]) == {job.id for job in result.failed}


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A comparison of many runs in a process of its own."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import make_tiny_corpus
from test_comparison import Listener, configured
from mien_lab.experiments.comparison import run_comparison
from pathlib import Path
class Told(Listener):
    def finished(self, outcome, standing):
        print("finished", flush=True)
corpus = make_tiny_corpus(frames=500)
run_comparison(configured(seeds=tuple(range(100))), corpus, Path({str(tmp_path)!r}), 1, Told())
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    yield child
    child.kill()
    child.wait()
    assert child.stdout
    child.stdout.close()


@pytest.mark.usefixtures("in_process")
def test_killed_without_a_word_it_leaves_no_process_and_no_half_run(
    process: "subprocess.Popen[str]", tmp_path: Path, whole: tuple[Path, Result], corpus: Corpus
) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "finished\n"
    with pytest.raises(SettingsError, match="another `mien lab compare`"):
        run_comparison(configured(), corpus, tmp_path, 1, Listener())
    workers = [pid for pid in _children(process.pid) if "worker" in _command(pid)]
    assert len(workers) == 1
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any("worker" in _command(pid) for pid in workers):  # a zombie has no command line
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.02)
    process.wait()
    listener = Listener()
    config = configured(seeds=(0,))
    result = run_comparison(config, corpus, tmp_path, 1, listener)
    assert len(result.outcomes) == 4
    assert len(listener.made) < 4
    assert all(not folder.name.startswith(".") for folder in (tmp_path / "runs").iterdir())


def test_a_worker_that_is_killed_costs_its_run_only(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who is killed at the end is not waited for once it is dead."""
    patience_s = 400.0
    monkeypatch.setattr("mien_server.processes.STOP_PATIENCE_S", patience_s)

    class Killer(Listener):
        def finished(self, outcome: Outcome, standing: Standing) -> None:
            super().finished(outcome, standing)
            if len(self.made) == 1:
                for pid in _children(os.getpid()):
                    if "mien_lab.experiments.worker" in _command(pid):
                        os.kill(pid, signal.SIGKILL)

    listener = Killer()
    began = time.monotonic()
    result = run_comparison(configured(), corpus, tmp_path, 1, listener)
    assert time.monotonic() - began < patience_s
    assert len(result.failed) == 1
    assert "killed" in next(iter(result.failed.values()))
    assert len(result.outcomes) == 3
    assert listener.standings[-1].failed == 1


@pytest.mark.usefixtures("in_process")
def test_a_full_disk_ends_it_in_words(corpus: Corpus, small_disk: Path) -> None:
    with pytest.raises(StorageError, match="Free some space"):
        run_comparison(configured(seeds=tuple(range(30))), corpus, small_disk / "out", 1, Listener())


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
