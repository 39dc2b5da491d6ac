"""The face process: 20 numbers come out of a frame, and nothing of the frame goes anywhere."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.face import process as face_process
from mien_client.face.process import FaceProcess
from mien_client.frames import Frame
from mien_client.observations import FaceState
from mien_client.sources import open_source
from mien_common.errors import ConfinementError
from mien_common.schema import STATIC_CHANNELS

from ...waiting import wait_until
from ..conftest import has_ended

Image = NDArray[np.uint8]

SHAPE = (480, 640)
PATIENCE_S = 120.0
"""A worker loads MediaPipe, for which a busy machine needs its time."""


def film(images: list[Image], start_s: float = 0.0) -> Iterator[Frame]:
    return (Frame(start_s + number * 0.04, image) for number, image in enumerate(images))


@pytest.fixture(scope="module")
def blank() -> Image:
    return np.full((*SHAPE, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def running(astronaut: Image) -> Iterator[FaceProcess]:
    """A face process that has seen a face; for tests that only look at it."""
    with FaceProcess(*SHAPE) as face:
        list(face.analyse(film([astronaut])))
        yield face


def test_a_face_becomes_twenty_numbers_and_an_empty_room_none(
    running: FaceProcess, astronaut: Image, blank: Image
) -> None:
    seen = list(running.analyse(film([astronaut, blank, blank, astronaut, astronaut], start_s=10.0)))
    assert [observation.time_s for observation in seen] == pytest.approx([10.0, 10.04, 10.08, 10.12, 10.16])
    assert [observation.state == FaceState.NO_FACE for observation in seen] == [
        False,
        True,
        True,
        False,
        False,
    ]
    values = dict(zip(STATIC_CHANNELS, np.asarray(seen[0].values).tolist(), strict=True))
    assert len(values) == 20
    assert all(np.isfinite(value) for value in values.values())
    assert values["AU12_r"] > 2.0, "Eileen Collins smiles in her portrait"
    assert values["AU45_r"] < 2.0, "and her eyes are open"
    assert all(abs(values[name]) < 0.6 for name in ("pose_Rx", "pose_Ry", "pose_Rz"))


def test_a_tilted_picture_is_a_rolled_head(running: FaceProcess, astronaut: Image) -> None:
    rolls = []
    for degrees in (-15, 15):
        turn = cv2.getRotationMatrix2D((330, 200), degrees, 1.0)
        picture = np.asarray(cv2.warpAffine(astronaut, turn, (640, 480)), np.uint8)
        values = list(running.analyse(film([picture] * 4, start_s=20.0)))[-1].values
        assert values is not None
        rolls.append(float(values[STATIC_CHANNELS.index("pose_Rz")]))
    # Counter-clockwise on the picture is positive about the axis that points to the camera.
    assert np.degrees(rolls[1] - rolls[0]) == pytest.approx(30, abs=6)


def test_every_thread_of_the_worker_is_confined(running: FaceProcess) -> None:
    states = [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        for task in Path(f"/proc/{running.pid}/task").iterdir()
    ]
    assert states
    assert {state["Seccomp"] for state in states} == {"2"}
    assert {state["NoNewPrivs"] for state in states} == {"1"}


def test_the_worker_holds_two_pipes_and_a_null_of_its_own(running: FaceProcess) -> None:
    """Not even the frames: their memory is mapped, its descriptor closed. A library may hold an event."""
    folder = Path(f"/proc/{running.pid}/fd")
    held = {int(entry.name): str(entry.readlink()) for entry in folder.iterdir()}
    assert held.pop(0).startswith("pipe:")
    assert held.pop(1).startswith("pipe:")
    assert held.pop(2) == "/dev/null"
    assert set(held.values()) <= {"anon_inode:[eventfd]", "anon_inode:[eventpoll]"}


def test_the_frames_have_no_name_in_any_file_system(running: FaceProcess) -> None:
    mapped = Path(f"/proc/{running.pid}/maps").read_text()
    writable = [line for line in mapped.splitlines() if re.search(r" [r-]w[x-]s ", line)]
    assert writable
    assert all("/memfd:mien-frames (deleted)" in line for line in writable), writable


def test_the_worker_gets_no_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SECRET", "token")
    with FaceProcess(48, 64) as face:
        assert b"MIEN_SECRET" not in Path(f"/proc/{face.pid}/environ").read_bytes()


def test_frames_are_wiped_after_use_and_after_the_end(astronaut: Image) -> None:
    face = FaceProcess(*SHAPE)
    list(face.analyse(film([astronaut] * 4)))
    assert not face._child._frames.any(), "a frame was left in the shared memory after its analysis"
    face.begin()
    os.kill(face.pid, signal.SIGSTOP)  # it wipes nothing now: what is handed over stays where it is
    face._submit(Frame(1.0, astronaut))
    assert face._child._frames.any()
    face.close()
    assert not face._child._frames.any(), "a frame was left in the shared memory after the end"
    assert has_ended(face.pid)


def test_landmarks_come_only_where_they_are_asked_for(astronaut: Image) -> None:
    with FaceProcess(*SHAPE, outcome="landmarks") as face:
        (seen,) = face.landmarks(film([astronaut]))
    assert seen is not None
    assert seen.shape == (478, 3)
    assert ((seen[:, 0] > 0) & (seen[:, 0] < 640)).all()
    assert ((seen[:, 1] > 0) & (seen[:, 1] < 480)).all()


def test_a_killed_worker_costs_the_frames_it_held_and_the_recording_goes_on(
    astronaut: Image, caplog: pytest.LogCaptureFixture
) -> None:
    with FaceProcess(*SHAPE) as face:
        analysis = face.analyse(film([astronaut] * 40))
        seen = [next(analysis)]
        killed = face.pid
        os.kill(killed, signal.SIGKILL)
        # Until its last thread is gone its pipes stay open, and frames handed over meanwhile are lost, too.
        os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
        seen += list(analysis)
        assert face.restarts == 1
    assert [observation.time_s for observation in seen] == pytest.approx(np.arange(40) * 0.04)
    lost = [number for number, observation in enumerate(seen) if observation.state == FaceState.NO_FRAME]
    assert 1 <= len(lost) <= 8
    assert lost == list(range(lost[0], lost[-1] + 1)), "frames are lost once, together"
    assert lost[-1] <= 9, "only the frames in flight may be lost"
    assert {observation.state for observation in seen} == {FaceState.SEEN, FaceState.NO_FRAME}
    assert all(np.isnan(seen[number].values).all() for number in lost)
    assert "ended unexpectedly (status -9); another takes over" in caplog.text


def test_a_worker_that_hangs_is_ended_and_replaced(astronaut: Image) -> None:
    with FaceProcess(*SHAPE, frame_deadline_s=1.0) as face:
        hung = face.pid
        os.kill(hung, signal.SIGSTOP)
        analysis = face.analyse(film([astronaut] * 12))
        seen = [next(analysis)]
        assert face.pid != hung
        face._frame_deadline_s = PATIENCE_S  # of the new one nothing is asked but its frames
        seen += list(analysis)
        wait_until(lambda: has_ended(hung), "the stopped worker is gone")
    assert [observation.state for observation in seen] == [FaceState.NO_FRAME] * 8 + [FaceState.SEEN] * 4


def test_a_slow_recording_too_loses_no_more_than_a_second(astronaut: Image) -> None:
    slow = (Frame(number * 0.4, astronaut) for number in range(12))
    with FaceProcess(*SHAPE) as face:
        analysis = face.analyse(slow)
        seen = [next(analysis)]
        os.kill(face.pid, signal.SIGKILL)
        seen += list(analysis)
    lost = [observation.time_s for observation in seen if observation.state == FaceState.NO_FRAME]
    assert 1 <= len(lost) <= 3
    assert lost[-1] - lost[0] < 1.0


def test_while_a_live_worker_is_replaced_frames_are_missing_and_nobody_waits(astronaut: Image) -> None:
    with FaceProcess(*SHAPE) as face:
        assert face.observe(Frame(0.0, astronaut)).state == FaceState.SEEN
        os.kill(face.pid, signal.SIGKILL)
        states: list[FaceState] = []
        end = time.monotonic() + PATIENCE_S
        while not states or (states[-1] != FaceState.SEEN and time.monotonic() < end):
            states.append(face.observe(Frame((len(states) + 1) * 0.001, astronaut)).state)
            time.sleep(0.001)
    assert set(states[:-1]) == {FaceState.NO_FRAME}
    assert len(states) > 3, "observe() waited for the new worker"
    assert states[-1] == FaceState.SEEN


def test_frames_that_kill_each_worker_end_in_an_error(
    astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly() -> Iterator[Frame]:
        for number in range(10_000):
            yield Frame(number * 0.04, astronaut)
            os.kill(face.pid, signal.SIGKILL)

    monkeypatch.setattr(face_process, "MOST_RESTARTS", 2)
    with (
        FaceProcess(48, 64) as face,
        pytest.raises(ConfinementError, match=r"for the 3th time in a row\. Convert the video"),
    ):
        list(face.analyse(deadly()))


def test_one_worker_serves_recordings_of_any_size(astronaut: Image, blank: Image) -> None:
    """Also larger than it was made for, in the middle of one, and after one that was left half-way."""
    small = np.asarray(cv2.resize(astronaut, (320, 240)), np.uint8)
    large = np.asarray(cv2.resize(astronaut, (1280, 960)), np.uint8)
    with FaceProcess(240, 320) as face:
        first = face.pid
        next(face.analyse(film([small] * 5)))
        assert [seen.state for seen in face.analyse(film([small] * 2))] == [FaceState.SEEN] * 2
        assert face.pid == first
        mixed = list(face.analyse(film([small, small, small, large, blank, small])))
        assert face.pid != first
        assert face.restarts == 0
    wanted = [FaceState.SEEN] * 4 + [FaceState.NO_FACE, FaceState.SEEN]
    assert [seen.state for seen in mixed] == wanted


def test_a_recording_says_the_same_whatever_came_before_it(astronaut: Image) -> None:
    """The landmarker tracks from frame to frame; a new recording must not begin where the last one ended."""
    moved = np.roll(astronaut, (40, -60), axis=(0, 1))
    with FaceProcess(*SHAPE) as face:
        alone = list(face.analyse(film([astronaut] * 3)))
        list(face.analyse(film([moved] * 10)))
        after = list(face.analyse(film([astronaut] * 3)))
    for one, other in zip(alone, after, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("shape", [(480, 640), (480, 640, 4), (0, 640, 3)])
def test_what_is_no_picture_is_refused(running: FaceProcess, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfinementError, match=r"takes uint8 of \(height, width, 3\)"):
        list(running.analyse([Frame(30.0, np.zeros(shape, np.uint8))]))


def test_a_frame_of_other_numbers_is_refused(running: FaceProcess) -> None:
    wrong = np.zeros((*SHAPE, 3), np.float32)
    with pytest.raises(ConfinementError):
        list(running.analyse([Frame(30.0, wrong)]))  # type: ignore[arg-type]  # what a bug would do


def test_a_worker_that_cannot_confine_itself_sees_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without seccomp filters the worker ends with its reason, before any frame."""
    worker = tmp_path / "python"
    worker.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent(
            """
            import sys
            sys.modules["pyseccomp"] = None
            sys.argv = ["face_worker", *sys.argv[-4:]]
            from mien_client.face.worker import main
            sys.exit(main())
            """
        )
    )
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    with pytest.raises(
        ConfinementError, match=r"kernel refused the seccomp filter.*frames will not be handled"
    ):
        FaceProcess(48, 64)


def test_a_damaged_model_is_said_at_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "python"
    worker.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent(
            f"""
            import sys
            sys.argv = ["face_worker", *sys.argv[-4:]]
            open({str(tmp_path / "starts")!r}, "a").write("start\\n")
            from mien_client.face import landmarks
            from mien_client.face.worker import main
            landmarks.ASSET_SHA256 = "0" * 64
            sys.exit(main())
            """
        )
    )
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    with pytest.raises(ConfinementError, match="model asset is damaged"):
        FaceProcess(48, 64)
    assert (tmp_path / "starts").read_text() == "start\n"


def test_an_agent_that_is_gone_ends_a_worker_that_hangs() -> None:
    """The worker that looks at a frame for ever does not see its pipe close; a thread beside it does."""
    code = """
        import os, sys, threading, time
        from mien_client.face.worker import _end_with_the_agent
        threading.Thread(target=_end_with_the_agent, daemon=True).start()
        print("hangs", flush=True)
        while True:
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"hangs\n"
        assert worker.poll() is None
        worker.stdin.close()
        assert worker.wait(PATIENCE_S) == 0


def test_a_worker_that_does_not_start_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfinementError, match=r"ended unexpectedly \(status 1\) before its first frame"):
        FaceProcess(48, 64)


def test_a_worker_does_not_outlive_a_killed_agent() -> None:
    code = """
        import sys
        from mien_client.face.process import FaceProcess
        face = FaceProcess(48, 64)
        print(face.pid, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as agent:
        assert agent.stdout is not None
        worker = int(agent.stdout.readline())
        assert not has_ended(worker)
        agent.kill()
        agent.wait()
        wait_until(lambda: has_ended(worker), "the worker of a killed agent is gone")


def _traced(strace: str, folder: Path) -> Path:
    """A Python under which everything is traced, one file per thread."""
    script = folder / "python"
    trace = "-e trace=network,file,seccomp -ff -ttt -s 60"
    script.write_text(f'#!/bin/sh\nexec {strace} {trace} -o {folder}/trace {sys.executable} "$@"\n')
    script.chmod(0o755)
    return script


def test_seen_from_outside_the_worker_reaches_no_network_and_writes_no_file(
    tmp_path: Path, face_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real worker over a whole clip, with MediaPipe and all its libraries, under strace."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-f", "true"], capture_output=True).returncode:
        pytest.skip("strace is not installed, or may not trace here")
    monkeypatch.setattr(sys, "executable", str(_traced(strace, tmp_path)))
    with FaceProcess(*SHAPE) as face, open_source(face_video) as source:
        seen = list(face.analyse(source.frames()))
    assert {observation.state for observation in seen} == {FaceState.SEEN}
    assert len(seen) == 76

    calls = [
        line.split(" ", 1) for path in tmp_path.glob("trace.*") for line in path.read_text().splitlines()
    ]
    confined_at = min(float(at) for at, call in calls if call.startswith("seccomp(SECCOMP_SET_MODE_FILTER, "))
    after = [call for at, call in calls if float(at) > confined_at]
    network = re.compile(
        r"(socket|socketpair|connect|bind|listen|accept4?|send(to|m?msg)|recv(from|m?msg))\("
    )
    writes = re.compile(r"(open|openat|openat2|creat)\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)")
    changes = re.compile(r"(mkdir|unlink|rename|link|symlink|truncate|chmod|chown|mknod|utime)\w*\(")
    attempts = [call for call in after if any(kind.match(call) for kind in (network, writes, changes))]
    assert any(call.startswith("socket(AF_INET, ") for call in attempts), (
        "the worker's own proof is not there"
    )
    assert [call for call in attempts if not re.search(r"= -1 E(PERM|NOSYS)|= \?$", call)] == []
    assert any("face_landmarker.task" in call for call in after), "the model was read before the confinement"
    before = [call for at, call in calls if float(at) < confined_at]
    assert not [call for call in before if "mediapipe" in call and "O_RDONLY" in call and "= -1" not in call]
    assert any("libmediapipe.so" in call for call in after)


def test_a_stopped_process_ends_the_analysis_at_once_and_is_not_replaced(astronaut: Image) -> None:
    with FaceProcess(*SHAPE) as face:
        analysis = face.analyse(film([astronaut] * 1000))
        next(analysis)
        stopper = threading.Thread(target=face.stop)
        stopper.start()
        with pytest.raises(ConfinementError, match="stopped before the recording's end"):
            list(analysis)
        stopper.join()
        assert has_ended(face.pid)
        assert face.restarts == 0


def test_several_processes_work_in_threads_of_one_parent(astronaut: Image, blank: Image) -> None:
    def states(picture: Image) -> set[FaceState]:
        with FaceProcess(*SHAPE) as face:
            return {seen.state for seen in face.analyse(film([picture] * 6))}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(states, [astronaut, blank, astronaut, blank]))
    assert found == [{FaceState.SEEN}, {FaceState.NO_FACE}] * 2
