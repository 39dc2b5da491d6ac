"""Many recordings at once: what is finished is kept, whatever becomes of the others."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.feature_files import features_from_file
from mien_client.ingest import Choices, Ingested
from mien_client.ingest_many import Failed, Finished, Skipped, Standing, ingest_many
from mien_client.known_recordings import AlreadyHereError, BeingIngestedError, KnownRecordings
from mien_client.recordings import find_recordings
from mien_client.sessions import read_record, session_folders
from mien_client.site import Site
from mien_common.schema import AU_CHANNELS, POSE_CHANNELS

PATIENCE_S = 120.0
COMMAND = [sys.executable, "-c", "from mien_common.cli import main; main()"]
RATINGS = "time,valence,arousal\n" + "".join(f"{t / 10},{t / 40},{-t / 40}\n" for t in range(40))

MakeVideo = Callable[..., Path]
Picture = NDArray[np.uint8]


def features_file(path: Path, level: float = 1.0) -> Path:
    """An OpenFace file of two seconds: a recording that takes no time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ("frame", "face_id", "timestamp", "confidence", "success", *POSE_CHANNELS, *AU_CHANNELS)
    rows = [
        ", ".join(
            f"{value:g}" for value in (number + 1, 0, number / 25, 0.98, 1, 0.1, 0.1, 0.1, *[level] * 17)
        )
        for number in range(51)
    ]
    path.write_text("\n".join([", ".join(columns), *rows]) + "\n")
    return path


def run(
    site: Site, *paths: Path, ratings: Path | None = None, workers: int = 2, **choices: Any
) -> tuple[dict[str, Any], list[Standing]]:
    """Results by the recording's name, and every standing that was shown."""
    results: dict[str, Any] = {}
    standings: list[Standing] = []

    def take(finished: Finished) -> None:
        results[finished.recording.path.name] = finished.result

    recordings = find_recordings(paths, ratings, site.folder, lambda _: None)
    ingest_many(site, recordings, Choices(**choices), workers, take, standings.append)
    return results, standings


def test_the_good_ones_are_kept_and_the_bad_ones_named(site: Site, tmp_path: Path, face_video: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(face_video, films / "a.avi")
    shutil.copy(face_video, films / "b.avi")
    (films / "b.csv").write_text(RATINGS)
    (films / "broken.mp4").write_text("no film at all")
    features_file(films / "c-openface.csv")
    results, standings = run(site, films, films / "gone.mkv")
    assert isinstance(results["b.avi"], Ingested)
    assert results["b.avi"].rated
    assert isinstance(results["a.avi"], Skipped), "the same content under another name, and without ratings"
    assert "already here as" in results["a.avi"].reason
    assert isinstance(results["c-openface.csv"], Ingested)
    assert results["c-openface.csv"].neutral == "source"
    assert results["broken.mp4"] == Failed(
        f"{films / 'broken.mp4'} is not a video that can be decoded, or its index is cut off. "
        "Give a file that a video player shows."
    )
    assert results["gone.mkv"].reason == f"there is no file {films / 'gone.mkv'}."
    assert len(list(session_folders(site.sessions))) == 2
    last = standings[-1]
    assert (last.finished, last.recordings, last.in_work) == (5, 5, ())
    assert (last.frames, last.total) == (76, 76)
    assert last.frames_per_s > 0
    record = json.loads((site.state / "face_process.json").read_text())
    assert record["confined"] is True


def test_what_is_there_is_skipped_and_differences_are_said(site: Site, tmp_path: Path) -> None:
    path = features_file(tmp_path / "in" / "openface-a.csv")
    features_file(tmp_path / "in" / "openface-b.csv", 2.0)
    results, _ = run(site, tmp_path / "in", held_out=True)
    assert all(isinstance(result, Ingested) and result.held_out for result in results.values())
    path.rename(tmp_path / "in" / "openface-renamed.csv")
    (tmp_path / "ratings").mkdir()
    (tmp_path / "ratings" / "openface-renamed.csv").write_text("time,valence,arousal\n0,0,0\n2,0,0\n")
    results, _ = run(site, tmp_path / "in", ratings=tmp_path / "ratings")
    assert len(list(session_folders(site.sessions))) == 2
    said = results["openface-renamed.csv"].reason
    assert "sessions/openface-a-" in said
    assert said.endswith(
        ", without these ratings and held out. Remove that folder and ingest it again to change this."
    )
    results, _ = run(site, tmp_path / "in" / "openface-b.csv", held_out=True, participant="p-07")
    assert results["openface-b.csv"].reason.endswith(
        ", of nobody who was named. Remove that folder and ingest it again to change this."
    )
    results, _ = run(site, tmp_path / "in", held_out=True)
    assert results["openface-b.csv"].reason.endswith(session_folder(site, "openface-b"))


def test_many_copies_of_one_recording(site: Site, tmp_path: Path) -> None:
    for number in range(200):
        features_file(tmp_path / "in" / f"openface-{number}.csv")
    results, _ = run(site, tmp_path / "in")
    assert [name for name, result in results.items() if isinstance(result, Ingested)] == ["openface-0.csv"]
    assert len(results) == 200


def session_folder(site: Site, name: str) -> str:
    (folder,) = (folder for folder in session_folders(site.sessions) if folder.name.startswith(name))
    return str(folder)


def test_a_full_disk_ends_all_of_it(site: Site, tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "filling").write_bytes(bytes(120 * 1024))
    site.sessions.rmdir()
    site.sessions.symlink_to(small_disk)
    for number in range(5):
        features_file(tmp_path / "in" / f"openface-{number}.csv", number)
    results, _ = run(site, tmp_path / "in", workers=1)
    assert len(results) == 1, "the next would fail as well"
    (failed,) = results.values()
    assert failed.for_all
    assert "No space left on device" in failed.reason
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


def test_a_fault_of_ours_costs_one_recording(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = features_from_file

    def faulty(path: Path, *rest: Any) -> Any:
        if path.stem == "openface-1":
            raise ZeroDivisionError("oops")
        return real(path, *rest)

    monkeypatch.setattr("mien_client.ingest.features_from_file", faulty)
    for number in range(3):
        features_file(tmp_path / "in" / f"openface-{number}.csv", number)
    results, _ = run(site, tmp_path / "in")
    assert [type(results[f"openface-{number}.csv"]) for number in range(3)] == [Ingested, Failed, Ingested]
    assert "ZeroDivisionError: oops. This is a fault of Mien" in results["openface-1.csv"].reason
    assert "ingest broke" in caplog.text


class TestKnownRecordings:
    DIGEST = "5" * 64

    def test_a_recording_in_work_here_is_waited_for(self, site: Site) -> None:
        entered, leave, order = threading.Event(), threading.Event(), []

        def first() -> None:
            with known.claim(self.DIGEST, lambda: None):
                entered.set()
                leave.wait(PATIENCE_S)
                order.append("first")

        with KnownRecordings(site) as known:
            thread = threading.Thread(target=first)
            thread.start()
            assert entered.wait(PATIENCE_S)
            waited: list[int] = []

            def check_on() -> None:
                waited.append(1)
                leave.set()

            with known.claim(self.DIGEST, check_on):
                order.append("second")
            thread.join()
        assert order == ["first", "second"]
        assert waited

    def test_a_recording_in_work_elsewhere_is_left_alone(self, site: Site) -> None:
        code = f"""
import sys, time
from pathlib import Path
from mien_client.known_recordings import KnownRecordings
from mien_client.site import open_site
with KnownRecordings(open_site(Path({str(site.folder)!r}))) as known:
    with known.claim({self.DIGEST!r}, lambda: None):
        print("held", flush=True)
        sys.stdin.read()
"""
        with (
            subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as other,
            KnownRecordings(site) as known,
        ):
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with (
                pytest.raises(BeingIngestedError, match="is at work on it now"),
                known.claim(self.DIGEST, lambda: None),
            ):
                pytest.fail("claimed twice")
            with known.claim("6" * 64, lambda: None):
                pass
            other.kill()
            other.wait()
            with known.claim(self.DIGEST, lambda: None):  # a killed process leaves no claim behind
                pass

    def test_a_session_of_an_older_version_still_counts(self, site: Site) -> None:
        folder = site.sessions / "old-5555"
        folder.mkdir()
        (folder / "session.json").write_text(
            json.dumps({"source_sha256": self.DIGEST, "rated": True, "held_out": False})
        )
        (site.sessions / "damaged").mkdir()
        (site.sessions / "damaged" / "session.json").write_text("{")
        with KnownRecordings(site) as known:
            with pytest.raises(AlreadyHereError) as raised, known.claim(self.DIGEST, lambda: None):
                pytest.fail("claimed")
            assert raised.value.known.folder == folder
            shutil.rmtree(folder)
            with known.claim(self.DIGEST, lambda: None):
                pass


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "agent", "ingest", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_ingests_at_once_share_the_work(site: Site, tmp_path: Path) -> None:
    for number in range(12):
        features_file(tmp_path / "in" / f"openface-{number}.csv", number / 4)
    both = [start(tmp_path / "in", "--site", site.folder, "--json") for _ in range(2)]
    events = []
    for command in both:
        output, errors = command.communicate(timeout=PATIENCE_S)
        assert (command.returncode, errors) == (0, "")
        events += [json.loads(line) for line in output.splitlines()]
    made = [event["file"] for event in events if event["event"] == "done"]
    assert len(made) == len(set(made)) == 12
    assert sum(event["event"] == "skipped" for event in events) == 12
    records = [read_record(folder) for folder in session_folders(site.sessions)]
    assert len({record.source_sha256 for record in records}) == len(records) == 12


def test_an_interrupted_ingest_keeps_what_is_finished_and_goes_on(
    site: Site, tmp_path: Path, astronaut: Picture, make_video: MakeVideo
) -> None:
    features_file(tmp_path / "in" / "openface-a.csv")
    frames = [np.roll(astronaut[::2, ::2], number, axis=1) for number in range(7)]
    make_video(tmp_path / "in" / "z-long.avi", frames * 100)  # seconds are left when it is interrupted
    with start(tmp_path / "in", "--site", site.folder, "--json", "--workers", "1") as command:
        assert command.stdout is not None
        while json.loads(command.stdout.readline()).get("frames", 0) < 60:
            pass
        interrupted = time.monotonic()
        command.send_signal(signal.SIGINT)
        output, errors = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    assert errors == (
        "stopped: 1 of 2 recordings are left, what is finished is kept. Give the command again to go on.\n"
    )
    assert json.loads(output.splitlines()[-1]) == {"event": "interrupted", "left": 1}
    assert time.monotonic() - interrupted < 20, "it may take a second or two; not the whole recording"
    assert [folder.name[:10] for folder in site.sessions.iterdir()] == ["openface-a"]
    again = subprocess.run(
        [*COMMAND, "agent", "ingest", str(tmp_path / "in"), "--site", str(site.folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert again.returncode == 0, again.stderr
    assert "skipped" in again.stdout
    assert "session z-long-" in again.stdout
    assert "1 made, 1 skipped, 0 failed; 700 frames, " in again.stdout
    assert len(list(session_folders(site.sessions))) == 2


def test_failures_are_listed_one_line_each(site: Site, tmp_path: Path) -> None:
    features_file(tmp_path / "in" / "openface-a.csv")
    (tmp_path / "in" / "bad.mp4").write_text("no film")
    (tmp_path / "in" / "worse.avi").write_bytes(b"")
    done = subprocess.run(
        [*COMMAND, "agent", "ingest", str(tmp_path / "in"), "--site", str(site.folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first == "error: 2 of 3 recordings failed:"
    assert rest == [
        f"  {tmp_path / 'in' / 'bad.mp4'} is not a video that can be decoded, or its index is cut off. "
        "Give a file that a video player shows.",
        f"  {tmp_path / 'in' / 'worse.avi'} is empty. Copy or record it again.",
    ]
    assert "1 made, 0 skipped, 2 failed" in done.stdout
    assert len(list(session_folders(site.sessions))) == 1
