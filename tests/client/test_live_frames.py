"""Frames for who looks live: the newest, at the source's own pace, and nothing queued."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest

from mien_client.frames import Frame
from mien_client.live_frames import Arrival, LiveFrames
from mien_client.sources.live import LiveSource
from mien_common.errors import VideoError

PATIENCE_S = 20.0


@dataclass
class Numbered:
    """A source whose frames are as bright as their number, in one buffer, as real sources have it."""

    count: int
    rate_hz: float = 200.0
    live: bool = False
    between: Callable[[int], None] = field(default=lambda _: None)
    name: str = "numbered"
    height: int = 4
    width: int = 6
    expected_frames: int = 0
    buffer: np.ndarray = field(default_factory=lambda: np.zeros((4, 6, 3), np.uint8))

    def frames(self) -> Iterator[Frame]:
        for number in range(self.count):
            self.between(number)
            self.buffer[...] = number + 1
            yield Frame(number / self.rate_hz, self.buffer)
        self.buffer[...] = 0


def brightness(arrival: Arrival | None) -> int:
    assert arrival is not None
    assert arrival.frame.bgr.min() == arrival.frame.bgr.max()
    return int(arrival.frame.bgr[0, 0, 0])


def ended(frames: LiveFrames) -> None:
    end = time.monotonic() + PATIENCE_S
    while not frames.has_ended:
        assert time.monotonic() < end, "the source never ended"
        frames.newest(0.01)


def read_to_its_end(frames: LiveFrames) -> None:
    """Wait until the source has given its last frame, whoever looks at it."""
    end = time.monotonic() + PATIENCE_S
    while not frames._over:
        assert time.monotonic() < end, "the source never ended"
        time.sleep(0.005)


def test_a_recording_is_played_at_its_own_pace() -> None:
    with LiveFrames(Numbered(21, rate_hz=50.0)) as frames:
        began = time.monotonic()
        frames.start()
        seen = []
        while (arrival := frames.newest(PATIENCE_S)) is not None:
            seen.append(arrival.frame.time_s)
        assert frames.has_ended
    assert time.monotonic() - began >= 0.4 - 0.02  # 20 intervals of 20 ms, however fast it can be read
    assert seen == sorted(seen)
    assert seen[-1] == 20 / 50.0
    assert len(seen) + frames.dropped == 21


def test_who_is_slow_gets_the_newest_and_the_others_are_counted() -> None:
    with LiveFrames(Numbered(40)) as frames:
        frames.start()
        first = frames.newest(PATIENCE_S)
        read_to_its_end(frames)  # all are there now, and but one are gone
        assert brightness(first) == round(first.frame.time_s * 200) + 1 if first else pytest.fail("no frame")
        last = frames.newest(PATIENCE_S)
        assert brightness(last) == 40
        assert frames.newest(PATIENCE_S) is None
        assert frames.has_ended
        assert first is not None
        assert frames.dropped == 40 - 1 - brightness(first)


def test_a_frame_that_is_looked_at_is_not_written_over() -> None:
    with LiveFrames(Numbered(100, live=True)) as frames:
        frames.start()
        held = frames.newest(PATIENCE_S)
        number = brightness(held)
        read_to_its_end(frames)  # it has written its own buffer again and again by now
        assert brightness(held) == number


def test_nothing_in_time_is_none_and_no_end() -> None:
    let_go = threading.Event()

    def late(number: int) -> None:
        let_go.wait(PATIENCE_S)

    with LiveFrames(Numbered(1, live=True, between=late)) as frames:
        frames.start()
        assert frames.newest(0.01) is None
        assert not frames.has_ended
        let_go.set()
        assert brightness(frames.newest(PATIENCE_S)) == 1
        ended(frames)


def test_what_came_before_a_source_broke_off_is_given_first() -> None:
    def breaks(number: int) -> None:
        if number == 1:
            raise VideoError("it broke off")

    with LiveFrames(Numbered(2, between=breaks)) as frames:
        frames.start()
        assert brightness(frames.newest(PATIENCE_S)) == 1
        with pytest.raises(VideoError, match="it broke off"):
            frames.newest(PATIENCE_S)
        assert not frames.has_ended


def test_pixels_are_overwritten_at_the_end() -> None:
    source = Numbered(3, live=True)
    with LiveFrames(source) as frames:
        frames.start()
        held = frames.newest(PATIENCE_S)
        read_to_its_end(frames)
        buffers = [held.frame.bgr.base] if held is not None else []
        buffers += frames._free
        buffers += [frames._waiting[1]] if frames._waiting is not None else []
        assert any(buffer is not None and buffer.any() for buffer in buffers)
    assert buffers
    assert all(buffer is not None and not buffer.any() for buffer in buffers)


def test_it_can_be_left_at_any_time() -> None:
    with LiveFrames(Numbered(10)):
        pass  # never started
    began = time.monotonic()
    with LiveFrames(Numbered(1000, rate_hz=0.01)) as frames:  # the next frame is due in 100 s
        frames.start()
        frames.newest(PATIENCE_S)
    assert time.monotonic() - began < 5
    frames._thread.join(PATIENCE_S)
    assert not frames._thread.is_alive()


def test_a_camera_that_is_lost_does_not_hold_up_the_end() -> None:
    """The real live source, waiting for a camera that does not come back."""

    class Lost:
        def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
            return True

        def read(self, _image: np.ndarray) -> tuple[bool, None]:
            return False, None

        def get(self, _what: int) -> float:
            return 0.0

        def release(self) -> None:
            pass

    said: list[str] = []
    source = LiveSource("camera 0", (4, 6), 25.0, Lost(), lambda: None, said.append, retry_s=0.01)
    began = time.monotonic()
    with closing(source), LiveFrames(source) as frames:
        frames.start()
        while not said:
            assert frames.newest(0.02) is None
            assert time.monotonic() - began < PATIENCE_S
    frames._thread.join(PATIENCE_S)
    assert not frames._thread.is_alive()
    assert said == ["camera 0 is lost; waiting for it to come back."]


def test_a_hasty_pipe_catches_up_with_a_writer_that_is_ahead() -> None:
    """A camera of 100 frames/s that says 50: it is held back, but played faster than it says."""
    began = time.monotonic()
    with LiveFrames(Numbered(51, rate_hz=50.0), haste=0.5) as frames:
        frames.start()
        ended(frames)
    assert time.monotonic() - began >= 0.5 - 0.02
    assert frames._over
