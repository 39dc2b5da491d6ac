"""``mien agent watch``: what is shown of each frame, what happens when something is missing or arrives."""

import fcntl
import itertools
import json
import logging
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mien_client.affect_stream import Moment
from mien_client.calibration import KnownNeutral
from mien_client.commands.watch_screen import JsonScreen, TextScreen, in_words
from mien_client.frames import Frame
from mien_client.newest_model import keep_newest
from mien_client.observations import FaceState, Observation
from mien_client.sessions import Session, write_session
from mien_client.site import Site
from mien_client.sources import Say
from mien_client.watch import What, watch
from mien_client.watch_report import Setup, Shown, Summary
from mien_common.architecture import Architecture
from mien_common.cli import main
from mien_common.errors import ModelError, StorageError, VideoError
from mien_common.messages import RoundOrder
from mien_common.network import build
from mien_common.published import ModelCard
from mien_common.weights import weights_of

Image = NDArray[np.uint8]

PATIENCE_S = 180.0
SMALL = Architecture(hidden_units=4, layers=1)
COMMAND = [sys.executable, "-c", "from mien_common.cli import main; main()", "agent", "watch"]


BOTH_WAYS = SMALL.model_copy(update={"bidirectional": True})


def receive_model(site: Site, round_: int, architecture: Architecture = SMALL) -> None:
    """As an agent does on an evaluate order."""
    order = RoundOrder(architecture=architecture, run="2026-11-23-001", round=round_, seed=1)
    keep_newest(site, order, weights_of(build(architecture, round_)), 42, time.time() - 100 + round_)


@pytest.fixture
def trained_site(site: Site, make_session: Callable[..., Session]) -> Site:
    """A site with a session to standardise by, and the model of round 1."""
    write_session(site.sessions, make_session("s"))
    receive_model(site, 1)
    return site


@dataclass
class Seen:
    """A screen that remembers."""

    setup: Setup | None = None
    frames: list[Shown] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    models: list[int] = field(default_factory=list)
    summary: Summary | None = None
    on_frame: Callable[[int], None] = field(default=lambda _: None)

    def begin(self, setup: Setup) -> None:
        self.setup = setup

    def show(self, shown: Shown) -> None:
        self.frames.append(shown)
        self.on_frame(len(self.frames))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def model(self, card: ModelCard) -> None:
        self.models.append(card.round)

    def end(self, summary: Summary) -> None:
        self.summary = summary


@dataclass
class Camera:
    """A source of small grey frames; black where nobody is there. ``between`` runs before each frame."""

    count: int
    live: bool = True
    between: Callable[[int], None] = field(default=lambda _: None)
    times_s: Callable[[int], float] = field(default=lambda number: number / 25)
    name: str = "camera 0"
    height: int = 4
    width: int = 6
    rate_hz: float = 25.0
    expected_frames: int = 0
    say: Say = field(default=lambda _: None)

    def frames(self) -> Iterator[Frame]:
        for number in range(self.count):
            self.between(number)
            yield Frame(self.times_s(number), np.full((4, 6, 3), 100, np.uint8))


def paced(_number: int) -> None:
    time.sleep(0.01)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


class TestWithoutAFaceProcess:
    """The watch itself, on observations as quick as a wink."""

    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
        def observe(frame: Frame) -> Observation:
            values = np.sin(frame.time_s + np.arange(20)).astype(np.float32) + 1.5
            return Observation(frame.time_s, FaceState.SEEN, values)

        @contextmanager
        def face_process(*_: object, **__: object) -> Iterator[SimpleNamespace]:
            yield SimpleNamespace(observe=observe)

        def run(
            camera: Camera,
            site: Site | None,
            screen: Seen | None = None,
            *,
            in_step: bool = True,
            patience_s: float = PATIENCE_S,
            **what: Any,
        ) -> Seen:
            """In step: a frame comes once the one before is shown, so that a busy machine drops none.

            And not before ``patience_s`` without a frame is a camera taken to be lost.
            """
            screen, between = screen or Seen(), camera.between

            def shown(number: int) -> bool:
                """Or passed over; or nobody looks any more."""
                seen_s = screen.frames[-1].moment.features.time_s if screen.frames else -1.0
                return screen.summary is not None or not number or seen_s >= camera.times_s(number - 1)

            def after_the_one_before(number: int) -> None:
                until(lambda: shown(number))
                between(number)

            camera.between = after_the_one_before if in_step else between
            monkeypatch.setattr("mien_client.watch.PATIENCE_S", patience_s)

            @contextmanager
            def opened(*_: object, say: Say, **__: object) -> Iterator[Camera]:
                camera.say = say
                yield camera

            monkeypatch.setattr("mien_client.watch.open_source", opened)
            monkeypatch.setattr("mien_client.watch.FaceProcess", face_process)
            stopped = what.pop("stopped", lambda: False)
            neutral = KnownNeutral(np.zeros(17, np.float32))
            asked = What(spec="0", neutral=neutral, neutral_in_words="at rest", site=site, **what)
            watch(asked, screen, stopped)
            return screen

        return run

    def test_every_frame_is_shown_with_its_prediction(
        self, run: Callable[..., Seen], trained_site: Site
    ) -> None:
        seen = run(Camera(30, between=paced), trained_site)
        assert seen.setup is not None
        assert (seen.setup.source, seen.setup.scaled_by, seen.setup.confined) == ("camera 0", "site", True)
        assert (seen.setup.card.run, seen.setup.card.round) == ("2026-11-23-001", 1) if seen.setup.card else 0
        assert (len(seen.frames), seen.frames[-1].dropped) == (30, 0)
        # Of the first there is nothing to take differences from yet.
        assert [shown.moment.affect is None for shown in seen.frames] == [True] + [False] * 29
        assert all(shown.latency_s is not None and shown.latency_s >= 0 for shown in seen.frames)
        assert seen.summary is not None
        assert seen.summary.frames == seen.summary.with_face == len(seen.frames)
        assert seen.summary.predicted == 29
        assert 0 <= seen.summary.latency_ms(0.5) <= seen.summary.latency_ms(0.99) < 2000

    def test_who_is_slow_is_shown_the_newest_and_how_many_were_dropped(
        self, run: Callable[..., Seen], trained_site: Site
    ) -> None:
        given: list[int] = []

        def between(number: int) -> None:
            paced(number)
            given.append(number)

        screen = Seen(on_frame=lambda count: until(lambda: len(given) > 10) if count == 1 else None)
        seen = run(Camera(30, between=between), trained_site, screen, in_step=False)
        assert seen.frames[-1].dropped > 0
        assert len(seen.frames) + seen.frames[-1].dropped == 30
        assert seen.summary is not None
        assert seen.summary.dropped == seen.frames[-1].dropped

    def test_a_frame_is_predicted_by_one_thread(self, run: Callable[..., Seen], trained_site: Site) -> None:
        """Several wait for each other where other programs want the cores as well."""
        threads: set[int] = set()
        screen = Seen(on_frame=lambda _: threads.add(torch.get_num_threads()))
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            run(Camera(5, between=paced), trained_site, screen)
        finally:
            torch.set_num_threads(before)
        assert threads == {1}

    def test_a_newer_model_is_taken_up(
        self, run: Callable[..., Seen], trained_site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mien_client.watch.MODEL_EVERY_S", 0.02)
        screen = Seen()
        screen.on_frame = lambda count: receive_model(trained_site, 2) if count == 10 else None
        run(Camera(60, between=paced), trained_site, screen)
        assert screen.models == [2]
        rounds = [shown.card.round if shown.card is not None else 0 for shown in screen.frames]
        assert rounds == sorted(rounds)
        assert set(rounds) == {1, 2}

    def test_a_model_can_come_later_and_a_damaged_one_is_passed_over(
        self, run: Callable[..., Seen], site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mien_client.watch.MODEL_EVERY_S", 0.02)
        receive_model(site, 1)
        (site.models / "newest" / "model.safetensors").write_bytes(b"half a mod")
        screen = Seen()
        screen.on_frame = lambda count: receive_model(site, 2) if count == 20 else None
        run(Camera(60, between=paced), site, screen)
        assert screen.setup is not None
        assert (screen.setup.card, screen.setup.scaled_by) == (None, "running")
        assert [notice for notice in screen.notices if "cannot be used, going on without one" in notice]
        assert len(screen.notices) == 1, "said again and again"
        assert screen.models == [2]
        # Running statistics need 10 s of face first, and say how long that still is.
        assert all(shown.moment.affect is None for shown in screen.frames)
        assert 0 < screen.frames[-1].moment.wait_s < 10

    def test_without_a_site_there_are_features(self, run: Callable[..., Seen]) -> None:
        seen = run(Camera(10, between=paced), None)
        assert seen.setup is not None
        assert (seen.setup.card, seen.setup.scaled_by) == (None, "running")
        assert np.isfinite(seen.frames[-1].moment.features.values).all()
        assert seen.frames[-1].moment.affect is None

    def test_a_model_that_was_asked_for_must_be_there(self, run: Callable[..., Seen], tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="there is no model at"):
            run(Camera(10), None, model=tmp_path / "absent")

    @pytest.mark.parametrize("changes", [{"bidirectional": True}, {"predicts": "window"}])
    def test_a_model_that_was_asked_for_must_be_one_to_watch_with(
        self, run: Callable[..., Seen], site: Site, changes: dict[str, object]
    ) -> None:
        receive_model(site, 3, SMALL.model_copy(update=changes))
        screen = Seen()
        with pytest.raises(
            ModelError, match=r"round 3: .*needs a whole recording, so it cannot be watched live"
        ):
            run(Camera(10), site, screen, model=site.models / "newest")
        assert screen.setup is None, "the camera was opened for nothing"

    @pytest.mark.parametrize("earlier", [True, False])
    def test_rounds_of_a_model_that_cannot_be_watched_are_said_once_and_the_stream_goes_on(
        self, run: Callable[..., Seen], trained_site: Site, monkeypatch: pytest.MonkeyPatch, earlier: bool
    ) -> None:
        monkeypatch.setattr("mien_client.watch.MODEL_EVERY_S", 0.02)
        if not earlier:
            receive_model(trained_site, 2, BOTH_WAYS)
        rounds: dict[int, Architecture] = {10: BOTH_WAYS, 25: BOTH_WAYS, 45: SMALL}
        screen = Seen()

        def on_frame(count: int) -> None:
            if count in rounds:
                receive_model(trained_site, count, rounds[count])

        screen.on_frame = on_frame

        def stopped() -> bool:
            return bool(screen.models) and screen.frames[-1].card is not None

        run(Camera(10_000, between=paced), trained_site, screen, stopped=stopped)
        kept = "with the one there is" if earlier else "without one"
        assert len(screen.notices) == 1
        assert f"cannot be used, going on {kept}: the model in " in screen.notices[0]
        assert "bidirectional GRU" in screen.notices[0]
        assert screen.models == [45]
        used = {shown.card.round if shown.card is not None else 0 for shown in screen.frames[:45]}
        assert used == {1 if earlier else 0}
        assert any(shown.moment.affect is not None for shown in screen.frames[26:45]) == earlier

    def test_a_camera_that_is_lost_shows_as_a_gap_and_comes_back(
        self, run: Callable[..., Seen], trained_site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The frame that had been under way when it was lost comes far too late, and is passed over."""
        screen, away_s = Seen(), 0.0

        def between(number: int) -> None:
            nonlocal away_s
            time.sleep(0.01)
            if number == 20:
                lost_s = time.monotonic()
                camera.say("the camera is lost")
                until(lambda: sum(shown.latency_s is None for shown in screen.frames) > 1)
                away_s = time.monotonic() - lost_s
                monkeypatch.setattr("mien_client.watch.PATIENCE_S", PATIENCE_S)
                camera.say("the camera is back")

        camera = Camera(40, between=between)
        camera.times_s = lambda number: number / 25 + (away_s + 1 if number > 20 else 0)
        seen = run(camera, trained_site, screen, patience_s=0.5)
        assert seen.notices == ["the camera is lost", "the camera is back"]
        gaps = [shown for shown in seen.frames if shown.latency_s is None]
        assert gaps
        assert all(gap.moment.features.state == FaceState.NO_FRAME for gap in gaps)
        assert all(gap.moment.affect is None for gap in gaps)
        times_s = [shown.moment.features.time_s for shown in seen.frames]
        assert times_s == sorted(set(times_s))
        assert seen.frames[-1].moment.affect is not None
        assert seen.summary is not None
        assert seen.summary.frames == len(seen.frames) - len(gaps)
        assert seen.summary.dropped >= 1

    def test_a_recordings_gap_is_the_recordings_own(self, run: Callable[..., Seen]) -> None:
        """A pause in a file's time stamps is no camera that is lost."""
        camera = Camera(2, live=False, times_s=lambda number: 0.8 * number)
        seen = run(camera, None)
        assert [shown.moment.features.time_s for shown in seen.frames] == [0.0, 0.8]

    def test_it_ends_after_the_seconds_or_when_told(self, run: Callable[..., Seen]) -> None:
        began = time.monotonic()
        seen = run(Camera(10_000, between=paced), None, seconds=0.3)
        assert seen.summary is not None
        assert seen.summary.seconds >= 0.3
        told = iter([False] * 5 + [True])
        seen = run(Camera(10_000, between=paced), None, stopped=lambda: next(told))
        assert len(seen.frames) <= 5
        assert time.monotonic() - began < PATIENCE_S

    def test_a_source_that_breaks_off_is_an_error_after_the_summary(self, run: Callable[..., Seen]) -> None:
        def breaks(number: int) -> None:
            time.sleep(0.01)
            if number == 5:
                raise VideoError("it broke off")

        screen = Seen()
        with pytest.raises(VideoError, match="it broke off"):
            run(Camera(10, between=breaks), None, screen)
        assert screen.summary is not None
        assert screen.summary.frames >= 1

    def test_a_lost_face_process_is_said(self, run: Callable[..., Seen]) -> None:
        """What our own modules log goes to the screen, not across it."""

        def warn(number: int) -> None:
            time.sleep(0.01)
            if number == 3:
                logging.getLogger("mien_client.face.process").warning("it died; %d frames are lost", 2)

        assert run(Camera(8, between=warn), None).notices == ["it died; 2 frames are lost"]
        assert not logging.getLogger("mien_client").handlers


def test_half_of_the_frames_kept_within_the_median() -> None:
    summary = Summary()
    moment: Any = SimpleNamespace(features=SimpleNamespace(state=FaceState.SEEN), affect=None)
    latencies_ms = np.random.default_rng(1).integers(5, 90, 500)
    for latency_ms in [*latencies_ms, 10_000]:
        summary.count(Shown(moment, latency_ms / 1000, None, 30.0, 0))
    assert summary.latency_ms(0.5) == pytest.approx(np.median(latencies_ms), abs=1)
    assert summary.latency_ms(0.99) == pytest.approx(np.percentile(latencies_ms, 99), abs=2)
    assert summary.latency_ms(1.0) == 1999


class Tap:
    """Raw frames into a command's standard input, at 25 a second, until it is told to stop or has gone."""

    def __init__(self, pipe: Any, frames: list[Image]) -> None:
        self._pipe, self._frames = pipe, [frame.tobytes() for frame in frames]
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        began = time.monotonic()
        with suppress(BrokenPipeError), self._pipe:
            for number in itertools.count():
                if self.closed.wait(max(began + number / 25 - time.monotonic(), 0.0)):
                    return
                self._pipe.write(self._frames[number % len(self._frames)])
                self._pipe.flush()

    def close(self) -> None:
        self.closed.set()
        self._thread.join(PATIENCE_S)


def wobbling(portrait: Image) -> list[Image]:
    return [
        np.roll(portrait, (round(6 * np.sin(0.2 * number)), round(4 * np.cos(0.2 * number))), axis=(1, 0))
        for number in range(63)
    ]


def files_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_live_from_a_pipe_with_a_newer_model_until_ctrl_c(trained_site: Site, astronaut: Image) -> None:
    site = trained_site
    with subprocess.Popen(
        [*COMMAND, "-", "--raw", "640x480@25", "--site", str(site.folder), "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        before = files_of(site.folder)
        tap = Tap(command.stdin, wobbling(astronaut))
        events = map(json.loads, command.stdout)
        header = next(events)
        assert header["event"] == "watching"
        assert (header["width"], header["height"], header["confined"]) == (640, 480, True)
        assert header["model"] == {"run": "2026-11-23-001", "round": 1}
        assert (header["neutral"], header["scaled_by"]) == ("running", "site")
        frames = [next(events) for _ in range(25)]
        assert "Seccomp:\t2" in Path(f"/proc/{command.pid}/status").read_text(), "it kept its network"
        assert files_of(site.folder) == before
        receive_model(site, 2)
        frames += itertools.takewhile(lambda event: event["event"] != "model", events)
        after = [next(events) for _ in range(5)]
        command.send_signal(signal.SIGINT)
        *rest, done = events
        tap.close()
        assert command.stderr is not None
        assert (command.wait(PATIENCE_S), command.stderr.read()) == (0, b"")
    every = frames + after + rest
    assert {event["event"] for event in every} == {"frame"}
    assert all(event["model"]["round"] == 1 for event in frames)
    assert all(event["model"]["round"] == 2 for event in after + rest)
    assert [event["time_s"] for event in every] == sorted({event["time_s"] for event in every})
    assert {event["state"] for event in every} == {"seen"}
    predicted = [event for event in every if event["valence"] is not None]
    assert len(predicted) > len(every) / 2
    assert all(-1 <= event[name] <= 1 for event in predicted for name in ("valence", "arousal"))
    assert all(0 <= unit <= 5 for event in every for unit in event["action_units"].values())
    assert set(every[0]["pose"]) == {"pose_Rx", "pose_Ry", "pose_Rz"}
    assert all(event["latency_ms"] > 0 for event in every)
    assert (done["event"], done["frames"], done["dropped"]) == ("done", len(every), every[-1]["dropped"])
    assert "bgr" not in json.dumps(every)


def test_two_at_once_in_words_and_one_whose_reader_goes_away(site: Site, face_video: Path) -> None:
    before = files_of(site.folder)
    arguments = [*COMMAND, str(face_video), "--site", str(site.folder), "--participant", "anna"]
    pipeline = " ".join(map(shlex.quote, arguments)) + " | head -1"
    whole, cut = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in (arguments, ["sh", "-c", pipeline])
    )
    output, errors = whole.communicate(timeout=PATIENCE_S)
    assert (whole.returncode, errors) == (0, "")
    header, advice, *lines, summary = output.splitlines()
    assert header.startswith("watching portrait.avi, 640×480: no model; ")
    assert "anna has no calibration here" in header
    assert "by this face's own statistics so far" in header
    assert "mien agent join" in advice
    assert "--model" in advice
    watched = re.match(r"watched (\d+) s: ", summary)
    assert watched is not None, summary
    assert 3 <= int(watched[1]) < PATIENCE_S
    assert 2 <= len(lines) <= int(watched[1]) + 2, "a line a second"
    assert all("face seen" in line and "frames/s" in line and "AU" in line for line in lines)
    assert "valence" not in "".join(lines)
    assert "face seen in 100 %" in summary
    assert files_of(site.folder) == before
    assert cut.communicate(timeout=PATIENCE_S) == (f"{header}\n", "")


def test_on_a_terminal_one_line_is_redrawn(face_video: Path) -> None:
    """Ctrl-C is typed, as a person does."""
    keyboard, screen = pty.openpty()
    termios.tcsetwinsize(screen, (24, 60))
    with subprocess.Popen(
        [*COMMAND, str(face_video)],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        # COLUMNS, as pytest-xdist sets it, would count for more than the terminal's own size.
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as command:
        os.close(screen)
        shown = b""
        while shown.count(b"face seen") < 5:
            shown += os.read(keyboard, 65536)
        os.write(keyboard, b"\x03")
        with suppress(OSError):  # EIO: the command has closed its end
            while piece := os.read(keyboard, 65536):
                shown += piece
        assert command.wait(PATIENCE_S) == 0
    os.close(keyboard)
    text = shown.decode()
    drawn = [part for part in re.findall(r"\r([^\r\n]*)\x1b\[K", text) if "  face seen  " in part]
    assert len(drawn) >= 4
    assert all(len(part) < 60 for part in drawn), "a line that is too long wraps, and cannot be redrawn"
    assert "Traceback" not in text
    assert "watched " in text.splitlines()[-1]


@pytest.mark.parametrize("screen", [TextScreen, JsonScreen])
def test_a_full_disk_under_its_output_is_said_once(
    screen: type[TextScreen] | type[JsonScreen], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        shown = screen()
        with pytest.raises(StorageError, match="cannot write to standard output: No space left on device"):
            shown.notice("the camera is lost")
        shown.end(Summary())  # nothing is left that would fail again, now or when Python ends


@pytest.mark.parametrize("width", [20, 60, 79, 110])
def test_a_line_keeps_to_its_width_and_its_places(width: int) -> None:
    card: Any = SimpleNamespace(run="r", round=1)
    features: Any = SimpleNamespace(
        time_s=12.0, state=FaceState.SEEN, values=np.linspace(0, 5, 40, dtype=np.float32)
    )
    predicted = Shown(Moment(features, (0.214, -0.05), 0.0), 0.013, card, 24.9, 0)
    line = in_words(predicted, 0.013, width)
    whole = " 12.0 s  face seen    valence +0.21 arousal -0.05  25 frames/s  13 ms  AU45"
    assert len(line) <= width
    assert line[:width].startswith(whole[: min(width, 68)])
    missing = in_words(Shown(Moment(features, None, 0.0), 0.013, card, 24.9, 0), 0.013, width)
    waiting = in_words(Shown(Moment(features, None, 3.2), 0.013, card, 24.9, 0), 0.013, width)
    if width > 60:
        places = {text.index("frames/s") for text in (line, missing, waiting)}
        assert len(places) == 1
        assert "predictions in 4 s" in waiting


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.avi"], "there is no file absent.avi"),
        (["-"], "raw frames do not say their size"),
        (["-", "--raw", "640"], "is not a size and a rate"),
        (["film.avi", "--model", "absent"], "there is no model at absent"),
        (["film.avi", "--site", "absent"], "absent is not a site"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mien", "agent", "watch", *arguments])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    output, errors = capsys.readouterr()
    assert (left.value.code, output) == (1, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert said in errors
