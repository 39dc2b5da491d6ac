"""What people point ``mien agent ingest`` at: odd films work, and what cannot is refused in a sentence."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien_client.features import Features
from mien_client.observations import FaceState
from mien_client.sessions import read_session
from mien_client.site import Site
from mien_common.cli import main
from mien_common.schema import AU_V1

from .conftest import MakeVideo

Picture = NDArray[np.uint8]
Ingest = Callable[..., tuple[int | str | None, dict[str, dict[str, str]], str]]


@pytest.fixture
def ingest(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ingest:
    """Runs the command; gives its exit status, what became of each file by name, and its errors."""

    def run(*paths: Path) -> tuple[int | str | None, dict[str, dict[str, str]], str]:
        arguments = ["mien", "agent", "ingest", *map(str, paths), "--site", str(site.folder), "--json"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as left:
            main()
        told, errors = capsys.readouterr()
        events = [json.loads(line) for line in told.splitlines()]
        results = {
            Path(event["file"]).name: event for event in events if event["event"] in {"done", "failed"}
        }
        return left.value.code, results, errors

    return run


def shaken(picture: Picture, frames: int) -> list[Picture]:
    return [np.roll(picture, round(3 * np.sin(0.3 * number)), axis=1) for number in range(frames)]


def test_odd_films_of_a_face_become_sessions(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture, ingest: Ingest
) -> None:
    face = np.ascontiguousarray(astronaut[:, 40:400])
    phone = make_video(
        tmp_path / "phone.mp4",
        [
            np.asarray(cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
            for frame in shaken(face, 30)
        ],
        codec="mp4v",
    )
    lay_on_its_side(phone)
    left = make_video(tmp_path / "left.avi", shaken(astronaut, 40) + [np.full_like(astronaut, 90)] * 40)
    large = np.full((2160, 3840, 3), 90, np.uint8)
    large[200:1640, 900:2820] = cv2.resize(astronaut, (1920, 1440))
    films = {
        "large.avi": make_video(tmp_path / "large.avi", shaken(large, 28)),
        "slow.avi": make_video(tmp_path / "slow.avi", shaken(astronaut, 8), 5.0),
        "fast.avi": make_video(tmp_path / "fast.avi", shaken(astronaut, 264), 240.0),
    }
    grey = tmp_path / "grey"
    grey.mkdir()
    for number, frame in enumerate(shaken(astronaut, 30), start=1):
        picture = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if number % 2:
            picture = np.dstack([frame, np.full_like(picture, 255)])  # every other one in colour, with alpha
        cv2.imwrite(str(grey / f"img{number}.png"), picture)
    status, results, errors = ingest(phone, left, grey, *films.values())
    assert status == 0, (results, errors)
    features = {name: read_session(Path(result["session"])).features for name, result in results.items()}
    assert set(features) == {"phone.mp4", "left.avi", "grey", *films}
    for name in ("phone.mp4", "grey", *films):
        assert features[name].state[1:].max() == FaceState.SEEN, name
    seconds = {name: round(float(each.time_s[-1]), 1) for name, each in features.items()}
    assert seconds == {
        "phone.mp4": 1.2,
        "left.avi": 3.2,
        "grey": 1.2,
        "large.avi": 1.1,
        "slow.avi": 1.4,
        "fast.avi": 1.1,
    }
    assert roll_of(features["phone.mp4"]) == pytest.approx(roll_of(features["large.avi"]), abs=0.1)
    gone = features["left.avi"].state[features["left.avi"].time_s > 1.7]
    assert (gone == FaceState.NO_FACE).all()
    assert not features["left.avi"].valid[features["left.avi"].time_s > 1.7].any()


def lay_on_its_side(path: Path) -> None:
    """Note in an MP4 file that its picture is to be turned by a quarter to the right, as telephones do."""
    content = bytearray(path.read_bytes())
    before, after = (
        b"".join((number * 0x10000).to_bytes(4, "big", signed=True) for number in numbers)
        for numbers in ((1, 0, 0, 0, 1), (0, 1, 0, -1, 0))
    )
    place = content.index(before, content.index(b"tkhd"))
    content[place : place + len(after)] = after
    path.write_bytes(content)


def roll_of(features: Features) -> float:
    return float(np.nanmedian(features.values[:, AU_V1.channels.index("pose_Rz")]))


def test_what_cannot_be_used_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, site: Site, make_video: MakeVideo, astronaut: Picture, ingest: Ingest
) -> None:
    film = make_video(tmp_path / "whole.mp4", shaken(astronaut, 3), codec="mp4v").read_bytes()
    (tmp_path / "whole.mp4").unlink()
    for name, content in {
        "text.mp4": b"my notes\n" * 50,
        "empty.mp4": b"",
        "header.avi": b"RIFF\x10\0\0\0AVI LIST",
        "broken.mp4": film.replace(b"moov", b"m\0\0v"),
        "sound.wav": b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0"
        b"data\x08\0\0\0" + bytes(8),
    }.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe.csv")
    make_video(tmp_path / "one.avi", [astronaut])
    small = np.asarray(cv2.resize(astronaut, (160, 120)), np.uint8)
    make_video(tmp_path / "small.avi", shaken(small, 30))
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    said = {
        "text.mp4": "is not a video",
        "empty.mp4": "is empty",
        "header.avi": "is not a video",
        "broken.mp4": "is not a video",
        "sound.wav": "is not a video",
        "pipe.mp4": "is not a file",
        "pipe.csv": "is not a file",
        "one.avi": "shows too little of a face",
        "small.avi": "too small 100 %",
        "circle.mp4": "Too many levels of symbolic links",
        "absent.mp4": "there is no file",
    }
    status, results, errors = ingest(*(tmp_path / name for name in said))
    assert status == 1
    assert errors.startswith(f"error: {len(said)} of {len(said)} recordings failed:\n")
    assert errors.count("\n") == 1 + len(said)
    for name, part in said.items():
        assert part in results[name]["error"], name
        assert name in errors
    assert list(site.sessions.iterdir()) == []
    status, _, errors = ingest(tmp_path / "text.mp4", Path("rtsp://lab:secret@camera/face"))
    assert status == 1
    assert "a network stream has no end" in errors
    assert "secret" not in errors
    status, _, errors = ingest(tmp_path / "empty")
    assert status == 1
    assert "holds no video" in errors
