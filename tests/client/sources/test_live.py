"""A live source's clock, its newest-first rule, and a camera that is lost and comes back.

There is no camera here, so OpenCV's capture is played by :class:`Script`, at the narrow seam
``Capture``. ``test_network_stream.py`` shows the same with a real server.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien_client.frames import Frame
from mien_client.sources.live import LiveSource
from mien_client.sources.live_clock import LiveClock

SIZE = (3, 4)


class Script:
    """A camera that hands over frames as a test says, then is lost; each frame's pixels are its number."""

    def __init__(
        self, clock: "Clock", frames: list[tuple[int, float, float]], *, then_waits: bool = False
    ) -> None:
        self._clock, self._frames, self._then_waits = clock, list(frames), then_waits
        self._own_s = 0.0
        self.go_on = threading.Event()
        """A second frame comes only once this is set."""
        self.go_on.set()
        self.released = threading.Event()
        self.asked_beyond = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self, image: NDArray[np.uint8]) -> tuple[bool, NDArray[np.uint8] | None]:
        if not self._frames:
            self.asked_beyond.set()
            if self._then_waits:
                self.released.wait(30)
            return False, None
        if self._own_s:
            self.go_on.wait(30)
        number, self._own_s, arrived_s = self._frames.pop(0)
        self._clock.now_s = arrived_s
        image[...] = number
        return True, image

    def get(self, _what: int) -> float:
        return self._own_s * 1000

    def release(self) -> None:
        self.released.set()


class Clock:
    """A steady clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def live(clock: Clock, first: Script, then: list[Script | None], said: list[str]) -> Iterator[LiveSource]:
    waiting = list(then)
    source = LiveSource(
        "camera 0",
        SIZE,
        25.0,
        first,
        lambda: waiting.pop(0) if waiting else None,
        said.append,
        retry_s=0.001,
        now=clock,
    )
    try:
        yield source
    finally:
        first.released.set()
        for script in then:
            if script is not None:
                script.released.set()
        source.close()


def test_a_slow_reader_gets_the_newest_frame() -> None:
    clock, said = Clock(), list[str]()
    script = Script(clock, [(n, 50 + n / 25, 100 + n / 25) for n in range(40)], then_waits=True)
    script.go_on.clear()
    with live(clock, script, [], said) as source:
        frames = source.frames()
        assert next(frames).bgr[0, 0, 0] == 0
        script.go_on.set()
        script.asked_beyond.wait(30)  # all forty have come while the first was being looked at
        last = next(frames)
        assert last.bgr[0, 0, 0] == 39
        assert last.time_s == pytest.approx(39 / 25)
    assert not said


def test_a_frame_that_is_looked_at_is_not_written_over() -> None:
    clock = Clock()
    script = Script(clock, [(n, 50 + n / 25, 100 + n / 25) for n in range(200)], then_waits=True)
    with live(clock, script, [], []) as source:
        for frame in source.frames():
            number = frame.bgr[0, 0, 0]
            if number == 199:
                break
            script.asked_beyond.wait(0.001)  # many others come meanwhile
            assert (frame.bgr == number).all()


def test_a_lost_camera_is_waited_for_and_the_gap_is_in_the_times() -> None:
    clock, said, seen = Clock(), list[str](), list[Frame]()
    before = Script(clock, [(0, 50.0, 100.0)])
    after = Script(clock, [(1, 7.0, 112.4), (2, 7.04, 112.44)], then_waits=True)
    with live(clock, before, [None, None, after], said) as source:
        for frame in source.frames():
            seen.append(Frame(frame.time_s, frame.bgr.copy()))
            if frame.bgr[0, 0, 0] == 2:
                break
        assert before.released.is_set()
    assert said == ["camera 0 is lost; waiting for it to come back.", "camera 0 is back after 12 s."]
    times = {int(frame.bgr[0, 0, 0]): frame.time_s for frame in seen}
    assert times[2] == pytest.approx(12.44)
    assert times.get(1, 12.4) == pytest.approx(12.4)


def test_a_camera_that_opens_but_shows_nothing_is_not_called_back() -> None:
    clock, said = Clock(), list[str]()
    scripts = [Script(clock, []) for _ in range(5)]
    last = Script(clock, [(9, 1.0, 130.0)], then_waits=True)
    with live(clock, Script(clock, []), [*scripts, last], said) as source:
        assert next(source.frames()).bgr[0, 0, 0] == 9
        assert all(script.released.is_set() for script in scripts)
    assert said == ["camera 0 is lost; waiting for it to come back.", "camera 0 is back after 30 s."]


def test_another_size_after_a_loss_is_scaled_to_the_first() -> None:
    class Larger(Script):
        def read(self, _image: NDArray[np.uint8]) -> tuple[bool, NDArray[np.uint8] | None]:
            return super().read(np.zeros((12, 8, 3), np.uint8))

    clock = Clock()
    after = Larger(clock, [(200, 1.0, 101.0)], then_waits=True)
    with live(clock, Script(clock, []), [after], []) as source:
        bgr = next(source.frames()).bgr
        assert bgr.shape == (3, 2, 3)
        assert (bgr == 200).all()


def test_a_fault_of_the_library_reaches_who_takes_the_frames() -> None:
    class Broken(Script):
        def read(self, _image: NDArray[np.uint8]) -> tuple[bool, NDArray[np.uint8] | None]:
            raise RuntimeError("out of memory")

    clock = Clock()
    with live(clock, Broken(clock, []), [], []) as source, pytest.raises(RuntimeError, match="out of memory"):
        next(source.frames())


def test_pixels_are_overwritten_and_the_camera_freed_at_the_end() -> None:
    clock = Clock()
    script = Script(clock, [(9, 1.0, 101.0)], then_waits=True)
    with live(clock, script, [], []) as source:
        bgr = next(source.frames()).bgr
        assert bgr.any()
    assert not bgr.any()
    assert script.released.is_set()
    never_read = Script(clock, [])
    LiveSource("camera 1", SIZE, 25.0, never_read, lambda: None, pytest.fail).close()
    assert never_read.released.is_set()


def clocked(stamps: list[tuple[float, float]]) -> list[float | None]:
    clock = LiveClock()
    return [clock.time_s(own_s, arrived_s) for own_s, arrived_s in stamps]


def test_a_camera_s_own_stamps_beat_arrival() -> None:
    """The 50 ms hold-up of one frame on the way here is not the camera's."""
    assert clocked([(7.0, 100.0), (7.04, 100.09), (7.08, 100.09)]) == pytest.approx([0.0, 0.04, 0.08])


def test_dropped_frames_are_gaps_and_repeated_ones_are_left_out() -> None:
    times = clocked([(7.0, 100.0), (7.04, 100.04), (7.04, 100.08), (7.2, 100.2), (7.24, 100.24)])
    assert times == [0.0, pytest.approx(0.04), None, pytest.approx(0.2), pytest.approx(0.24)]


def test_a_camera_without_stamps_goes_by_arrival() -> None:
    for none in (0.0, -1.0, float("nan")):
        assert clocked([(none, 100.0), (none, 100.04), (none, 103.0)]) == pytest.approx([0.0, 0.04, 3.0])


def test_a_burst_at_the_start_keeps_its_spacing() -> None:
    """A network stream hands over its first second at once."""
    burst = [(1 + n / 25, 100.0 + n / 10_000) for n in range(25)]
    then = [(2 + n / 25, 100.04 + n / 25) for n in range(25)]
    assert clocked(burst + then) == pytest.approx([n / 25 for n in range(50)])


def test_a_camera_clock_that_is_set_anew_costs_no_frame() -> None:
    forward = clocked([(7.0, 100.0), (7.04, 100.04), (90_000.0, 100.08), (90_000.04, 100.12)])
    assert forward == pytest.approx([0.0, 0.04, 0.08, 0.12])
    back = clocked([(90_000.0, 100.0), (90_000.04, 100.04), (3.0, 100.08), (3.04, 100.12)])
    assert back == pytest.approx([0.0, 0.04, 0.08, 0.12])


@given(st.lists(st.tuples(st.floats(-10, 1e6), st.floats(0, 60), st.booleans()), min_size=1, max_size=40))
def test_times_rise_whatever_the_camera_says(steps: list[tuple[float, float, bool]]) -> None:
    clock, now_s, times = LiveClock(), 100.0, list[float]()
    for own_s, waited_s, lost in steps:
        if lost:
            clock.reconnected()
        now_s += waited_s
        time_s = clock.time_s(own_s, now_s)
        if time_s is not None:
            times.append(time_s)
    assert times[0] == 0.0
    assert (np.diff(times) > 0).all()
