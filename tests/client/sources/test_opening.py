"""Which words name which kind of source, and what is said when they name none."""

from pathlib import Path

import pytest
from PIL import Image

from mien_client.sources import RawFormat, needs_network, open_source
from mien_common.errors import InputError, MienError, SettingsError, VideoError

RAW = RawFormat(4, 3, 25.0)


def refused(spec: str | Path, error: type[MienError] = VideoError, **options: object) -> str:
    with pytest.raises(error) as raised, open_source(spec, **options):  # type: ignore[arg-type]
        pass
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_only_addresses_need_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("rtsp://h/x", "RTSPS://h/x", "  rtsp://h", "http://h/x", "rtsp:/u:p@h"):
        assert needs_network(spec)
    for spec in ("-", "0", "/dev/video0", "film.mp4", "folder", "a b: c.mp4"):
        assert not needs_network(spec)
    assert not needs_network(Path("rtsp://h/x"))
    monkeypatch.chdir(tmp_path)
    Path("rtsp:").mkdir()
    Path("rtsp:/film.mp4").touch()
    assert not needs_network("rtsp:/film.mp4")  # a file of that name goes first


def test_a_path_is_always_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(Path("0")) == "there is no file 0."
    assert "secret" not in refused(Path("rtsp://lab:secret@camera/face"))
    assert refused(Path("-")) == "there is no file -."
    assert "there is no camera /dev/video973" in refused("973")


def test_options_that_do_not_fit_are_said(tmp_path: Path) -> None:
    (tmp_path / "film.avi").touch()
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    assert "Give it as --raw" in refused("-", SettingsError)
    assert "--raw is the size of frames on standard input" in refused(tmp_path, SettingsError, raw=RAW)
    assert "--raw is the size" in refused("0", SettingsError, raw=RAW)
    assert "time stamps of its own" in refused(tmp_path / "film.avi", SettingsError, rate_hz=25.0)
    assert "a rate of its own" in refused("rtsp://127.0.0.1:9/x", SettingsError, rate_hz=25.0)
    for rate_hz in (0.0, -1.0, 1001.0, float("nan")):
        assert "frames a second cannot be" in refused(tmp_path, SettingsError, rate_hz=rate_hz)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "absent.mp4")) == f"there is no file {tmp_path / 'absent.mp4'}."
    assert "no source is named" in refused(" ", SettingsError)
    assert "null" in refused("a\0b", InputError)
    assert "File name too long" in refused("x" * 300, InputError)
