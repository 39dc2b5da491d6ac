"""``mien lab compare`` as a person meets it: a table, a stop and a start, and one line for every error."""

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mien_common.architecture import Architecture
from mien_common.cli import main
from mien_lab.experiments.config import parse_config

Mien = Callable[..., "Done"]

COMMAND = [sys.executable, "-c", "from mien_common.cli import main; main()", "lab", "compare"]

CONFIG = """
name = "tiny"
rounds = {rounds}
seeds = {seeds}
device = "cpu"
corpus = {{ kind = "csv", path = "data" }}
split = {{ kind = "k-fold", folds = 2 }}
ratings = {{ lag_s = 0.4 }}
training = {{ local_epochs = 1, window_s = 4.0, batch_windows = 4 }}
models = [{{ name = "GRU", architecture = {{ hidden_units = 4, layers = 1 }} }}]
methods = [{{ name = "together", kind = "centralised" }}, {{ name = "apart", kind = "federated" }}]
"""


@dataclass(frozen=True)
class Done:
    """What a command left on the screen."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def mien(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """Runs ``mien lab compare`` in ``tmp_path``, in this process."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mien", "lab", "compare", *map(str, arguments)])
        monkeypatch.setattr("mien_server.logs.interrupt_on_signals", lambda: None)
        for name, value in {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main()
        return Done(left.value.code, *capsys.readouterr())

    return run


def write_people(folder: Path, people: int = 4, frames: int = 400) -> None:
    """CSV pairs of people who show what they feel, at 25 Hz, with two raters."""
    folder.mkdir(exist_ok=True)
    for person in range(people):
        random = np.random.default_rng(person)
        face = np.cumsum(random.normal(size=(frames, 3)), axis=0) * 0.1
        affect = np.clip(0.5 * np.tanh(face[:, :2]), -1, 1)
        times = np.arange(frames) / 25
        features = np.column_stack([times, face])
        ratings = np.column_stack([times, affect, 0.9 * affect])
        _write(folder / f"P{person}.features.csv", "time,a,b,c", features)
        _write(folder / f"P{person}.ratings.csv", "time,valence_X,arousal_X,valence_Y,arousal_Y", ratings)


def _write(file: Path, header: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    np.savetxt(file, values, fmt="%.5f", delimiter=",", header=header, comments="")


def configure(folder: Path, rounds: int = 2, seeds: str = "[1]", old: str = "", new: str = "") -> Path:
    """A comparison of four runs, with ``new`` in the place of ``old``."""
    text = CONFIG.format(rounds=rounds, seeds=seeds)
    assert old in text
    text = text.replace(old, new) if old else text
    file = folder / "compare.toml"
    file.write_text(text)
    return file


def error_of(done: Done) -> str:
    """The one line a failed command leaves."""
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_one_command_from_csv_files_to_a_table(
    mien: Mien, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_people(tmp_path / "data")
    constant = np.column_stack([np.arange(400) / 25, np.full(400, 0.25), np.linspace(-0.5, 0.5, 400)])
    _write(tmp_path / "data" / "P3.ratings.csv", "time,valence_X,arousal_X", constant)
    file = configure(tmp_path)
    import_module("matplotlib.font_manager")  # a home's first use of it warns where it takes over 5 s
    done = subprocess.run(
        [*COMMAND, str(file), "--workers", "1", "--check-leaks"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("no leak: ") == 2
    for run in ("together__seed-1__fold-1", "together__seed-1__fold-2", "apart__seed-1__fold-1"):
        assert f"GRU__{run} in " in done.stdout
    assert "\n4/4, 0 s left: " in done.stdout
    assert re.search(r"│ GRU +│ together +│ +2 │ +-?0\.\d{3} \(", done.stdout)
    out = tmp_path / "results" / "tiny"
    assert "summary.md" in done.stdout
    assert (out / "summary.md").is_file()
    assert "\\toprule" in (out / "table.tex").read_text()
    with (out / "recordings.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["participant"] == "P3"]
    undefined = [row for row in rows if row["target"] == "valence"]
    assert undefined
    for row in undefined:  # never 0 or 1, and with its reason
        assert row["ccc"] in ("", "nan", "NaN")
        assert any("constant" in value for value in row.values())
    monkeypatch.setattr("mien_lab.experiments.report.draw_all", lambda *_: ())
    events = [json.loads(line) for line in mien(file, "--json").stdout.splitlines()]
    assert (events[0]["event"], events[0]["done_before"], events[0]["runs"]) == ("began", 4, 4)
    assert events[-1]["event"] == "ended"
    assert {row["method"] for row in events[-1]["table"]} == {"together", "apart"}


def test_ctrl_c_in_a_terminal_leaves_nothing_running_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_people(tmp_path / "data")
    file = configure(tmp_path, rounds=3, seeds=str(list(range(200))))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, str(file), "--workers", "1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        start_new_session=True,
        env=os.environ | {"COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(theirs)
    progress = (
        r"[1-9]\d* of 800 runs done",
        r"\bleft\b",
        r"GRU__\w+__seed-\d+__fold-\d: (round|preparing)",
    )
    _read_until(ours, lambda shown: all(re.search(part, shown) for part in progress))
    process.send_signal(signal.SIGINT)
    last = _read_until(ours, None)
    assert process.wait() == 130
    os.close(ours)
    assert "the same command goes on from there" in last
    out = tmp_path / "results" / "tiny"
    assert "PARTIAL" in (out / "summary.md").read_text()
    assert list((out / "runs").iterdir())
    assert not [line for line in _commands() if str(process.pid) in line.split() and "worker" in line]


def _read_until(descriptor: int, enough: Callable[[str], bool] | None, patience_s: float = 240.0) -> str:
    """What a terminal shows until that is enough; with None until nobody has it open any more."""
    text, deadline = "", time.monotonic() + patience_s
    while time.monotonic() < deadline:
        ready, _, _ = select.select([descriptor], [], [], 0.1)
        if ready:
            try:
                text += os.read(descriptor, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                assert enough is None, f"it ended; the terminal shows {text[-2000:]}"
                return text
        if enough is not None and enough(text):
            return text
    raise AssertionError(f"waited in vain; the terminal shows {text[-2000:]}")


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("rounds = 2", "rounds = 0", "rounds: "),
        ("rounds = 2", "round = 2", "round: there is no such key. Did you mean rounds?"),
        ('device = "cpu"', 'device = "tpu"', "device: "),
        ("window_s = 4.0", "window_s = -4.0", "training.window_s: "),
        ('kind = "federated"', 'kind = "federated", rule = { name = "fedbest" }', "methods[1].rule.name"),
        (
            'kind = "federated"',
            'kind = "federated", rule = { name = "scaffold" }',
            "methods[1].rule (apart): training.optimiser",
        ),
        (
            'kind = "federated"',
            'kind = "federated", rule = { name = "krum", byzantine_sites = 1 }',
            "krum needs 5 sites a round",
        ),
        (
            'kind = "federated"',
            'kind = "federated", personalisation = "local-head"',
            "methods[1].personalisation",
        ),
        ("folds = 2", "folds = 9", "split.folds"),
        ('kind = "k-fold", folds = 2', 'kind = "official"', "split.kind"),
        ('"data"', '"nowhere"', "nowhere"),
        ('path = "data"', 'path = "data", features = "AU"', "corpus.features: csv has one set"),
        ("seeds = [1]", "seeds = [1, 1]", "seeds"),
        ('name = "tiny"', 'name = "tiny', "is not TOML"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line_with_file_and_key(
    mien: Mien, tmp_path: Path, old: str, new: str, named: str
) -> None:
    write_people(tmp_path / "data", frames=60)
    line = error_of(mien(configure(tmp_path, old=old, new=new)))
    assert named in line
    assert "compare.toml" in line or "nowhere" in line


def _without_raters(data: Path) -> str:
    (data / "P1.ratings.csv").unlink()
    return "P1"


def _of_two_schemas(data: Path) -> str:
    text = (data / "P2.features.csv").read_text()
    (data / "P2.features.csv").write_text(text.replace("time,a,b,c", "time,a,b,d"))
    return "P2.features.csv"


def _without_a_valid_frame(data: Path) -> str:
    lines = (data / "P0.features.csv").read_text().splitlines()
    (data / "P0.features.csv").write_text(
        "\n".join([f"{lines[0]},valid", *(f"{line},0" for line in lines[1:])])
    )
    return "P0"


def _out_of_range(data: Path) -> str:
    text = (data / "P0.ratings.csv").read_text().splitlines()
    (data / "P0.ratings.csv").write_text("\n".join([*text[:5], "0.2,7,0,0,0", *text[6:]]))
    return "P0.ratings.csv"


def _constant_and_weighted(data: Path) -> str:
    """What no run could use is said before the first of them."""
    times = np.arange(60) / 25
    flat = np.column_stack([times, *[np.full(60, 0.25)] * 4])
    _write(data / "P3.ratings.csv", "time,valence_X,arousal_X,valence_Y,arousal_Y", flat)
    file = data.parent / "compare.toml"
    file.write_text(file.read_text().replace('path = "data"', 'path = "data", gold_standard = "weighted"'))
    return "P3.features.csv: recording P3, valence"


def _given_and_not_there(data: Path) -> str:
    file = data.parent / "compare.toml"
    file.write_text(file.read_text().replace('path = "data"', 'path = "data", gold_standard = "given"'))
    return "comes without a gold standard"


@pytest.mark.parametrize(
    "spoil",
    [
        _without_raters,
        _of_two_schemas,
        _without_a_valid_frame,
        _out_of_range,
        _constant_and_weighted,
        _given_and_not_there,
    ],
)
def test_data_that_cannot_be_used_are_one_line_with_the_file(
    mien: Mien, tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    write_people(tmp_path / "data", frames=60)
    file = configure(tmp_path)
    named = spoil(tmp_path / "data")
    assert named in error_of(mien(file))


def test_presets_can_be_printed_edited_and_run_from_the_file(mien: Mien, tmp_path: Path) -> None:
    for name in ("mase2021", "avec2016", "puppet", "synthetic"):
        done = mien("--preset", name, "--print")
        assert done.returncode == 0
        (tmp_path / "mine.toml").write_text(done.stdout)
        printed = mien(tmp_path / "mine.toml", "--print")
        assert printed.returncode == 0
        assert f'name = "{name}"' in printed.stdout


def test_the_documented_configurations_hold_and_name_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    every, ours = re.findall(r"```toml\n(.*?)```", page, flags=re.S)
    for text in (every, ours):
        parse_config(text, "docs/compare.md", Path())
    whole = parse_config(every, "docs/compare.md", Path())
    parts = (whole, whole.corpus, whole.split, whole.ratings, whole.training, whole.methods[0])
    names = {name for part in parts for name in type(part).model_fields}
    names |= set(Architecture.model_fields) - {"channels"}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b( = |\])", every)] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "a TOML file or --preset"),
        (("--preset", "nope"), "mase2021, avec2016, puppet, synthetic"),
        (("--preset", "avec2016"), "--data"),
        (("--preset", "synthetic", "--data", "."), "Leave --data out"),
        (("nowhere.toml",), "nowhere.toml"),
        (("compare.toml", "--preset", "synthetic"), "one of the two"),
        (("compare.toml", "--data", "elsewhere"), "elsewhere"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(
    mien: Mien, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    configure(tmp_path)
    assert named in error_of(mien(*arguments))
