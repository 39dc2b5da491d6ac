"""Frames out of video files: their order and their pixels, and every file that is no whole video."""

import os
import shutil
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien_client.frames import Frame
from mien_client.sources.video_file import VideoFile, open_video_file
from mien_common.errors import InputError, VideoError

Picture = NDArray[np.uint8]
MakeVideo = Callable[..., Path]
Numbered = Callable[[int], list[Picture]]


def read(path: Path) -> list[Frame]:
    with open_video_file(path) as video:
        return [Frame(frame.time_s, frame.bgr.copy()) for frame in video.frames()]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("film.avi", "MJPG"), ("film.mkv", "MJPG"), ("film.mp4", "mp4v"), ("film.mov", "MJPG")],
)
@pytest.mark.parametrize("rate_hz", [12.5, 25.0, 30.0])
def test_every_frame_comes_once_in_order_at_its_time(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered, name: str, codec: str, rate_hz: float
) -> None:
    path = make_video(tmp_path / name, numbered_frames(50), rate_hz, codec)
    with open_video_file(path) as video:
        assert (video.width, video.height) == (64, 48)
        assert video.rate_hz == pytest.approx(rate_hz, rel=1e-3)
        assert video.expected_frames == pytest.approx(50, abs=1)
        frames = [Frame(frame.time_s, frame.bgr.copy()) for frame in video.frames()]
    assert len(frames) == 50
    times = np.array([frame.time_s for frame in frames])
    assert times[0] == 0.0
    assert times == pytest.approx(np.arange(50) / rate_hz, abs=2e-3)
    brightness = np.array([frame.bgr.mean() for frame in frames])
    assert (np.diff(brightness) > 0.5).all()
    assert all(frame.bgr.shape == (48, 64, 3) and frame.bgr.dtype == np.uint8 for frame in frames)


def test_colours_come_as_blue_green_red(tmp_path: Path, make_video: MakeVideo) -> None:
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 200
    path = make_video(tmp_path / "blue.avi", [blue] * 5)
    b, g, r = read(path)[2].bgr.mean(axis=(0, 1))
    assert b > 150 > 60 > max(g, r)


def test_an_animated_gif_is_a_video(tmp_path: Path, numbered_frames: Numbered) -> None:
    path = tmp_path / "film.gif"
    first, *others = (Image.fromarray(frame) for frame in numbered_frames(25))
    first.save(path, save_all=True, append_images=others, duration=80)
    times = [frame.time_s for frame in read(path)]
    assert times == pytest.approx(np.arange(25) * 0.08, abs=5e-3)


UPRIGHT = (0x10000, 0, 0, 0, 0x10000)
"""The first numbers of the display matrix in an MP4 file's track header."""


@pytest.mark.parametrize(
    ("matrix", "lying"),
    [
        ((0, 0x10000, 0, -0x10000, 0), cv2.ROTATE_90_COUNTERCLOCKWISE),
        ((0, -0x10000, 0, 0x10000, 0), cv2.ROTATE_90_CLOCKWISE),
        ((-0x10000, 0, 0, 0, -0x10000), cv2.ROTATE_180),
    ],
    ids=["right", "left", "over"],
)
def test_a_film_on_its_side_is_turned_as_players_do(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture, matrix: tuple[int, ...], lying: int
) -> None:
    """Telephones write a portrait film lying, with a note on how to turn it."""
    upright = np.asarray(cv2.resize(astronaut[:, 80:440], (96, 128)), np.uint8)
    path = make_video(
        tmp_path / "phone.mp4", [np.asarray(cv2.rotate(upright, lying), np.uint8)] * 5, 25.0, "mp4v"
    )
    content = bytearray(path.read_bytes())
    before, after = (
        b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
        for numbers in (UPRIGHT, matrix)
    )
    place = content.index(before, content.index(b"tkhd"))
    content[place : place + len(after)] = after
    path.write_bytes(content)
    with open_video_file(path) as video:
        assert (video.height, video.width) == (128, 96)
        for frame in video.frames():
            assert np.abs(frame.bgr.astype(float) - upright).mean() < 10  # any other way up it is above 50


def refused(path: Path, error: type[InputError] = VideoError) -> str:
    with pytest.raises(error) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "absent.avi")
    assert "is not a file" in refused(tmp_path)
    assert "is not a file" in refused(Path("/dev/null"))
    assert "File name too long" in refused(tmp_path / ("x" * 300), InputError)
    assert "null" in refused(tmp_path / "a\0b", InputError)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, I am a text\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(5000),
        b"RIFF\x10\0\0\0AVI LIST",
    ],
    ids=["text", "half a picture", "zeros", "an AVI header only"],
)
@pytest.mark.parametrize("name", ["film.avi", "film.mp4", "film.mkv", "film"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refused(path)
    assert str(path) in message
    assert "not a video" in message or "no frame that can be decoded" in message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.avi").write_bytes(b"")
    assert refused(tmp_path / "film.avi") == f"{tmp_path / 'film.avi'} is empty. Copy or record it again."


@pytest.mark.parametrize(
    ("name", "codec"), [("film.avi", "MJPG"), ("film.mkv", "MJPG"), ("film.mp4", "mp4v")]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.95])
def test_a_cut_file_is_refused(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture, name: str, codec: str, share: float
) -> None:
    small = np.asarray(cv2.resize(astronaut, (160, 120)), np.uint8)
    path = make_video(tmp_path / name, [np.roll(small, number, axis=1) for number in range(100)], 25.0, codec)
    os.truncate(path, int(path.stat().st_size * share))
    message = refused(path)
    assert "is truncated: it announces" in message or "its index is cut off" in message


class Decoder:
    """What OpenCV would be for a file with these time stamps."""

    def __init__(self, times_ms: list[float]) -> None:
        self._waiting = list(times_ms)
        self._now = 0.0

    def read(self, image: Picture) -> tuple[bool, Picture | None]:
        if not self._waiting:
            return False, None
        self._now = self._waiting.pop(0)
        return True, image

    def get(self, _what: int) -> float:
        return self._now


def test_a_film_that_claims_to_last_for_days_is_refused() -> None:
    """A single damaged time stamp must not ask for all the memory there is."""
    video = VideoFile(Path("film.avi"), 48, 64, 25.0, 0, Decoder([0.0, 40.0, 1e12]))
    with pytest.raises(VideoError, match=r"film\.avi claims a frame 1000000000 s after its first"):
        list(video.frames())


def test_a_name_is_never_taken_for_a_pattern_or_an_address(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Video libraries read `img_%03d.png`, `http://…` and `concat:…` in names."""
    film = make_video(tmp_path / "film.avi", numbered_frames(5))
    monkeypatch.chdir(tmp_path)
    for name in ("take_%03d.avi", "concat:film.avi", "-film.avi", "film [1].avi", "Müller und Söhne.avi"):
        shutil.copy(film, tmp_path / name)
        assert len(read(Path(name))) == 5
    for number in range(1, 4):
        cv2.imwrite(str(tmp_path / f"img_{number:03d}.png"), numbered_frames(1)[0])
    assert "there is no file" in refused(Path("img_%03d.png"))
    assert "there is no file" in refused(Path("http://127.0.0.1:9/film.avi"))


def test_a_playlist_does_not_lead_to_other_files(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered
) -> None:
    """A "video" that names other files or addresses is a text, not a recording."""
    film = make_video(tmp_path / "film.avi", numbered_frames(5))
    concat = tmp_path / "list.avi"
    concat.write_text(f"ffconcat version 1.0\nfile {film}\n")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n")
    for path in (concat, playlist):
        refused(path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/film.ts"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        refused(playlist)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_of_any_bytes_is_opened(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered
) -> None:
    """OpenCV 5 crashes on names that are not UTF-8."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfclm.avi"))
    make_video(tmp_path / "film.avi", numbered_frames(5)).rename(odd)
    assert len(read(odd)) == 5


def test_links_in_a_circle_and_closed_files_are_refused(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "symbolic links" in refused(tmp_path / "a", InputError)
    closed = make_video(tmp_path / "closed.avi", numbered_frames(5))
    closed.chmod(0)
    assert "Permission denied" in as_nobody(closed)


def as_nobody(path: Path) -> str:
    """What a user without rights is told, root being refused nothing."""
    if os.geteuid() != 0:
        return refused(path)
    reading, writing = os.pipe()
    for folder in path.parents[:3]:
        folder.chmod(folder.stat().st_mode | 0o055)  # added to: one of these may be the system's own
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(writing, refused(path, InputError).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_a_pipe_named_as_a_file_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody will ever write into it: opening it would wait for ever."""
    os.mkfifo(tmp_path / "film.mp4")
    assert "is not a file" in refused(tmp_path / "film.mp4")


def test_a_file_that_is_cut_while_it_is_read_is_refused(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture
) -> None:
    path = make_video(tmp_path / "film.avi", [astronaut] * 60)
    with open_video_file(path) as video:
        frames = video.frames()
        next(frames)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(VideoError, match="is truncated: it announces 60 frames"):
            list(frames)


def test_a_file_that_grows_while_it_is_read_is_read_on(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture
) -> None:
    content = make_video(tmp_path / "whole.ts", [astronaut] * 60, codec="MPG1").read_bytes()
    path = tmp_path / "growing.ts"
    path.write_bytes(content[: len(content) // 2])
    with open_video_file(path) as video:
        frames = video.frames()
        times = [next(frames).time_s]
        with path.open("ab") as file:
            file.write(content[len(content) // 2 :])
        times += [frame.time_s for frame in frames]
    assert len(times) > 50
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("size", [(160, 120), (3840, 2160), (2, 2), (4096, 16)])
def test_frames_of_any_size_come_as_they_are(
    tmp_path: Path, make_video: MakeVideo, astronaut: Picture, size: tuple[int, int]
) -> None:
    picture = np.asarray(cv2.resize(astronaut, size), np.uint8)
    path = make_video(tmp_path / "film.avi", [picture] * 3)
    with open_video_file(path) as video:
        assert (video.width, video.height) == size
        assert [frame.bgr.shape for frame in video.frames()] == [(size[1], size[0], 3)] * 3


def test_a_picture_that_is_resized_midway_is_scaled_to_the_first_size(
    tmp_path: Path, ffmpeg: Callable[..., None]
) -> None:
    """Browsers record calls like that."""
    content = b""
    for number, size in enumerate(("64x48", "128x48", "32x24")):
        arguments = ("-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration=1", "-c:v", "mpeg2video")
        ffmpeg(*arguments, "-output_ts_offset", str(number), tmp_path / "part.ts")
        content += (tmp_path / "part.ts").read_bytes()
    (tmp_path / "film.ts").write_bytes(content)
    with open_video_file(tmp_path / "film.ts") as video:
        sizes = [frame.bgr.shape[1::-1] for frame in video.frames() if frame.bgr.any()]
    assert set(sizes) == {(64, 48)}
    assert len(sizes) > 70  # FFmpeg loses a frame at each change


def test_grey_and_see_through_films_come_in_colour_channels(tmp_path: Path, astronaut: Picture) -> None:
    small = Image.fromarray(np.ascontiguousarray(astronaut[::8, ::8, ::-1]))
    for mode in ("L", "LA", "RGBA", "P"):
        first, *others = (small.rotate(angle).convert(mode) for angle in range(3))
        first.save(tmp_path / "film.apng", save_all=True, append_images=others, duration=40)
        frames = read(tmp_path / "film.apng")
        assert len(frames) == 3
        grey = np.abs(frames[0].bgr[..., 0].astype(float) - frames[0].bgr[..., 2]).max() < 2
        assert grey == (mode in {"L", "LA"})
        assert frames[0].bgr.shape == (60, 80, 3)


def test_one_frame_is_a_video_and_sound_alone_is_none(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered
) -> None:
    assert [frame.time_s for frame in read(make_video(tmp_path / "one.mkv", numbered_frames(1)))] == [0.0]
    header = b"RIFF" + (36 + 16000).to_bytes(4, "little") + b"WAVEfmt " + bytes((16, 0, 0, 0, 1, 0, 1, 0))
    header += (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little") + bytes((2, 0, 16, 0))
    sound = np.sin(np.arange(8000) / 5) * 9000
    (tmp_path / "sound.wav").write_bytes(
        header + b"data" + (16000).to_bytes(4, "little") + sound.astype("<i2").tobytes()
    )
    assert "is not a video" in refused(tmp_path / "sound.wav")


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv", "sound.ogg", "cover.mp3"])
def test_sound_in_a_film_s_container_is_no_video(
    tmp_path: Path, ffmpeg: Callable[..., None], name: str
) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / name)
    assert "is not a video" in refused(tmp_path / name)


def test_frames_are_overwritten_after_use(
    tmp_path: Path, make_video: MakeVideo, numbered_frames: Numbered
) -> None:
    with open_video_file(make_video(tmp_path / "film.avi", numbered_frames(5))) as video:
        pictures = [frame.bgr for frame in video.frames()]
        assert all(picture is pictures[0] for picture in pictures)
        assert not pictures[0].any()
        left_early = next(video_again := open_and_take(tmp_path / "film.avi"))
        assert left_early.any()
        video_again.close()
        assert not left_early.any()


def open_and_take(path: Path) -> Generator[Picture, None, None]:
    with open_video_file(path) as video:
        for frame in video.frames():
            yield frame.bgr
