"""Watches a source live: features, and valence and arousal by the newest model, at the source's own pace.

Enters: a source of frames, a site's newest model, its statistics and its participants' calibrations.
Leaves: numbers, to the screen. Never leaves: a pixel. Nothing is written to any disk, and nothing is
queued: who cannot keep up drops frames, and counts them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from mien_common.errors import ModelError, NoSessionError
from mien_common.published import ModelCard

from .affect_stream import AffectStream, RunningScaling, Scaling, SiteScaling
from .calibration import Neutral
from .client_app import read_site_data
from .face.process import FaceProcess
from .live_frames import Arrival, LiveFrames
from .model_uses import check_live
from .newest_model import ModelFeed, newest_model
from .observations import FaceState, Observation, nothing_seen
from .releases import read_model
from .site import Site
from .sources import RawFormat, Say, Source, Spec, open_source
from .watch_report import Screen, Setup, Shown, Summary

PATIENCE_S: Final = 0.5
"""Without a frame for this long, a live source's picture is missing, and that is shown."""
PIPE_HASTE: Final = 0.02
"""See :class:`~mien_client.live_frames.LiveFrames`; cameras' rates are true to far less."""
FRAME_DEADLINE_S: Final = 3.0
"""Shorter than for a recording: a person sits before the screen, and frames are dropped meanwhile."""
MODEL_EVERY_S: Final = 1.0
"""How often a newer model is looked for."""
RATE_OVER_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class What:
    """What is to be watched, as the command was told."""

    spec: Spec
    neutral: Neutral
    neutral_in_words: str
    site: Site | None = None
    model: Path | None = None
    """A published model; the site's newest where None."""
    rate_hz: float | None = None
    raw: RawFormat | None = None
    seconds: float | None = None
    confined: bool = True


def watch(what: What, screen: Screen, stopped: Callable[[], bool]) -> None:
    """Watch a source until it ends, ``stopped`` says so, or the seconds are over.

    Raises
    ------
    VideoError
        There is no such source, or it broke off.
    ModelError
        The model that was asked for cannot be used, or not live. One that came by itself is passed over, and
        said.
    ConfinementError
        The face process cannot be confined, or keeps dying.
    """
    if what.model is not None:  # what is wrong with it is an error, of the newest model it is only said
        check_live(read_model(what.model, what.site)[0], what.model)
    scaling = scaling_of(what.site)
    # A frame is too little to share: on a busy machine, threads that wait for each other made one in a
    # hundred frames of a residual model 18 to 155 ms late, and one thread below 5 ms.
    torch.set_num_threads(1)

    said: deque[str] = deque(maxlen=100)
    opening = open_source(what.spec, rate_hz=what.rate_hz, raw=what.raw, say=said.append)
    with (
        _logged(said.append),
        opening as source,
        LiveFrames(source, PIPE_HASTE if what.spec == "-" else 0.0) as frames,
        FaceProcess(
            source.height, source.width, confined=what.confined, frame_deadline_s=FRAME_DEADLINE_S
        ) as face,
    ):
        _Watch(what, screen, source, frames, face, scaling, said).run(stopped)


def scaling_of(site: Site | None) -> Scaling:
    """By the site's training statistics; by running ones where there is nothing it trained on.

    Raises
    ------
    SessionError
        A session is damaged, or of another schema.
    """
    if site is None:
        return RunningScaling()
    try:
        return SiteScaling(read_site_data(site).scaler)
    except NoSessionError:
        return RunningScaling()


class _Watch:
    """One watch, from its first frame to its last."""

    def __init__(
        self,
        what: What,
        screen: Screen,
        source: Source,
        frames: LiveFrames,
        face: FaceProcess,
        scaling: Scaling,
        said: deque[str],
    ) -> None:
        self._what, self._screen, self._source = what, screen, source
        self._frames, self._face, self._said = frames, face, said
        self._stream = AffectStream(None, scaling, what.neutral)
        self._feed = _feed(what)
        self._card: ModelCard | None = None
        self._summary = Summary()
        self._times: deque[float] = deque()
        self._last: Arrival | None = None
        self._last_s = -1.0
        self._late = 0
        self._take_model()
        screen.begin(
            Setup(
                source=source.name,
                width=source.width,
                height=source.height,
                card=self._card,
                neutral=what.neutral.kind,
                neutral_in_words=what.neutral_in_words,
                scaled_by="site" if isinstance(scaling, SiteScaling) else "running",
                confined=what.confined,
            )
        )

    def run(self, stopped: Callable[[], bool]) -> None:
        """Look at frames until there is a reason to stop."""
        began_s = time.monotonic()
        end_s = began_s + self._what.seconds if self._what.seconds is not None else float("inf")
        next_look_s = began_s + MODEL_EVERY_S
        self._frames.start()
        try:
            while not stopped() and (now_s := time.monotonic()) < end_s:
                arrival = self._frames.newest(min(PATIENCE_S, end_s - now_s))
                while self._said:
                    self._screen.notice(self._said.popleft())
                if arrival is not None:
                    self._see(arrival)
                elif self._frames.has_ended:
                    return
                elif self._source.live:
                    self._miss()
                if time.monotonic() >= next_look_s:
                    next_look_s = time.monotonic() + MODEL_EVERY_S
                    if self._take_model() and self._card is not None:
                        self._screen.model(self._card)
        finally:
            self._summary.seconds = time.monotonic() - began_s
            self._screen.end(self._summary)

    def _see(self, arrival: Arrival) -> None:
        """Predict from a frame, and show it."""
        self._last = arrival
        if arrival.frame.time_s <= self._last_s:  # so late that it was shown as missing already
            self._late += 1
            return
        self._push(self._face.observe(arrival.frame), arrival.at_s)

    def _miss(self) -> None:
        """Show that there is no picture, and let the clock go on without one."""
        if self._last is None:
            return
        waited_s = time.monotonic() - self._last.at_s
        # Behind the moment, so that a frame that comes after all is later than it.
        time_s = self._last.frame.time_s + waited_s - PATIENCE_S / 2
        if waited_s >= PATIENCE_S and time_s > self._last_s:
            self._push(nothing_seen(time_s, FaceState.NO_FRAME), None)

    def _push(self, observation: Observation, arrived_s: float | None) -> None:
        self._last_s = observation.time_s
        moment = self._stream.push(observation)
        now_s = time.monotonic()
        latency_s = None if arrived_s is None else now_s - arrived_s
        dropped = self._frames.dropped + self._late
        shown = Shown(moment, latency_s, self._card, self._rate_hz(now_s, arrived_s), dropped)
        self._summary.count(shown)
        self._screen.show(shown)

    def _rate_hz(self, now_s: float, arrived_s: float | None) -> float:
        if arrived_s is not None:
            self._times.append(arrived_s)
        while self._times and self._times[0] < now_s - RATE_OVER_S:
            self._times.popleft()
        span_s = self._times[-1] - self._times[0] if self._times else 0.0
        return (len(self._times) - 1) / span_s if span_s else 0.0

    def _take_model(self) -> bool:
        """Whether a model came since the last look; it is used from now on."""
        try:
            found = self._feed.look()
        except ModelError as error:
            kept = "going on with the one there is" if self._card is not None else "going on without one"
            self._said.append(f"the newest model cannot be used, {kept}: {error}")
            return False
        if found is None:
            return False
        self._card, network = found
        self._stream.use(network)
        return True


class _Handler(logging.Handler):
    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


@contextmanager
def _logged(say: Say) -> Iterator[None]:
    """What our own modules warn of goes to the screen, not across it."""
    logger, handler = logging.getLogger("mien_client"), _Handler(say)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _feed(what: What) -> ModelFeed:
    if what.model is not None:
        return ModelFeed(what.model)
    return ModelFeed(newest_model(what.site) if what.site is not None else None)
