"""Cameras: what is said where there is none. No camera was at hand; frames of one: test_live.py."""

import os
from pathlib import Path

import pytest

from mien_client.sources.camera import camera_device, open_camera
from mien_common.errors import VideoError


def refused(device: Path) -> str:
    with pytest.raises(VideoError) as raised, open_camera(device, None, pytest.fail):
        pass
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_words_that_name_a_camera() -> None:
    assert camera_device("0") == Path("/dev/video0")
    assert camera_device("12") == Path("/dev/video12")
    assert camera_device("/dev/video3") == Path("/dev/video3")
    assert camera_device("/dev/v4l/by-id/usb-cam-index0") == Path("/dev/v4l/by-id/usb-cam-index0")
    for other in ("-1", "0.mp4", "./0", "/dev/null", "/dev/video", "video0", "1000", "٣", ""):
        assert camera_device(other) is None


def test_a_camera_that_is_not_there_is_said() -> None:
    message = refused(Path("/dev/video973"))
    assert message.startswith("there is no camera /dev/video973 (No such file or directory). Plug it in; ")


def test_what_is_no_camera_is_said(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"a file")
    assert "video0 is not a camera" in refused(tmp_path / "video0")
    (tmp_path / "video1").symlink_to("/dev/null")  # a device, as cameras are, but none that films
    assert "video1 cannot be used: another program may hold it" in refused(tmp_path / "video1")
    (tmp_path / "video2").symlink_to(tmp_path / "video2")
    assert "Too many levels of symbolic links" in refused(tmp_path / "video2")


@pytest.mark.skipif(os.geteuid() != 0, reason="a device closed to us can only be made by root")
def test_a_camera_closed_to_this_user_is_said(tmp_path: Path) -> None:
    for folder in list(tmp_path.parents)[:3]:
        folder.chmod(folder.stat().st_mode | 0o055)  # added to: one of these may be the system's own
    tmp_path.chmod(0o755)
    device = tmp_path / "video0"
    try:
        os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(writing, refused(device).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "may not be opened by this user. Join the group that owns it, usually `video`" in pipe.read()
