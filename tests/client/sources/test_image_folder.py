"""Pictures of a folder as frames: their order, their times, every kind of picture, and what is none."""

import io
import os
import zlib
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mien_client.sources import open_source
from mien_client.sources.image_folder import images_in, natural_order
from mien_common.errors import InputError, VideoError

Picture = NDArray[np.uint8]
TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How a camera's picture lies in the file, for what its Exif orientation then says."""


@pytest.fixture(scope="session")
def portrait(astronaut: Picture) -> Image.Image:
    """160×120, in colour."""
    return Image.fromarray(np.ascontiguousarray(astronaut[::4, ::4, ::-1]))


def bgr_of(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("RGB"), float)[..., ::-1]


def taken(
    folder: Path, rate_hz: float | None = None, said: list[str] | None = None
) -> list[tuple[float, Picture]]:
    say = said.append if said is not None else pytest.fail
    with open_source(folder, rate_hz=rate_hz, say=say) as source:
        frames = [(frame.time_s, frame.bgr.copy()) for frame in source.frames()]
        assert all(bgr.shape[0] <= source.height and bgr.shape[1] <= source.width for _, bgr in frames)
    return frames


def test_pictures_come_in_the_order_a_person_counts(tmp_path: Path) -> None:
    for number in (1, 2, 3, 9, 10, 11, 100):
        Image.new("L", (8, 8), number).save(tmp_path / f"img{number}.png")
    frames = taken(tmp_path, rate_hz=10.0)
    assert [int(bgr[0, 0, 0]) for _, bgr in frames] == [1, 2, 3, 9, 10, 11, 100]
    assert [time_s for time_s, _ in frames] == pytest.approx(np.arange(7) / 10)
    assert [time_s for time_s, _ in taken(tmp_path)] == pytest.approx(np.arange(7) / 25)


def test_every_kind_of_picture_shows_the_same_face(tmp_path: Path, portrait: Image.Image) -> None:
    deep = np.asarray(bgr_of(portrait), np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    for name, mode in {
        **{"a.png": "RGB", "b.png": "RGBA", "c.jpg": "RGB", "d.jpeg": "CMYK", "e.bmp": "RGB", "f.ppm": "RGB"},
        **{"g.tif": "RGB", "h.tiff": "CMYK", "i.webp": "RGB", "j.PNG": "RGB", "k.webp": "RGBA"},
    }.items():
        portrait.convert(mode).save(tmp_path / name, quality=95)
    for orientation, turned in TURNED.items():
        note = Image.Exif()
        note[0x0112] = orientation
        for suffix in (".jpg", ".png", ".webp", ".tif"):
            portrait.transpose(turned).save(tmp_path / f"turned{orientation}{suffix}", exif=note, quality=95)
    frames = taken(tmp_path)
    assert len(frames) == 24
    for path, (_, bgr) in zip(images_in(tmp_path), frames, strict=True):
        assert bgr.shape == (120, 160, 3), path
        assert bgr.dtype == np.uint8
        assert np.abs(bgr - bgr_of(portrait)).mean() < 6, path  # turned another way it is above 40


def test_grey_pictures_are_grey_in_three_channels(tmp_path: Path, portrait: Image.Image) -> None:
    grey = portrait.convert("L")
    cv2.imwrite(str(tmp_path / "deep.png"), np.asarray(grey, np.uint16) * 257)
    for mode in ("L", "LA", "P"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
    frames = taken(tmp_path)
    assert len(frames) == 4
    for _, bgr in frames:
        assert np.abs(bgr.astype(float) - np.asarray(grey, float)[..., None]).max() <= 1


def test_pictures_of_many_sizes_keep_their_own(tmp_path: Path) -> None:
    sizes = [(64, 48), (48, 64), (640, 480), (3, 2), (4096, 16)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (200, 10, 10)).save(tmp_path / f"{number}.png")
    with open_source(tmp_path) as source:
        assert (source.height, source.width, source.expected_frames) == (480, 4096, 5)
        assert [frame.bgr.shape[1::-1] for frame in source.frames()] == sizes


def test_what_is_no_picture_is_left_out_and_a_broken_one_leaves_a_gap(
    tmp_path: Path, portrait: Image.Image
) -> None:
    whole = io.BytesIO()
    portrait.save(whole, "PNG")
    for number in (1, 3, 6):
        (tmp_path / f"{number}.png").write_bytes(whole.getvalue())
    (tmp_path / "2.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (tmp_path / "4.png").write_text("not a picture")
    (tmp_path / "5.png").write_bytes(b"")
    for junk in ("Thumbs.db", "notes.txt", ".2.png", "README", "film.avi"):
        (tmp_path / junk).write_bytes(b"junk")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "absent.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    said: list[str] = []
    assert [time_s for time_s, _ in taken(tmp_path, 10.0, said)] == pytest.approx([0.0, 0.2, 0.5])
    assert said == [f"3 of 6 pictures in {tmp_path} cannot be decoded; they count as missing frames."]


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (8193, 2)).save(tmp_path / "wide.png")
    content = bytearray((tmp_path / "wide.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # 10 GB once it is decoded
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(VideoError, match="holds no picture that can be decoded"):
        taken(tmp_path)
    Image.new("L", (8192, 2)).save(tmp_path / "widest.png")
    assert len(taken(tmp_path, said=[])) == 1


def test_folders_without_a_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match=r"holds no pictures\. Give a folder of \.bmp, \.jpeg, \.jpg"):
        taken(tmp_path / "empty")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="symbolic links"):
        taken(tmp_path / "circle")


def test_pictures_that_vanish_are_missing(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    said: list[str] = []
    with open_source(tmp_path, say=said.append) as source:
        (tmp_path / "1.png").unlink()
        Image.new("L", (80, 80)).save(tmp_path / "2.png")  # larger than what there is room for
        assert [round(frame.time_s * 25) for frame in source.frames()] == [0, 3]
    assert "2 of 4 pictures" in said[0]


def test_names_of_any_bytes_are_pictures(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/b\xfcld1.png"
    Image.new("L", (8, 8), 5).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(Path(os.fsdecode(odd)))
    assert len(taken(tmp_path)) == 1


def test_pixels_are_overwritten_after_use(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("L", (8, 8), 200).save(tmp_path / f"{number}.png")
    with open_source(tmp_path) as source:
        pictures = [frame.bgr for frame in source.frames()]
    assert not any(picture.any() for picture in pictures)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_names_sort_whatever_is_in_them(names: list[str]) -> None:
    ordered = sorted(names, key=natural_order)
    assert all(natural_order(one) <= natural_order(other) for one, other in pairwise(ordered))
    assert sorted(["x10", "x9", "x" + "1" * 5000], key=natural_order)[:2] == ["x9", "x10"]
