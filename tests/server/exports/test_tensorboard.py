"""Event files, read back by TensorBoard's own reader, which checks every checksum."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mien_common.errors import StorageError
from mien_server.exports import tensorboard
from mien_server.exports.series import MOST_SITES
from mien_server.exports.tensorboard import FILE, TensorBoard
from mien_server.folder import ServerFolder
from mien_server.runs.journal import Event, new_event

from .made_journal import journal_file, made_run, old_round_event, round_event, write


@pytest.fixture
def run(folder: ServerFolder) -> str:
    return made_run(folder)


def read(folder: ServerFolder, run: str) -> Any:
    """As TensorBoard reads the run's folder."""
    found: Any = EventAccumulator(str((folder.runs / run / FILE).parent), size_guidance={"scalars": 0})
    found.Reload()
    return found


def steps(folder: ServerFolder, run: str, tag: str = "loss/mean") -> list[int]:
    return [point.step for point in read(folder, run).Scalars(tag)]


def done(follower: TensorBoard, folder: ServerFolder, run: str, *numbers: int) -> None:
    """Rounds are done: written to the journal, and handed to the follower."""
    for number in numbers:
        event = round_event(number)
        write(folder, run, event)
        follower.take(folder, run, event)


def test_a_point_for_every_round_with_its_own_time(folder: ServerFolder, run: str) -> None:
    done(TensorBoard(), folder, run, 1, 2, 3)

    points = read(folder, run).Scalars("ccc/valence_pooled")

    assert [(point.step, point.value) for point in points] == [(1, 1 / 32), (2, 2 / 32), (3, 3 / 32)]
    times = [
        dt.datetime.fromtimestamp(point.wall_time, dt.UTC).isoformat(timespec="milliseconds")
        for point in points
    ]
    assert times == [round_event(number)["time"] for number in (1, 2, 3)]


def test_everything_that_is_known_has_a_curve(folder: ServerFolder, run: str) -> None:
    done(TensorBoard(), folder, run, 1, 2)

    found = read(folder, run)
    tags = found.Tags()["scalars"]

    assert {
        *("ccc/valence_pooled", "ccc/valence_mean_over_recordings", "ccc/valence_worst_site"),
        *("ccc/valence_spread", "loss/mean", "loss/worst_site", "loss/spread", "bytes/up", "bytes/down"),
        *("seconds/wait", "seconds/train", "seconds/transfer", "seconds/aggregate", "seconds/evaluate"),
        *("seconds/total", "round/frames", "round/sites_asked", "round/sites_answered", "round/attempts"),
        *(f"site/lab-1/{name}" for name in ("loss", "frames", "update_norm", "seconds", "valence_ccc")),
    } <= set(tags)
    assert found.Scalars("round/frames")[0].value == 3 * 1001
    assert found.Scalars("site/lab-1/loss")[0].value == 1.25
    assert [point.step for point in found.Scalars("site/lab-2/loss")] == [1]  # it failed in the second


def test_what_is_not_known_has_none(folder: ServerFolder, run: str) -> None:
    done(TensorBoard(), folder, run, 1)

    tags = read(folder, run).Tags()["scalars"]

    assert not [tag for tag in tags if tag.startswith(("ccc/arousal", "privacy/", "site/lab-1/arousal"))]


def test_a_journal_of_an_older_version_gives_what_it_has(folder: ServerFolder, run: str) -> None:
    write(folder, run, old_round_event(1))
    TensorBoard().take(folder, run, old_round_event(1))

    found = read(folder, run)

    assert found.Scalars("seconds/total")[0].value == 3.0
    assert "seconds/wait" not in found.Tags()["scalars"]


def test_taken_up_from_the_beginning_of_the_journal_again_no_round_comes_twice(
    folder: ServerFolder, run: str
) -> None:
    done(TensorBoard(), folder, run, 1, 2, 3)

    again = TensorBoard()
    for number in (1, 2, 3):
        again.take(folder, run, round_event(number))
    done(again, folder, run, 4)

    assert steps(folder, run) == [1, 2, 3, 4]


def test_rounds_that_were_done_while_nobody_followed_are_added(folder: ServerFolder, run: str) -> None:
    done(TensorBoard(), folder, run, 1)
    write(folder, run, *(round_event(number) for number in (2, 3)))

    TensorBoard().take(folder, run, round_event(2))

    assert steps(folder, run) == [1, 2, 3]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_follower_that_died_while_writing_leaves_no_trace(folder: ServerFolder, run: str, cut: int) -> None:
    """Whatever byte it came to: of the record's length, of its checksums, or of its content."""
    done(TensorBoard(), folder, run, 1, 2)
    file = folder.runs / run / FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])

    done(TensorBoard(), folder, run, 3)

    assert steps(folder, run) == [1, 2, 3]
    assert file.read_bytes().startswith(whole)


@pytest.mark.parametrize("damage", ["deleted", "emptied", "changed", "longer", "folder deleted"])
def test_a_file_that_somebody_spoilt_is_mended_by_the_next_round(
    folder: ServerFolder, run: str, damage: str
) -> None:
    follower = TensorBoard()
    done(follower, folder, run, 1, 2)
    file = folder.runs / run / FILE
    content = file.read_bytes()
    match damage:
        case "deleted":
            file.unlink()
        case "emptied":
            file.write_bytes(b"")
        case "changed":
            file.write_bytes(content[:30] + b"\0" * 40)
        case "longer":
            file.write_bytes(content + b"\0" * 40)
        case "folder deleted":
            file.unlink()
            file.parent.rmdir()

    done(follower, folder, run, 3)

    assert steps(folder, run) == [1, 2, 3]
    assert [entry.name for entry in file.parent.iterdir()] == [FILE.name]  # and no draft is left


def test_half_a_file_of_a_follower_that_died_is_not_read_as_another_one(
    folder: ServerFolder, run: str
) -> None:
    done(TensorBoard(), folder, run, 1, 2)
    file = folder.runs / run / FILE
    (file.parent / f".{file.name}.x7f3a_").write_bytes(file.read_bytes())

    done(TensorBoard(), folder, run, 3)

    assert [entry.name for entry in file.parent.iterdir()] == [FILE.name]
    assert steps(folder, run) == [1, 2, 3]


def test_tensorboard_follows_it_while_it_grows(folder: ServerFolder, run: str) -> None:
    follower = TensorBoard()
    done(follower, folder, run, 1)
    watching = read(folder, run)
    seen = []
    for number in (2, 3):
        done(follower, folder, run, number)
        watching.Reload()
        seen.append([point.step for point in watching.Scalars("loss/mean")])

    assert seen == [[1, 2], [1, 2, 3]]


def test_runs_have_files_of_their_own(folder: ServerFolder, run: str) -> None:
    other = made_run(folder)
    follower = TensorBoard()
    done(follower, folder, run, 1)
    done(follower, folder, other, 1, 2)
    done(follower, folder, run, 2, 3)

    assert (steps(folder, run), steps(folder, other)) == ([1, 2, 3], [1, 2])


def test_other_events_make_no_file(folder: ServerFolder, run: str) -> None:
    event = new_event("started", run=run, rounds=2, rule="fedavg", quorum=2)
    write(folder, run, event)
    TensorBoard().take(folder, run, event)

    assert not (folder.runs / run / FILE).parent.exists()


def test_a_damaged_line_of_the_journal_costs_that_line_only(folder: ServerFolder, run: str) -> None:
    write(folder, run, round_event(1))
    with journal_file(folder, run).open("ab") as journal:
        journal.write(b'{"event": "round", "time": "2026-11-23T10:00:00+00:00", "round": "x"}\n[]\n\xff\n')
    done(TensorBoard(), folder, run, 2)

    assert steps(folder, run) == [1, 2]


def test_a_round_that_lacks_a_part_holds_up_no_other(folder: ServerFolder, run: str) -> None:
    follower = TensorBoard()
    damaged = {"event": "round", "time": "2026-11-23T10:00:00+00:00", "round": 2}
    for event in (damaged, round_event(1), damaged, round_event(3)):
        write(folder, run, event)
        follower.take(folder, run, event)

    assert steps(folder, run) == [1, 3]


def test_a_full_disk_is_said_and_costs_no_round(
    folder: ServerFolder, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: bytes) -> None:
        """Takes a part, as a disk does that is nearly full."""
        with file.open("ab") as opened:
            opened.write(content[:20])
        raise StorageError(f"cannot write {file}: No space left on device")

    follower = TensorBoard()
    done(follower, folder, run, 1)
    write(folder, run, round_event(2))
    with monkeypatch.context() as patch:
        patch.setattr(tensorboard, "_append", full)
        patch.setattr(tensorboard, "write_atomic", full)
        for _ in range(2):
            with pytest.raises(StorageError, match="No space left"):
                follower.take(folder, run, round_event(2))

    follower.take(folder, run, round_event(2))

    assert steps(folder, run) == [1, 2]


def test_a_file_stays_bounded(
    folder: ServerFolder, run: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "MOST_BYTES", 9000)
    follower = TensorBoard()
    done(follower, folder, run, *range(1, 21))
    size = (folder.runs / run / FILE).stat().st_size
    done(TensorBoard(), folder, run, 21)

    assert size <= 9000
    assert (folder.runs / run / FILE).stat().st_size == size
    assert caplog.text.count("event=tensorboard_file_full") == 1
    assert steps(folder, run) == list(range(1, len(steps(folder, run)) + 1))


def test_a_thousand_sites_get_no_curves_of_their_own(folder: ServerFolder, run: str) -> None:
    sites = tuple(f"lab-{number}" for number in range(MOST_SITES + 1))
    event = round_event(1, sites=sites)
    write(folder, run, event)
    TensorBoard().take(folder, run, event)

    tags = read(folder, run).Tags()["scalars"]
    assert "loss/mean" in tags
    assert not [tag for tag in tags if tag.startswith("site/")]


def test_loads_neither_pytorch_nor_tensorboard_and_leaves_nothing_behind(
    folder: ServerFolder, run: str, tmp_path: Path
) -> None:
    """In a process of its own, with a home and a working folder of its own."""
    event: Event = round_event(1)
    write(folder, run, event)
    before = set(folder.path.rglob("*"))
    (tmp_path / "home").mkdir()
    script = f"""
import importlib.util, sys, threading
from pathlib import Path
from mien_server.exports.tensorboard import TensorBoard
from mien_server.folder import open_folder
from tests_event import event
TensorBoard().take(open_folder(Path({str(folder.path)!r})), {run!r}, event)
loaded = {{name.partition('.')[0] for name in sys.modules}}
print(sorted(loaded & {{"torch", "tensorboard", "tensorflow", "flwr"}}))
print(threading.active_count())
print(importlib.util.find_spec("torch") is not None)
"""
    (tmp_path / "home" / "tests_event.py").write_text(f"event = {event!r}")
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "home",
        env={
            "HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(tmp_path / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.splitlines() == ["[]", "1", "True"], found.stderr
    assert set(folder.path.rglob("*")) - before == {
        folder.runs / run / FILE,
        (folder.runs / run / FILE).parent,
    }
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["tests_event.py"]
