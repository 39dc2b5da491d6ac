"""A video in, a session out; and after bad input, nothing at all."""

import csv
import io
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.ingest import ingest, observe_video
from mien_client.observations import FaceState
from mien_client.openface_csv import openface_csv
from mien_client.sessions import Session, read_session
from mien_client.site import Site
from mien_client.sources import open_source
from mien_common.errors import (
    InputError,
    RatingsError,
    SessionError,
    StorageError,
    VideoError,
)
from mien_common.schema import AU_CHANNELS, AU_V1, POSE_CHANNELS

from .conftest import children_of

Picture = NDArray[np.uint8]
MakeVideo = Callable[..., Path]

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "media" / "faces"
RATINGS = "time,valence,arousal\n" + "".join(f"{t / 10},{t / 40},{-t / 40}\n" for t in range(40))


def silent(done: int, total: int) -> None:
    """A progress that nobody watches."""


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS)
    return path


def everything_under(folder: Path) -> set[str]:
    """But the file whose bytes are locked while recordings are in work, and how frames were handled."""
    kept = {"state/ingest.lock", "state/face_process.json"}
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} - kept


def test_a_rated_video_becomes_a_session(site: Site, face_video: Path, ratings: Path) -> None:
    steps: list[tuple[int, int]] = []
    done = ingest(
        site, face_video, ratings, held_out=False, csv=True, progress=lambda *step: steps.append(step)
    )
    assert {path.name for path in done.folder.iterdir()} == {
        *("session.json", "features.parquet", "ratings.parquet", "openface.csv")
    }
    assert done.folder.name.startswith("portrait-")
    session = read_session(done.folder)
    assert session.record.frames == done.frames == 76
    assert session.features.valid[1:].all(), "the face is in every frame"
    assert done.valid_frames == 75
    assert (session.record.rated, session.record.held_out, done.rated) == (True, False, True)
    assert session.record.source_name == "portrait.avi"
    assert session.ratings is not None
    assert session.ratings[50] == pytest.approx([0.5, -0.5], abs=1e-5)
    assert session.features.time_s == pytest.approx(np.arange(76) / 25)
    smile = session.features.values[1:, AU_V1.channels.index("AU12_r")]
    assert smile.mean() > 2.5
    assert steps[-1] == (76, 76)
    assert [step[0] for step in steps] == list(range(1, 77))


def test_held_out_and_unrated_sessions_say_so(site: Site, face_video: Path) -> None:
    done = ingest(site, face_video, None, held_out=True, csv=False, progress=silent)
    record = read_session(done.folder).record
    assert (record.rated, record.held_out) == (False, True)
    assert {path.name for path in done.folder.iterdir()} == {"session.json", "features.parquet"}


def test_the_same_video_is_not_taken_twice(site: Site, face_video: Path, tmp_path: Path) -> None:
    first = ingest(site, face_video, None, held_out=False, csv=False, progress=silent)
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    with pytest.raises(SessionError, match=r"already here as .*portrait-.*Remove that folder"):
        ingest(site, face_video, None, held_out=True, csv=False, progress=lambda *_: pytest.fail("analysed"))
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before


def test_no_pixel_is_written_anywhere(
    site: Site, face_video: Path, ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the site's folder, not in a temporary one, not at home: neither raw nor as it was coded."""
    watched = tmp_path / "elsewhere"
    watched.mkdir()
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(watched))
    ingest(site, face_video, ratings, held_out=False, csv=True, progress=silent)
    assert everything_under(watched) == set()

    written = [path for path in site.folder.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in written)
    with open_source(face_video) as video:
        frames = [frame.bgr.copy() for frame in video.frames()][::15]
    for frame in frames:
        for picture in (frame, frame[..., ::-1], cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)):
            raw = np.ascontiguousarray(picture).tobytes()
            middle = range(len(raw) // 4, 3 * len(raw) // 4, 4096)
            pieces = [raw[start : start + 32] for start in middle if len(set(raw[start : start + 32])) > 8]
            assert len(pieces) > 20, "the picture has nothing to recognise it by"
            assert not [piece for piece in pieces if piece in content]
    coded = face_video.read_bytes()
    assert not [start for start in range(0, len(coded) - 64, 4096) if coded[start : start + 64] in content]
    for magic in (b"\xff\xd8\xff", b"\x89PNG"):
        assert magic not in content
    secrets = {
        site.private_key_file,
        site.public_key_file,
        site.ca_certificate,
    }  # Base64 may say so by chance
    assert not [path for path in written if path not in secrets and b"RIFF" in path.read_bytes()]


def test_the_csv_is_laid_out_as_openface_does(make_session: Callable[..., Session]) -> None:
    session = make_session("s", valid=np.arange(101) > 40)
    text = openface_csv(session.features).decode()
    header, *rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    assert header == [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *(*POSE_CHANNELS, *AU_CHANNELS),
    ]
    assert text.startswith("frame, face_id, timestamp"), "OpenFace has a blank after each comma"
    assert len(rows) == 101
    table = {name: [row[column] for row in rows] for column, name in enumerate(header)}
    assert table["frame"] == [str(number) for number in range(1, 102)]
    assert [float(t) for t in table["timestamp"]] == pytest.approx(session.features.time_s, abs=5e-4)
    assert table["success"] == ["0"] * 41 + ["1"] * 60
    for name in ("AU01_r", "AU45_r"):
        expected = session.features.values[:, AU_V1.channels.index(name)]
        assert [float(v) for v in table[name]] == pytest.approx(expected, abs=5.1e-5, nan_ok=True)


def _no_face(folder: Path, make_video: MakeVideo) -> Path:
    frames = [np.full((120, 160, 3), 60 + number, np.uint8) for number in range(40)]
    return make_video(folder / "wall.avi", frames)


def test_a_video_without_a_face_is_refused_and_leaves_nothing(
    site: Site, tmp_path: Path, make_video: MakeVideo
) -> None:
    before = everything_under(site.folder)
    with pytest.raises(VideoError) as raised:
        ingest(site, _no_face(tmp_path, make_video), None, held_out=False, csv=False, progress=silent)
    assert "wall.avi shows too little of a face to learn from: face seen 0 % of the time (no face 100 %)" in (
        str(raised.value)
    )
    assert "Check framing and light" in str(raised.value)
    assert everything_under(site.folder) == before


def _truncated(folder: Path, film: Path) -> Path:
    path = folder / "cut.avi"
    shutil.copy(film, path)
    os.truncate(path, path.stat().st_size // 2)
    return path


def _text(folder: Path, film: Path) -> Path:
    (folder / "notes.avi").write_text("no video at all")
    return folder / "notes.avi"


def _empty(folder: Path, film: Path) -> Path:
    (folder / "empty.avi").write_bytes(b"")
    return folder / "empty.avi"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (_text, "not a video"),
        (_empty, "is empty"),
        (_truncated, "is truncated"),
        (lambda folder, _film: folder, "holds no pictures"),
        (lambda folder, _film: folder / "absent.avi", "there is no file"),
    ],
    ids=["text", "empty", "truncated", "folder", "absent"],
)
def test_a_bad_video_leaves_nothing(
    site: Site, tmp_path: Path, face_video: Path, bad: Callable[[Path, Path], Path], message: str
) -> None:
    before = everything_under(site.folder)
    with pytest.raises(VideoError, match=message):
        ingest(site, bad(tmp_path, face_video), None, held_out=False, csv=True, progress=silent)
    assert everything_under(site.folder) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,valence,arousal\n100,0,0\n101,0,0\n110,0,0\n", "does not overlap the video"),
        ("time,valence,arousal\n0,nan,0\n1,0,0\n", "line 2: not a finite number"),
        ("time,valence,arousal\n0,5,0\n1,0,0\n", "line 2: valence 5 is outside"),
        ("", "must begin with the line"),
    ],
)
def test_bad_ratings_leave_nothing(
    site: Site, tmp_path: Path, face_video: Path, content: str, message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    before = everything_under(site.folder)
    with pytest.raises(RatingsError, match=message):
        ingest(site, face_video, path, held_out=False, csv=True, progress=silent)
    assert everything_under(site.folder) == before


def test_a_full_disk_leaves_no_session(site: Site, face_video: Path, small_disk: Path) -> None:
    (small_disk / "filling").write_bytes(bytes(120 * 1024))
    site.sessions.rmdir()
    site.sessions.symlink_to(small_disk)
    with pytest.raises(StorageError, match="No space left on device"):
        ingest(site, face_video, None, held_out=False, csv=True, progress=silent)
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


def test_an_interrupted_ingest_leaves_no_session_and_no_process(site: Site, face_video: Path) -> None:
    before = everything_under(site.folder)

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(site, face_video, None, held_out=False, csv=False, progress=interrupt)
    assert everything_under(site.folder) == before
    assert not _workers_of(os.getpid())


def _workers_of(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [child] if b"face.worker" in Path(f"/proc/{child}/cmdline").read_bytes() else []
    return found


def test_a_worker_killed_on_the_way_costs_the_frames_it_held(site: Site, face_video: Path) -> None:
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done == 10:
            killed.extend(_workers_of(os.getpid()))
            for worker in killed:
                os.kill(worker, 9)

    done = ingest(site, face_video, None, held_out=False, csv=False, progress=kill)
    assert len(killed) == 1
    assert 0 < done.seen[FaceState.NO_FRAME] < 0.2
    features = read_session(done.folder).features
    lost = features.state == FaceState.NO_FRAME
    assert lost.any()
    assert np.isnan(features.values[lost]).all()
    assert features.valid[30:].all(), "it goes on"


def test_a_name_of_any_bytes_can_be_ingested(site: Site, face_video: Path, tmp_path: Path) -> None:
    """Linux takes any bytes for a name; so do old disks and other people's folders."""
    for name in (b"caf\xe9 [red].avi", "Grüße aus München (1).avi".encode()):
        path = tmp_path / os.fsdecode(name)
        shutil.copy(face_video, path)
        done = ingest(site, path, None, held_out=False, csv=False, progress=silent)
        assert done.folder.name.isascii()
        assert read_session(done.folder).record.frames == 76
        shutil.rmtree(done.folder)


EXPECTED_SHARE = 0.95
"""Of frames in which these people's faces can be measured, by eye: nothing comes before them."""


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips of ../shared/media/faces are not here")
@pytest.mark.parametrize(
    "clip",
    [
        "person_a/yes.mkv",
        "person_b/please.mkv",
        "person_c/walk.mkv",
        "person_d/sister.mkv",
        "person_e/want.mkv",
    ]
    + [f"person_{who}/head-pose-face-detection-{sex}male.gif" for who, sex in (("f", "fe"), ("g", ""))]
    + ["two_people/head-pose-face-detection-female-and-male.gif"],
)
def test_real_people_are_seen(clip: str) -> None:
    counts: list[int] = []
    features = observe_video(REAL_CLIPS / clip, lambda done, _total: counts.append(done))
    share = features.valid[1:].mean()
    assert share >= EXPECTED_SHARE
    duration = features.time_s[-1]
    rate_hz = 12.5 if clip.endswith(".gif") else 30.0
    assert counts[-1] == pytest.approx(duration * rate_hz, rel=0.25)
    values = features.values[features.valid]
    assert ((values[:, :17] >= 0) & (values[:, :17] <= 5)).all()
    assert np.isnan(features.values[~features.valid]).any(axis=1).all()
    smile = float(np.median(values[:, AU_V1.channels.index("AU12_r")]))
    if clip.startswith("person_g"):
        assert smile > 1.0, "person_g smiles throughout"
    if clip.startswith("person_a"):
        assert smile < 1.0, "person_a shows little expression"


def test_errors_of_bad_input_are_all_ours(site: Site, tmp_path: Path) -> None:
    for path in (Path("x" * 300), tmp_path / "absent"):
        with pytest.raises(InputError):
            ingest(site, path, None, held_out=False, csv=False, progress=silent)
        with pytest.raises(RatingsError):
            ingest(site, tmp_path / "absent", path, held_out=False, csv=False, progress=silent)
