"""`mien lab puppet`: a whole data set or none, the same bytes for the same seed, and plain errors."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien_common.errors import InputError, SettingsError, StorageError
from mien_lab import puppet
from mien_lab.puppet import PuppetFolder, make_puppets, settings_from
from mien_lab.puppet_face import build_stage
from mien_lab.puppet_filming import RenderingError


def _make(out: Path, photo: Path | None = None, seed: int = 7) -> PuppetFolder:
    settings = settings_from(participants=2, sessions=1, seconds=1.2, seed=seed, workers=2)
    return make_puppets(settings, out, photo, _unseen)


def _unseen(_done: int, _total: int) -> None:
    """Nobody watches the progress."""


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PuppetFolder:
    return _make(tmp_path_factory.mktemp("puppet") / "out")


@pytest.fixture
def no_face(tmp_path: Path) -> Path:
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 180, np.uint8))
    return path


def test_the_folder_holds_what_the_readme_says(made: PuppetFolder) -> None:
    assert sorted(_hashes(made.folder)) == [
        "README.txt",
        *(
            f"participant-0{index}/{name}"
            for index in (1, 2)
            for name in ("participant.json", "session-01.avi", "session-01.csv")
        ),
    ]
    readme = (made.folder / "README.txt").read_text()
    assert "puppeteered photograph" in readme
    assert "no evidence about people" in readme
    assert made.bytes == sum(path.stat().st_size for path in made.videos)


def test_a_video_is_640_by_480_at_25_frames_a_second(made: PuppetFolder) -> None:
    video = cv2.VideoCapture(str(made.videos[0]))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 480)
    assert video.get(cv2.CAP_PROP_FPS) == 25
    frames = 0
    while video.read()[0]:
        frames += 1
    video.release()
    assert frames == 30
    assert made.frames == 60


def test_ratings_are_at_25_hz_and_in_range(made: PuppetFolder) -> None:
    path = made.videos[0].with_suffix(".csv")
    assert path.read_text().startswith("time,valence,arousal\n")
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    assert table.shape == (30, 3)
    assert table[:, 0] == pytest.approx(np.arange(30) / 25)
    assert np.abs(table[:, 1:]).max() <= 1


def test_a_face_at_rest_is_filmed_where_it_is_asked_for(tmp_path: Path) -> None:
    """And nobody rates it: `mien agent calibrate` takes it."""
    settings = settings_from(participants=1, sessions=1, seconds=1.2, rest_s=0.6, workers=2)
    made = make_puppets(settings, tmp_path / "out", None, _unseen)
    assert made.frames == 30 + 15
    assert [path.name for path in made.videos] == ["session-01.avi"]
    names = sorted(path.name for path in (made.folder / "participant-01").iterdir())
    assert names == ["participant.json", "rest.avi", "session-01.avi", "session-01.csv"]
    video = cv2.VideoCapture(str(made.folder / "participant-01" / "rest.avi"))
    frames = 0
    while video.read()[0]:
        frames += 1
    video.release()
    assert frames == 15


def test_a_participants_record_says_that_it_is_synthetic_and_how_it_differs(made: PuppetFolder) -> None:
    records = [
        json.loads((made.folder / f"participant-0{index}" / "participant.json").read_text())
        for index in (1, 2)
    ]
    for record in records:
        assert record["synthetic"] is True
        assert record["seed"] == 7
        assert 1.0 <= record["lag_s"] <= 4.0
        assert record["sessions"] == [
            {"video": "session-01.avi", "ratings": "session-01.csv", "seconds": 1.2, "frames": 30}
        ]
    assert records[0]["lag_s"] != records[1]["lag_s"]
    assert records[0]["light"] != records[1]["light"]


def test_the_same_seed_makes_the_same_bytes_and_replaces_an_earlier_set(
    made: PuppetFolder, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    other = _hashes(_make(out, seed=8).folder)
    same = _hashes(_make(out).folder)
    assert same == _hashes(made.folder)
    assert all(other[name] != same[name] for name in same)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", ["notes.txt", "participant-01"])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / content).write_text("mine")
    with pytest.raises(StorageError, match=f"not empty.*{content}"):
        _make(out)
    assert (out / content).read_text() == "mine"


def test_a_file_added_to_our_folder_is_not_deleted(made: PuppetFolder) -> None:
    mine = made.folder / "thesis.doc"
    mine.write_text("mine")
    try:
        with pytest.raises(StorageError, match=r"thesis\.doc"):
            _make(made.folder)
        assert mine.read_text() == "mine"
    finally:
        mine.unlink()


def test_out_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="Not a directory"):
        _make(tmp_path / "out")
    with pytest.raises(StorageError):
        _make(tmp_path / "out" / "below")


def test_a_photo_without_a_face_is_an_error_and_leaves_nothing(no_face: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no face"):
        _make(tmp_path / "out", no_face)
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]


def _missing(path: Path) -> None:
    assert not path.exists()


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("not a photo")


@pytest.mark.parametrize("prepare", [_missing, _empty, _text])
def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    photo = tmp_path / "portrait.jpg"
    prepare(photo)
    with pytest.raises(InputError, match=r"portrait\.jpg"):
        _make(tmp_path / "out", photo)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_half_written(small_disk: Path) -> None:
    with pytest.raises(StorageError, match="No space left"):
        _make(small_disk / "out")
    assert list(small_disk.iterdir()) == []


def test_an_interrupted_set_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_puppets(
            settings_from(participants=1, sessions=1, seconds=4.0), tmp_path / "out", None, interrupt
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"), [("participants", 0), ("seconds", 0.0), ("seconds", float("nan")), ("seed", -1)]
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"--{name}"):
        settings_from(**{name: value})


def test_faces_too_small_or_turned_aside_are_refused() -> None:
    photo = np.zeros((100, 100, 3), np.uint8)
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[33, 0], landmarks[263, 0], landmarks[1, 0] = 40, 50, 45
    with pytest.raises(InputError, match="too small"):
        build_stage(photo, landmarks)
    landmarks[33, 0], landmarks[263, 0], landmarks[1, 0] = 20, 80, 75
    with pytest.raises(InputError, match="turned"):
        build_stage(photo, landmarks)


def test_a_worker_that_dies_is_an_error_not_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_lab.puppet_filming._work", _die)
    with pytest.raises(RenderingError, match="ended unexpectedly"):
        _make(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _die(*_: object) -> None:
    raise SystemExit(9)


def test_the_command_refuses_before_it_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign folder is refused at once, not after minutes of work."""
    monkeypatch.setattr(puppet, "photo_landmarks", lambda _: pytest.fail("it looked at the photo"))
    (tmp_path / "mine").touch()
    with pytest.raises(StorageError):
        _make(tmp_path)
