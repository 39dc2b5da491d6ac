"""From observations of single frames to the ``au-v1`` features of a recording.

Enters: :class:`~mien_client.observations.Observation` per frame, at the source's own times. Leaves:
40 channels on the schema's 25 Hz clock, with the face's state. A missing channel is missing: NaN,
never zero. One stream serves files and cameras, so both give the same numbers; it looks ahead by one
frame at most, and what it keeps does not grow.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import ShapeError
from mien_common.schema import AU_CHANNELS, AU_V1, LONGEST_FRAMES, STATIC_CHANNELS

from .calibration import Neutral, RunningNeutral
from .face.action_units import EXPERIMENTAL
from .observations import NOTHING_KNOWN, POSE_KNOWN, FaceState, Observation

FRAME_S: Final = 1.0 / AU_V1.rate_hz

ON_TIME_S: Final = 1.5e-3
"""A time stamp is good to about a millisecond: this close to an observation, no neighbour matters."""

SHORTEST_BRIDGE_S: Final = 0.06
LONGEST_BRIDGE_S: Final = 0.25
BRIDGE_INTERVALS: Final = 1.75
"""Interpolation spans less than two usual frame intervals, within these bounds: a single frame that a
camera dropped is a gap, unless its frames are so dense that hardly a frame of ours is without one."""
_REMEMBERED_INTERVALS: Final = 9
"""Their lower median is the usual interval; a camera that halves its rate is followed after five frames."""

_UNITS: Final = len(AU_CHANNELS)
_STATIC: Final = len(STATIC_CHANNELS)

MODEL_CHANNELS: Final[NDArray[np.bool_]] = np.array(
    [name.removesuffix("_delta") not in EXPERIMENTAL for name in AU_V1.channels]
)
"""(40,) channels the model is given: all but experimental action units and their deltas."""
_LEFT_OUT: Final = ~MODEL_CHANNELS


class FeatureFrame(NamedTuple):
    """The features of one moment."""

    time_s: float
    values: NDArray[np.float32]
    """(40,) in the schema's order; NaN where unknown."""
    valid: bool
    """Whether every channel the model needs is known."""
    state: FaceState
    """Why channels are missing. SEEN where only the deltas are, after a gap or another face."""
    face: int


@dataclass(frozen=True)
class Features:
    """A recording's features on the schema's clock."""

    time_s: NDArray[np.float64]
    """(frames,) seconds since the recording's start, every 1/25 s."""
    values: NDArray[np.float32]
    """(frames, 40) in the schema's order; NaN where unknown."""
    valid: NDArray[np.bool_]
    """(frames,) whether every channel the model needs is known."""
    state: NDArray[np.uint8]
    """(frames,) :class:`~mien_client.observations.FaceState` by number."""
    face: NDArray[np.int32]
    """(frames,) which face; a change is another person."""


class _Moment(NamedTuple):
    """What is known at one time, after calibration."""

    time_s: float
    values: NDArray[np.float64]
    """(20,) NaN where unknown."""
    state: FaceState
    face: int
    bridged: bool
    """Whether the time since the observation before may be interpolated over."""


class FeatureStream:
    """Observations in, features out, as they come.

    Parameters
    ----------
    neutral : the person's resting face; subtracted from each observation as it arrives.
    """

    def __init__(self, neutral: Neutral) -> None:
        self._neutral = neutral
        # The observations of the last 1/25 s and one before: all that now() may need.
        self._recent: deque[_Moment] = deque()
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED_INTERVALS)
        self._ticks = 0
        self._last_tick: _Moment | None = None

    def push(self, observation: Observation) -> list[FeatureFrame]:
        """Take the next observation; the frames of the 25 Hz clock that are complete with it.

        Raises
        ------
        ShapeError
            It is not later than the one before, or a day later.
        """
        before = self._recent[-1] if self._recent else None
        time_s = observation.time_s
        if before is not None and not time_s > before.time_s:
            raise ShapeError(f"a frame at {time_s:.3f} s came after one at {before.time_s:.3f} s")
        # A camera may be watched for weeks; a clock that jumps by a day is broken, and would fill memory.
        if not 0.0 <= time_s < (before.time_s if before else 0.0) + LONGEST_FRAMES / AU_V1.rate_hz:
            raise ShapeError(f"a frame at {time_s:.3f} s came more than a day after the one before")
        seen = _only_what_can_be_known(observation)
        values = self._neutral.intensities(seen).astype(np.float64)
        bridged = before is not None and self._is_usual(time_s - before.time_s)
        moment = _Moment(time_s, values, seen.state, seen.face, bridged)
        self._recent.append(moment)
        while len(self._recent) > 2 and self._recent[1].time_s <= time_s - FRAME_S:
            self._recent.popleft()
        return self._complete(before, moment)

    def now(self) -> FeatureFrame:
        """The features at the last observation's own time; deltas against 1/25 s earlier.

        Raises
        ------
        ShapeError
            There has been no observation.
        """
        if not self._recent:
            raise ShapeError("features need at least one observed frame")
        last, earlier_s = self._recent[-1], self._recent[-1].time_s - FRAME_S
        if len(self._recent) == 1 or earlier_s < self._recent[0].time_s - ON_TIME_S:
            return _with_deltas(last, None)
        return _with_deltas(last, _between(self._recent[0], self._recent[1], earlier_s))

    def _complete(self, before: _Moment | None, after: _Moment) -> list[FeatureFrame]:
        frames = []
        while (tick_s := self._ticks / AU_V1.rate_hz) <= after.time_s + ON_TIME_S:
            tick = _between(before, after, tick_s)
            frames.append(_with_deltas(tick, self._last_tick))
            self._last_tick = tick
            self._ticks += 1
        return frames

    def _is_usual(self, interval_s: float) -> bool:
        """Whether no frame is missing in an interval; learns the usual one from those so far."""
        if interval_s > LONGEST_BRIDGE_S + ON_TIME_S:
            return False  # nor is it anybody's frame rate
        self._intervals.append(interval_s)
        usual = sorted(self._intervals)[(len(self._intervals) - 1) // 2]
        return interval_s <= max(BRIDGE_INTERVALS * usual, SHORTEST_BRIDGE_S)


def features_of(observations: Iterable[Observation], neutral: Neutral | None = None) -> Features:
    """The ``au-v1`` features of a recording's observations, in time order; they may be a generator.

    ``neutral`` is learnt from the recording's first minute where none is given.

    Raises
    ------
    ShapeError
        There is no observation, they are not in time order, or they last longer than a day.
    """
    stream = FeatureStream(neutral or RunningNeutral())
    # Bytes, not objects: half an hour is 45,000 frames of 160 bytes.
    values, valid, state, face = bytearray(), bytearray(), bytearray(), array("i")
    for observation in observations:
        for frame in stream.push(observation):
            values += frame.values.tobytes()
            valid.append(frame.valid)
            state.append(frame.state)
            face.append(frame.face)
        if len(valid) > LONGEST_FRAMES:
            raise ShapeError("a recording may last for a day; cut it into pieces")
    if not valid:
        raise ShapeError("features need at least one observed frame")
    return Features(
        np.arange(len(valid)) / AU_V1.rate_hz,
        np.frombuffer(values, np.float32).reshape(-1, len(AU_V1.channels)),
        np.frombuffer(valid, np.bool_),
        np.frombuffer(state, np.uint8),
        np.frombuffer(face, np.int32),
    )


def clock_for(duration_s: float) -> NDArray[np.float64]:
    """The schema's clock from 0 to ``duration_s``, seconds."""
    return np.arange(int(np.floor((duration_s + ON_TIME_S) * AU_V1.rate_hz)) + 1) / AU_V1.rate_hz


def _only_what_can_be_known(observation: Observation) -> Observation:
    """The observation without the numbers that its state rules out, whoever made them up."""
    values = np.where(np.isfinite(observation.values), observation.values, np.float32(np.nan))
    if observation.state in NOTHING_KNOWN:
        values[:] = np.nan
    elif observation.state in POSE_KNOWN:
        values[:_UNITS] = np.nan
    return Observation(observation.time_s, observation.state, values, observation.face)


def _between(before: _Moment | None, after: _Moment, time_s: float) -> _Moment:
    """What is known at a time between two neighbouring observations, or on one of them.

    Interpolated along a straight line, channel by channel; unknown where a neighbour's is, over a gap,
    and between two people's faces.
    """
    if abs(after.time_s - time_s) < ON_TIME_S:
        return after._replace(time_s=time_s)
    if before is None:
        return _unknown(time_s, FaceState.NO_FRAME, after.face)
    if abs(time_s - before.time_s) < ON_TIME_S:
        return before._replace(time_s=time_s)
    if not after.bridged:
        return _unknown(time_s, FaceState.NO_FRAME, before.face)
    if before.face != after.face:
        return _unknown(time_s, FaceState.NO_FACE, after.face)
    share = (time_s - before.time_s) / (after.time_s - before.time_s)
    near, far = (before, after) if share <= 0.5 else (after, before)
    values = before.values * (1.0 - share) + after.values * share
    return _Moment(time_s, values, near.state or far.state, near.face, bridged=True)


def _unknown(time_s: float, state: FaceState, face: int) -> _Moment:
    return _Moment(time_s, np.full(_STATIC, np.nan), state, face, bridged=False)


def _with_deltas(moment: _Moment, earlier: _Moment | None) -> FeatureFrame:
    """The frame of a moment; its deltas are unknown where another face, or none, was there 1/25 s earlier."""
    values = np.full(2 * _STATIC, np.nan, np.float32)
    values[:_STATIC] = moment.values
    if earlier is not None and earlier.face == moment.face:
        values[_STATIC:] = moment.values - earlier.values
    valid = bool((np.isfinite(values) | _LEFT_OUT).all())
    return FeatureFrame(moment.time_s, values, valid, moment.state, moment.face)
