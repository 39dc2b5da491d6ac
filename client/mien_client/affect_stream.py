"""Valence and arousal as the frames come: features, standardisation and the network, one step at a time.

Enters: :class:`~mien_client.observations.Observation` per frame. Leaves: a :class:`Moment` per frame.
The network lives on the schema's 25 Hz clock, as in training: its state goes on at the clock's ticks
only, with zeros where the face is missing, so that a recording watched live gives at its ticks what
`mien agent predict` gives. A frame between two ticks is tried from the last tick's state.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mien_common.network import AffectNetwork, State
from mien_common.schema import AU_V1

from .calibration import Neutral
from .features import ON_TIME_S, FeatureFrame, Features, FeatureStream
from .observations import Observation
from .scaling import SMALLEST_DEVIATION, Scaler

LEARNING_S: Final = 10.0
"""Seconds of face from which a running standardisation is learnt before anything is predicted with it."""


RESTART_AFTER_S: Final = 12 * 3600.0
"""A camera may be watched for longer than the day that a recording may last; then features begin anew."""


@dataclass(frozen=True)
class Moment:
    """What is known of one frame."""

    features: FeatureFrame
    affect: tuple[float, float] | None
    """Valence and arousal; None without a model, without a whole face, and while statistics are learnt."""
    wait_s: float
    """Seconds of face still to be seen before predictions begin; 0 once they have."""


class Scaling(Protocol):
    """Standardises features before the network."""

    @property
    def wait_s(self) -> float:
        """Seconds of face still to be seen before :meth:`inputs` can be used."""

    def learn(self, tick: FeatureFrame) -> None:
        """Take note of a frame of the 25 Hz clock."""

    def inputs(self, frame: FeatureFrame) -> NDArray[np.float32]:
        """(40,) what the network is given."""


class SiteScaling:
    """By the site's training statistics, as in training."""

    wait_s: Final = 0.0

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    def learn(self, tick: FeatureFrame) -> None:
        """Nothing: the statistics stand."""

    def inputs(self, frame: FeatureFrame) -> NDArray[np.float32]:
        """See :class:`Scaling`."""
        return _scaled(self._scaler, frame)


class RunningScaling:
    """By the mean and standard deviation of the face so far (Welford, 1962); it never looks ahead."""

    def __init__(self) -> None:
        channels = len(AU_V1.channels)
        self._valid_ticks = 0
        self._known = np.zeros(channels, np.int64)
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)

    @property
    def wait_s(self) -> float:
        """See :class:`Scaling`."""
        return max(LEARNING_S - self._valid_ticks / AU_V1.rate_hz, 0.0)

    def learn(self, tick: FeatureFrame) -> None:
        """See :class:`Scaling`."""
        self._valid_ticks += tick.valid
        known = np.isfinite(tick.values)
        self._known += known
        away = np.where(known, tick.values - self._mean, 0.0)
        self._mean += away / np.maximum(self._known, 1)
        self._squares += away * np.where(known, tick.values - self._mean, 0.0)

    def inputs(self, frame: FeatureFrame) -> NDArray[np.float32]:
        """See :class:`Scaling`."""
        return _scaled(self.scaler, frame)

    @property
    def scaler(self) -> Scaler:
        """The standardisation as it is now."""
        deviation = np.sqrt(self._squares / np.maximum(self._known, 1))
        deviation = np.where(deviation < SMALLEST_DEVIATION, 1.0, deviation)
        return Scaler(self._mean.astype(np.float32), deviation.astype(np.float32))


class AffectStream:
    """Observations of one recording in, moments out.

    Parameters
    ----------
    network : one that streams; None where there is no model, then there are features only.
    """

    def __init__(self, network: AffectNetwork | None, scaling: Scaling, neutral: Neutral) -> None:
        self._network = network
        self._scaling = scaling
        self._neutral = neutral
        self._stream = FeatureStream(neutral)
        self._began_s = 0.0
        self._state: State | None = None
        self._tick_s = -1.0
        self._at_tick: tuple[float, float] | None = None

    def use(self, network: AffectNetwork) -> None:
        """Go on with another network; its state begins anew."""
        self._network, self._state = network, None
        self._tick_s = -1.0

    @torch.inference_mode()
    def push(self, observation: Observation) -> Moment:
        """Take the next frame's observation.

        Raises
        ------
        ShapeError
            It is not later than the one before.
        """
        if observation.time_s - self._began_s >= RESTART_AFTER_S:
            self._stream = FeatureStream(self._neutral)
            self._began_s, self._tick_s, self._state = observation.time_s, -1.0, None
        since_began = replace(observation, time_s=observation.time_s - self._began_s)
        for tick in self._stream.push(since_began):
            self._scaling.learn(tick)
            if self._network is not None and not self._scaling.wait_s:
                affect, self._state = self._step(self._network, tick)
                self._at_tick, self._tick_s = affect if tick.valid else None, tick.time_s
        now = self._stream.now()
        return Moment(now._replace(time_s=observation.time_s), self._affect(now), self._scaling.wait_s)

    def _affect(self, now: FeatureFrame) -> tuple[float, float] | None:
        if self._network is None or self._scaling.wait_s or not now.valid:
            return None
        if abs(now.time_s - self._tick_s) < ON_TIME_S:
            return self._at_tick
        tried, _ = self._step(self._network, now)
        return tried

    def _step(self, network: AffectNetwork, frame: FeatureFrame) -> tuple[tuple[float, float], State]:
        inputs = torch.from_numpy(self._scaling.inputs(frame))[None]
        prediction, state = network.step(inputs, self._state)
        valence, arousal = prediction[0].tolist()
        return (valence, arousal), state


def _scaled(scaler: Scaler, frame: FeatureFrame) -> NDArray[np.float32]:
    """By the very code that standardises a recording."""
    one = Features(
        np.array([frame.time_s]),
        frame.values[None],
        np.array([frame.valid]),
        np.array([frame.state], np.uint8),
        np.array([frame.face], np.int32),
    )
    inputs: NDArray[np.float32] = scaler.apply(one)[0]
    return inputs
