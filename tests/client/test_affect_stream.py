"""Live prediction: at the clock's ticks what a recording gives, between them what the ticks lead to."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien_client.affect_stream import AffectStream, Moment, RunningScaling, SiteScaling
from mien_client.calibration import KnownNeutral, RunningNeutral
from mien_client.device import choose_device
from mien_client.features import FeatureStream, features_of
from mien_client.inference import predict
from mien_client.observations import FaceState, Observation, nothing_seen
from mien_client.scaling import Scaler, fit_scaler
from mien_common.architecture import Architecture
from mien_common.network import AffectNetwork, build

AT_REST = KnownNeutral(np.zeros(17, np.float32))


GRU = Architecture(hidden_units=16)
RESIDUAL_LSTM = Architecture(kind="lstm", hidden_units=16, layers=3, residual=True, input_norm=True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in `mien agent watch`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 1, architecture: Architecture = GRU) -> AffectNetwork:
    return build(architecture, seed).eval()


def scaler() -> Scaler:
    generator = np.random.default_rng(5)
    return Scaler(
        generator.normal(size=40).astype(np.float32), generator.uniform(0.5, 2, 40).astype(np.float32)
    )


def observations(rate_hz: float, seconds: float, troubled: bool = True) -> list[Observation]:
    """A lively face; troubled: away, in profile, lost frames, another person's."""
    generator = np.random.default_rng(7)
    phases = generator.uniform(0, 6, 20)
    seen = []
    for number in range(round(rate_hz * seconds)):
        time_s = number / rate_hz
        values = (1.5 + np.sin(2 * time_s + phases)).astype(np.float32)
        values[17:] *= 0.05
        state, face = FaceState.SEEN, 0
        if troubled:
            face = int(time_s > 7)
            if 2 <= time_s < 3:
                state = FaceState.NO_FACE
            elif 4 <= time_s < 4.5:
                state, values[:17] = FaceState.PROFILE, np.nan
            elif 5 <= time_s < 6:
                continue
        none = state == FaceState.NO_FACE
        seen.append(nothing_seen(time_s, state, face) if none else Observation(time_s, state, values, face))
    return seen


def moments_of(stream: AffectStream, seen: Sequence[Observation]) -> dict[float, Moment]:
    return {round(observation.time_s, 4): stream.push(observation) for observation in seen}


@pytest.mark.parametrize("architecture", [GRU, RESIDUAL_LSTM], ids=["gru", "residual-lstm"])
@pytest.mark.parametrize("rate_hz", [25.0, 30.0, 50.0, 12.5])
def test_live_gives_at_the_ticks_what_a_recording_gives(rate_hz: float, architecture: Architecture) -> None:
    seen = observations(rate_hz, 10.0)
    model = network(architecture=architecture)
    live = moments_of(AffectStream(model, SiteScaling(scaler()), RunningNeutral()), seen)
    features = features_of(seen, RunningNeutral())
    recorded = predict(model, scaler().apply(features), choose_device("cpu"))
    compared = missing = 0
    for tick, valid, expected in zip(features.time_s, features.valid, recorded, strict=True):
        moment = live.get(round(float(tick), 4))
        if moment is None:
            continue
        assert (moment.affect is not None) == valid
        if moment.affect is None:
            missing += 1
        else:
            compared += 1
            assert moment.affect == pytest.approx(expected.tolist(), abs=1e-5)
    assert compared > 25
    assert missing > 5


@pytest.mark.parametrize("architecture", [GRU, RESIDUAL_LSTM], ids=["gru", "residual-lstm"])
def test_between_ticks_a_frame_is_tried_from_the_last_ticks_state(architecture: Architecture) -> None:
    """Against the network run over all ticks so far with that frame behind them, all at once."""
    seen = observations(30.0, 3.0, troubled=False)
    model = network(architecture=architecture)
    live = AffectStream(model, SiteScaling(scaler()), AT_REST)
    reference = FeatureStream(AT_REST)
    inputs: list[np.ndarray] = []
    tried = 0
    for observation in seen:
        moment = live.push(observation)
        ticks = reference.push(observation)
        inputs += [SiteScaling(scaler()).inputs(tick) for tick in ticks]
        if ticks and abs(ticks[-1].time_s - observation.time_s) < 1e-3:
            continue
        now = SiteScaling(scaler()).inputs(reference.now())
        with torch.inference_mode():
            expected = model(torch.from_numpy(np.stack([*inputs, now]))[None])[0, -1]
        if moment.affect is not None:
            tried += 1
            assert moment.affect == pytest.approx(expected.tolist(), abs=1e-5)
    assert tried > 50


@pytest.mark.parametrize("state", [FaceState.NO_FRAME, FaceState.NO_FACE, FaceState.DARK])
def test_a_missing_face_has_no_prediction_not_a_neutral_one(state: FaceState) -> None:
    stream = AffectStream(network(), SiteScaling(scaler()), AT_REST)
    for observation in observations(25.0, 1.0, troubled=False):
        moment = stream.push(observation)
    assert moment.affect is not None
    moment = stream.push(nothing_seen(1.0, state))
    assert (moment.affect, moment.features.state) == (None, state)


def test_without_a_model_there_are_features() -> None:
    stream = AffectStream(None, SiteScaling(scaler()), AT_REST)
    moments = moments_of(stream, observations(25.0, 1.0, troubled=False))
    assert all(moment.affect is None for moment in moments.values())
    assert moments[0.04].features.valid
    stream.use(network())
    assert stream.push(observations(25.0, 1.1, troubled=False)[25]).affect is not None


def test_another_model_begins_anew() -> None:
    seen = observations(25.0, 3.0, troubled=False)
    stream = AffectStream(network(seed=1), SiteScaling(scaler()), AT_REST)
    moments_of(stream, seen[:50])
    stream.use(network(seed=2))
    switched = moments_of(stream, seen[50:])
    rest = features_of(seen, AT_REST)
    expected = predict(network(seed=2), scaler().apply(rest)[50:], choose_device("cpu"))
    assert [moment.affect for moment in switched.values()] == [
        pytest.approx(pair, abs=1e-5) for pair in expected.tolist()
    ]


def test_a_watch_may_last_for_longer_than_a_recording() -> None:
    stream = AffectStream(network(), SiteScaling(scaler()), RunningNeutral())
    for hours in (0, 12, 24, 60):
        seen = observations(25.0, 2.0, troubled=False)
        later = [replace(observation, time_s=observation.time_s + 3600.0 * hours) for observation in seen]
        moments = list(moments_of(stream, later).values())
        assert moments[0].affect is None  # nothing to take differences from
        assert all(moment.affect is not None for moment in moments[1:])
        assert moments[-1].features.time_s == pytest.approx(3600.0 * hours + 1.96)


class TestRunningScaling:
    """Statistics of the face so far, where a site has trained on nothing."""

    def test_predictions_wait_for_ten_seconds_of_face(self) -> None:
        stream = AffectStream(network(), RunningScaling(), AT_REST)
        moments = moments_of(stream, observations(25.0, 16.0))
        with_face = [
            time_s for time_s, moment in moments.items() if moment.features.valid and not moment.wait_s
        ]
        begun = [time_s for time_s, moment in moments.items() if moment.affect is not None]
        assert begun == with_face
        # 10 s of face and what was missing on the way: away 1 s, profile 0.5 s, no frames 1 s, deltas.
        assert 12.5 <= begun[0] <= 12.8
        waits = [moment.wait_s for moment in moments.values()]
        assert waits == sorted(waits, reverse=True)
        assert (waits[0], waits[-1]) == (10.0, 0.0)  # the very first frame has no deltas yet

    def test_they_are_the_mean_and_deviation_of_what_has_been_seen(self) -> None:
        seen = observations(25.0, 12.0)
        scaling, stream = RunningScaling(), FeatureStream(AT_REST)
        for count, observation in enumerate(seen, start=1):
            for tick in stream.push(observation):
                scaling.learn(tick)
            if count in (10, 100, len(seen)):
                expected = fit_scaler([features_of(seen[:count], AT_REST)])
                assert scaling.scaler.mean == pytest.approx(expected.mean, abs=1e-5)
                assert scaling.scaler.deviation == pytest.approx(expected.deviation, abs=1e-5)

    def test_a_channel_that_stands_still_is_not_blown_up(self) -> None:
        scaling, stream = RunningScaling(), FeatureStream(AT_REST)
        for number in range(30):
            values = np.full(20, 0.1, np.float32)
            for tick in stream.push(Observation(number / 25, FaceState.SEEN, values)):
                scaling.learn(tick)
        assert np.abs(scaling.inputs(stream.now())).max() < 1e-3
