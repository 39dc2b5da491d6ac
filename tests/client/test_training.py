"""Local training: the loss, the masks, the lag, the site's own statistics."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from mien_client.calibration import RunningNeutral
from mien_client.device import choose_device
from mien_client.face.action_units import EXPERIMENTAL
from mien_client.features import MODEL_CHANNELS, Features, clock_for, features_of
from mien_client.inference import evaluate, predict
from mien_client.losses import ccc_loss
from mien_client.observations import NOTHING_KNOWN, POSE_KNOWN, FaceState, Observation
from mien_client.rated_recording import Recording, recording_of
from mien_client.scaling import fit_scaler
from mien_client.sessions import Session, read_session, session_record, write_session
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.ccc import ccc, ccc_from_moments
from mien_common.errors import SessionError, SettingsError
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_common.schema import AU_CHANNELS
from mien_common.weights import weights_of

Make = Callable[..., Session]
CPU = torch.device("cpu")
SMALL = Architecture(hidden_units=8, layers=1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tensors(*arrays: NDArray[np.generic]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.asarray(array)) for array in arrays)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 40))
def test_the_loss_is_one_minus_the_mean_ccc_of_the_frames_that_count(
    seed: int, batch: int, frames: int
) -> None:
    generator = np.random.default_rng(seed)
    prediction, target = generator.uniform(-1, 1, (2, batch, frames, 2))
    counts = generator.random((batch, frames)) < 0.7
    counts[0, :2] = True
    expected = 1 - np.mean([ccc(prediction[counts][:, k], target[counts][:, k]) for k in (0, 1)])
    found = float(ccc_loss(*tensors(prediction, target, counts)))
    assert found == pytest.approx(expected, abs=1e-5)


@given(
    st_numpy.arrays(np.float64, (2, 15, 2), elements=st.floats(-1e6, 1e6)),
    st_numpy.arrays(np.bool_, (2, 15)),
)
def test_frames_that_do_not_count_have_no_influence_on_the_loss(
    rubbish: NDArray[np.float64], masked: NDArray[np.bool_]
) -> None:
    generator = np.random.default_rng(1)
    prediction, target = generator.uniform(-1, 1, (2, 2, 15, 2))
    counts = ~masked
    counts[0, :5] = True
    expected = ccc_loss(*tensors(prediction, target, counts))
    spoilt = np.where(counts[..., None], target, rubbish), np.where(counts[..., None], prediction, rubbish)
    changed = torch.from_numpy(spoilt[1]).requires_grad_()
    found = ccc_loss(changed, *tensors(spoilt[0], counts))
    assert float(found.detach()) == pytest.approx(float(expected), abs=1e-9)
    found.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    assert changed.grad is not None
    assert not changed.grad[torch.from_numpy(~counts)].any(), "a masked frame pulls at the network"


def test_the_loss_stays_finite_for_constant_traces() -> None:
    constant = torch.zeros(1, 20, 2, requires_grad=True)
    loss = ccc_loss(constant, torch.zeros(1, 20, 2), torch.ones(1, 20, dtype=torch.bool))
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    assert float(loss.detach()) == pytest.approx(1.0)
    assert constant.grad is not None
    assert bool(constant.grad.isfinite().all())


def test_a_late_rating_is_moved_back_to_the_face(make_session: Make) -> None:
    """A face acts; the rater presses 2 s later. After the shift both lie on the same frame."""
    act = np.zeros(251, np.float32)
    act[100:150] = 1.0
    late = np.roll(act, 50)
    session = make_session("s", seconds=10.0, ratings=np.stack([late, late], axis=1))
    recording = recording_of(session, fit_scaler([session.features]), lag_s=2.0)
    assert np.array_equal(recording.targets[1:201, 0], act[1:201])
    assert not recording.counts[201:].any(), "the last 2 s have no rating yet"
    assert recording.counts[1:201].all()
    delays = [-75, -50, -25, 0, 25, 50, 75]
    scores = [ccc(recording.targets[80:170, 0], np.roll(act, delay)[80:170]) for delay in delays]
    assert delays[int(np.argmax(scores))] == 0


@pytest.mark.parametrize("lag_s", [10.0, 20.0])
def test_a_lag_longer_than_the_session_leaves_nothing(make_session: Make, lag_s: float) -> None:
    session = make_session("s", seconds=4.0)
    assert not recording_of(session, fit_scaler([session.features]), lag_s).counts.any()


def test_unrated_and_invalid_frames_do_not_count(make_session: Make) -> None:
    valid = np.arange(101) >= 30
    ratings = np.full((101, 2), 0.5, np.float32)
    ratings[60:, 1] = np.nan
    session = make_session("s", valid=valid, ratings=ratings)
    recording = recording_of(session, fit_scaler([session.features]), 0.0)
    assert np.array_equal(np.flatnonzero(recording.counts), np.arange(30, 60))
    assert np.isfinite(recording.inputs).all()
    assert np.isfinite(recording.targets).all()


def test_a_session_without_ratings_is_refused(make_session: Make) -> None:
    session = make_session("s", rated=False)
    with pytest.raises(SessionError, match=r"session s has no ratings\. Ingest it again with --ratings"):
        recording_of(session, fit_scaler([session.features]), 0.0)


def test_the_scaler_is_numpys_mean_and_deviation_of_valid_frames(make_session: Make) -> None:
    one, two = (make_session("s", seed=seed, valid=np.arange(101) > 10).features for seed in (1, 2))
    scaler = fit_scaler([one, two])
    together = np.concatenate([one.values[11:], two.values[11:]]).astype(np.float64)
    assert scaler.mean == pytest.approx(together.mean(axis=0), abs=1e-5)
    assert scaler.deviation == pytest.approx(together.std(axis=0), rel=1e-5)
    scaled = np.concatenate([scaler.apply(features)[features.valid] for features in (one, two)])
    assert scaled.mean(axis=0) == pytest.approx(np.zeros(40), abs=1e-5)
    assert scaled.std(axis=0) == pytest.approx(np.where(MODEL_CHANNELS, 1.0, 0.0), abs=1e-4)


def test_each_channel_is_scaled_by_the_frames_in_which_it_is_known(make_session: Make) -> None:
    """A hand before the mouth hides some channels; the others still tell of themselves."""
    one, two = (make_session("s", seed=seed).features for seed in (1, 2))
    one.values[20:60, 6], two.values[:, 17] = np.nan, np.nan
    both = np.concatenate([one.values, two.values]).astype(np.float64)
    scaler = fit_scaler([one, two])
    assert scaler.mean == pytest.approx(np.nanmean(both, axis=0), abs=1e-5)
    assert scaler.deviation == pytest.approx(np.nanstd(both, axis=0), rel=1e-5)
    scaled = scaler.apply(one)
    assert not scaled[20:60, 6].any()
    assert scaled[20:60, 7].all()


def test_a_channel_that_is_never_known_is_never_given() -> None:
    values = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    values[:, 3] = np.nan
    nothing = np.zeros(50, np.uint8)
    features = Features(clock_for(1.96), values, np.ones(50, bool), nothing, nothing.astype(np.int32))
    assert not fit_scaler([features]).apply(features)[:, 3].any()
    later = replace(features, values=np.ones((50, 40), np.float32))
    assert np.isfinite(fit_scaler([features]).apply(later)).all()


def test_a_channel_that_stands_still_is_not_blown_up() -> None:
    values = np.zeros((50, 40), np.float32)
    values[:, 1] = np.linspace(0, 1e-6, 50)
    always, nobody = np.ones(50, bool), np.zeros(50, np.int32)
    features = Features(clock_for(1.96), values, always, np.zeros(50, np.uint8), nobody)
    scaler = fit_scaler([features])
    assert np.abs(scaler.apply(replace(features, values=values + 0.01))).max() < 0.02


def test_a_missing_face_is_the_channel_mean_for_the_network_only(make_session: Make) -> None:
    features = make_session("s", valid=np.arange(101) % 2 == 1).features
    scaled = fit_scaler([features]).apply(features)
    assert not scaled[~features.valid].any()
    assert scaled[features.valid].any(axis=1).all()


def test_nothing_to_learn_from_is_said_so(make_session: Make) -> None:
    session = make_session("s", valid=np.zeros(101, bool))
    with pytest.raises(SessionError, match="no training session of this site holds a frame with a face"):
        fit_scaler([session.features])
    empty = recording_of(session, fit_scaler([make_session("t").features]), 0.0)
    with pytest.raises(SessionError, match="both valid and rated"):
        train(build(SMALL, 0), [empty], TrainingSettings(), 0, CPU)


def easy(seed: int, seconds: float = 40.0) -> Recording:
    """A recording whose ratings are a smooth function of two channels."""
    generator = np.random.default_rng(seed)
    frames = len(clock_for(seconds))
    time = np.arange(frames) / 25
    inputs = generator.normal(0, 0.3, (frames, 40)).astype(np.float32)
    for channel in (3, 17):
        waves = [np.sin(time * generator.uniform(0.3, 1.2) + generator.uniform(0, 6)) for _ in range(3)]
        inputs[:, channel] += np.sum(waves, axis=0)
    targets = np.tanh(inputs[:, [3, 17]] * 0.6).astype(np.float32)
    return Recording(inputs, targets, np.ones(frames, bool))


def test_learns_an_easy_mapping_and_generalises() -> None:
    network = build(Architecture(hidden_units=16, layers=1), seed=1)
    settings = TrainingSettings(local_epochs=25, learning_rate=1e-2, window_s=4.0, batch_windows=4)
    result = train(network, [easy(1), easy(2)], settings, seed=3, device=CPU)
    (unseen,) = evaluate(network, [easy(9)], CPU)
    assert ccc_from_moments(unseen.valence) > 0.8
    assert ccc_from_moments(unseen.arousal) > 0.8
    assert result.loss < 0.2
    assert result.frames == 2002


def test_the_same_seed_gives_the_same_weights_to_the_last_bit() -> None:
    def trained(seed: int) -> dict[str, NDArray[np.float32]]:
        network = build(SMALL, seed=0)
        train(network, [easy(1, 20.0), easy(2, 20.0)], TrainingSettings(window_s=3.0), seed, CPU)
        return weights_of(network)

    first, second, other = trained(5), trained(5), trained(6)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_ratings_under_the_mask_have_no_influence_on_training_or_evaluation() -> None:
    recording = easy(1, 20.0)
    counts = np.arange(len(recording.counts)) % 50 < 30
    plain = replace(recording, counts=counts)
    spoilt = replace(plain, targets=np.where(counts[:, None], plain.targets, np.float32(99.0)))

    def outcome(given: Recording) -> tuple[list[NDArray[np.float32]], object]:
        network = build(SMALL, seed=0)
        train(network, [given], TrainingSettings(window_s=3.0), 5, CPU)
        return list(weights_of(network).values()), evaluate(network, [given], CPU)

    (weights, sums), (spoilt_weights, spoilt_sums) = outcome(plain), outcome(spoilt)
    assert all(np.array_equal(a, b) for a, b in zip(weights, spoilt_weights, strict=True))
    assert sums == spoilt_sums


def test_windows_in_which_nothing_counts_do_no_harm() -> None:
    """An hour without a face must not become a step along NaN."""
    recording = replace(easy(1, 20.0), counts=np.arange(501) < 40)
    network = build(SMALL, seed=0)
    settings = TrainingSettings(window_s=1.0, batch_windows=1)
    result = train(network, [recording], settings, 5, CPU)
    assert np.isfinite(result.loss)
    assert result.frames == 40
    assert all(np.isfinite(array).all() for array in weights_of(network).values())


def test_evaluation_sums_are_those_of_the_predictions() -> None:
    network, recording = build(SMALL, seed=4), easy(3, 10.0)
    recording = replace(recording, counts=np.arange(len(recording.counts)) > 40)
    (sums,) = evaluate(network, [recording], CPU)
    prediction = predict(network, recording.inputs, CPU)
    for column, found in enumerate((sums.valence, sums.arousal)):
        expected = ccc(prediction[:, column], recording.targets[:, column], recording.counts)
        assert ccc_from_moments(found) == pytest.approx(expected, abs=1e-9)


def test_recordings_too_short_to_hide_a_frame_in_are_left_out() -> None:
    recording = easy(3, 10.0)
    short = replace(recording, counts=np.arange(len(recording.counts)) < 24)
    assert evaluate(build(SMALL, 0), [short], CPU) == ()
    enough = replace(recording, counts=np.arange(len(recording.counts)) < 25)
    assert len(evaluate(build(SMALL, 0), [enough], CPU)) == 1


def test_cuda_is_used_only_where_there_is_one() -> None:
    assert choose_device("cpu") == CPU
    if torch.cuda.is_available():
        assert choose_device("auto").type == "cuda"
        return
    assert choose_device("auto") == CPU
    with pytest.raises(SettingsError, match=r"no usable GPU\. Set device to auto or cpu"):
        choose_device("cuda")


FILM_S = 24.0


def filmed(garbage: float | None) -> Session:
    """A face that is away, turned, too dark, covered and not recorded for a while each.

    With ``garbage``, everything that was not measured holds that number: the values of such frames as
    the face process or another program gave them, the experimental channels, and the ratings there.
    """
    generator = np.random.default_rng(8)
    times = np.arange(round(FILM_S * 30)) / 30
    slow = 2.0 + np.sin(times[:, None] * generator.uniform(0.3, 1.5, 20) + generator.uniform(0, 6, 20))
    slow[:, 17:] = (slow[:, 17:] - 2.0) / 4
    mouth = [AU_CHANNELS.index(name) for name in ("AU12_r", "AU25_r")]
    experimental = [AU_CHANNELS.index(name) for name in EXPERIMENTAL]
    gone = {
        3: FaceState.NO_FACE,
        6: FaceState.PROFILE,
        9: FaceState.DARK,
        12: FaceState.COVERED,
        15: FaceState.NO_FRAME,
    }

    def observed() -> Iterator[Observation]:
        for time_s, values in zip(times.tolist(), slow.astype(np.float32), strict=True):
            state = gone.get(int(time_s), FaceState.SEEN)
            seen = values.copy()
            if garbage is not None:
                seen[experimental] = garbage
            if state == FaceState.COVERED:
                seen[mouth] = np.nan
            elif state in POSE_KNOWN:
                seen[:17] = np.nan if garbage is None else garbage
            elif state in NOTHING_KNOWN:
                seen[:] = np.nan if garbage is None else garbage
            yield Observation(time_s, state, seen)

    features = features_of(observed(), RunningNeutral())
    spoilt = np.float32(np.nan if garbage is None else np.clip(garbage, -1, 1))
    truth = np.tanh(np.sin(features.time_s[:, None] * [0.7, 0.9])).astype(np.float32)
    record = session_record(
        session_id="film",
        features=features,
        rated=True,
        held_out=False,
        source=Path("f"),
        source_sha256="0" * 64,
        neutral="running",
        features_from="mediapipe",
        confined=True,
    )
    return Session(record, features, np.where(features.valid[:, None], truth, spoilt))


@pytest.mark.parametrize("garbage", [0.0, -7.0, 1e30, float("inf"), float("-inf")])
def test_what_was_not_measured_changes_nothing_from_the_first_bit_to_the_last(
    garbage: float, tmp_path: Path
) -> None:
    """From the face process's numbers over files and windows to loss, gradients, weights and moments."""

    def outcome(session: Session) -> tuple[object, ...]:
        folder = write_session(tmp_path / f"{len(list(tmp_path.iterdir()))}", session)
        session = read_session(folder)
        scaler = fit_scaler([session.features])
        recording = recording_of(session, scaler, 0.0)
        network = build(SMALL, seed=0)
        batch = tensors(recording.inputs[None], recording.targets[None], recording.counts[None])
        loss = ccc_loss(network(batch[0]), *batch[1:])
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        gradients = [
            parameter.grad.numpy().tobytes()
            for parameter in network.parameters()
            if parameter.grad is not None
        ]
        result = train(network, [recording], TrainingSettings(window_s=4.0, local_epochs=2), 5, CPU)
        weights = [array.tobytes() for array in weights_of(network).values()]
        moments = evaluate(network, [recording], CPU)
        return recording.inputs.tobytes(), float(loss.detach()), gradients, result, weights, moments

    clean, spoilt = filmed(None), filmed(garbage)
    assert 0.5 < clean.features.valid.mean() < 0.85, "the film should miss something"
    assert not np.array_equal(np.isnan(clean.ratings), np.isnan(spoilt.ratings)), "no garbage was planted"  # type: ignore[arg-type]
    assert np.array_equal(clean.features.valid, spoilt.features.valid)
    assert outcome(clean) == outcome(spoilt)
