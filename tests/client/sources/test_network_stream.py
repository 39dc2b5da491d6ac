"""Network streams against a real RTSP server on this machine, and logins that must not be told."""

import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mien_client.frames import Frame
from mien_client.sources import open_source
from mien_client.sources.live import LiveSource
from mien_common.errors import VideoError
from tests.free_ports import free_ports

SERVER = Path(__file__).with_name("rtsp_server.py")
LOGIN, SECRETS = "quinn:x%40zorro%2Fgrue", ("x%40zorro", "x@zorro", "grue", "quinn")
"""Words that no library would say by itself: "unavailable" has a "lab" in it."""
PATIENCE_S = 60.0
Serve = Callable[[int, str], subprocess.Popen[str]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts RTSP servers; all are ended with the test."""
    python = shutil.which("python3", path="/usr/bin")
    gi = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if python is None or subprocess.run([python, "-c", gi], capture_output=True, timeout=60).returncode:
        pytest.skip(
            "no RTSP server (apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good)"
        )
    running: list[subprocess.Popen[str]] = []

    def start(port: int, login: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            [python, str(SERVER), str(port), *([login] if login else [])], stdout=subprocess.PIPE, text=True
        )
        running.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    yield start
    for server in running:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def test_a_stream_is_read_lost_waited_for_and_read_again(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    port, said, taken = free_ports(1)[0], list[str](), list[tuple[float, float]]()
    server = serve(port, "quinn:x@zorro/grue")
    with open_source(f"rtsp://{LOGIN}@127.0.0.1:{port}/face", say=said.append) as source:
        assert source.live
        assert (source.name, source.height, source.width) == (f"rtsp://127.0.0.1:{port}", 120, 160)
        assert source.rate_hz == pytest.approx(25)
        frames = source.frames()
        while len(taken) < 20:
            taken.append(arrival(next(frames)))
        server.kill()
        server.wait()
        server = serve(port, "quinn:x@zorro/grue")
        while len(said) < 2:
            taken.append(arrival(next(frames)))
        back = len(taken) - 1
        while len(taken) < back + 20:
            taken.append(arrival(next(frames)))
        text = repr(source) + source.name + "".join(said)
    ours, arrived = np.array(taken).T
    assert (np.diff(ours) > 0).all()
    # The camera films at 25 Hz: its stamps say so exactly, however unevenly this machine took the frames.
    steps = np.delete(np.diff(ours), back - 1)
    assert steps * 25 == pytest.approx(np.round(steps * 25), abs=0.05)
    # What was missed is a gap: time went on as it did here.
    assert ours[-1] - ours[0] == pytest.approx(arrived[-1] - arrived[0], abs=1.0)
    assert said[0] == f"rtsp://127.0.0.1:{port} is lost; waiting for it to come back."
    assert said[1].startswith(f"rtsp://127.0.0.1:{port} is back after ")
    text += caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in text]


def arrival(frame: Frame) -> tuple[float, float]:
    assert frame.bgr.shape == (120, 160, 3)
    assert frame.bgr.any()
    return frame.time_s, time.monotonic()


def refused(address: str) -> str:
    with pytest.raises(VideoError) as raised, open_source(address):
        pass
    error = raised.value
    assert error.__context__ is None or error.__suppress_context__  # a traceback would quote the address
    return str(error)


def test_a_wrong_login_and_a_wrong_path_are_said_without_them(serve: Serve) -> None:
    (port,) = free_ports(1)
    serve(port, "quinn:x@zorro/grue")
    for address in (
        f"lab:secret@127.0.0.1:{port}/face",
        f"127.0.0.1:{port}/face",
        f"{LOGIN}@127.0.0.1:{port}/no",
    ):
        assert refused(f"rtsp://{address}").startswith(f"rtsp://127.0.0.1:{port} answers but sends no video.")


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://lab:sec@ret@cam/face",
        "rtsp://lab:sec/ret@cam/face",
        "rtsp://lab:12/secret@cam/face",
        "rtsp://lab:sec#ret@cam/face",
        "rtsp://lab:sec?ret@cam/face",
        "rtsp://lab:sec ret@cam/face",
        "rtsp://lab:secret@[cam/face",
        "rtsp://lab:secret@cam:99999/face",
        "rtsp:/lab:secret@cam/face",
        "rtsp:///secret",
        " RTSP://lab:secret@ca\tm/x",
        "http://lab:secret@cam/face",
        "rtspx://lab:secret@cam/face",
    ],
)
def test_addresses_that_cannot_be_read_are_not_quoted(address: str) -> None:
    message = refused(address)
    assert "rtsp://" in message
    assert not [
        secret for secret in ("secret", "sec@", "lab", "cam") if secret in message.replace("camera", "")
    ]


def test_nobody_at_the_address_is_said_without_the_login() -> None:
    with socket.socket() as taken:  # held and not listened at: nobody else can come to answer there
        taken.bind(("127.0.0.1", 0))
        message = refused(f"rtsp://lab:secret@127.0.0.1:{taken.getsockname()[1]}/face?user=secret")
    assert "cannot be reached (Connection refused)" in message
    assert "secret" not in message
    assert "lab" not in message


def test_somebody_who_takes_the_call_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien_client.sources.network_stream.STREAM_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "answers but sends no video" in refused(f"rtsp://127.0.0.1:{port}/face")


def test_a_stream_is_closed_while_it_is_waited_for(serve: Serve) -> None:
    """Ctrl-C while the camera is away ends the program at once."""
    (port,) = free_ports(1)
    server = serve(port, "")
    lost = threading.Event()
    with open_source(f"rtsp://127.0.0.1:{port}/face", say=lambda _: lost.set()) as source:
        assert isinstance(source, LiveSource)
        frames = source.frames()
        next(frames)
        server.kill()
        server.wait()
        reader = threading.Thread(target=lambda: list(frames))
        reader.start()
        assert lost.wait(PATIENCE_S)
        source.close()
        reader.join(PATIENCE_S)
        assert not reader.is_alive()
