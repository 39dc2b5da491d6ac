"""What trained models predict for test people, on the ratings' own clock.

Enters: a fold as it was prepared, and models. Leaves: predictions beside gold standards, and the
post-processing, which was fitted to training people only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien_client.inference import predict
from mien_client.rated_recording import Recording
from mien_common.network import AffectNetwork
from mien_common.schema import TARGETS
from mien_common.weights import Weights, network_from

from .config import Ratings
from .outcome import Scored
from .plan import Plan
from .postprocessing import PostProcessing, fit_postprocessing
from .preparation import SiteRecordings, TestRecording, delayed, lag_frames
from .windows import WINDOW_FRAMES, predict_windows, window_counts, window_means


@dataclass(frozen=True)
class Part:
    """A model, the recordings it may be fitted to further, and those it is tested on."""

    site: str
    """Or :data:`~mien_lab.experiments.plan.EVERYBODY`."""
    weights: Weights
    training: tuple[SiteRecordings, ...]
    test: tuple[TestRecording, ...]


def score_part(plan: Plan, part: Part, ratings: Ratings) -> tuple[tuple[Scored, ...], PostProcessing]:
    """Predictions for the test recordings of ``part``, and what was fitted to make ratings of them."""
    network = network_from(part.weights, plan.architecture)
    if plan.architecture.predicts == "window":
        # A moving average over frames means nothing to windows, each told by one pair.
        ratings = ratings.model_copy(update={"smoothing_s": 0.0})
    fitted = _fit(plan, network, part.training, ratings)
    scored = tuple(_score(plan, network, recording, fitted, part.site or None) for recording in part.test)
    return scored, fitted


def _fit(
    plan: Plan, network: AffectNetwork, training: Sequence[SiteRecordings], ratings: Ratings
) -> PostProcessing:
    """Fitted to the validation parts, where there are some: the network has not learnt those by heart."""
    kept = [recording for site in training for recording in site.validation]
    recordings = kept or [recording for site in training for recording in site.train]
    each = [_on_the_faces_clock(plan, network, recording) for recording in recordings]
    predictions, targets, counts = zip(*each, strict=True)
    return fit_postprocessing(predictions, targets, counts, ratings, plan.rate_hz)


def _on_the_faces_clock(
    plan: Plan, network: AffectNetwork, recording: Recording
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Prediction, target and mask, per frame or window."""
    if network.architecture.predicts == "window":
        return (
            predict_windows(network, recording.inputs, plan.device),
            window_means(recording.targets, recording.counts),
            window_counts(recording.counts),
        )
    return predict(network, recording.inputs, plan.device), recording.targets, recording.counts


def _score(
    plan: Plan, network: AffectNetwork, recording: TestRecording, fitted: PostProcessing, site: str | None
) -> Scored:
    gold, counts = recording.gold, recording.counts
    lags = lag_frames(recording.lag_s, plan.rate_hz)
    if network.architecture.predicts == "window":
        # The ratings of a window are of what the face did a lag earlier.
        columns = [
            predict_windows(network, delayed(recording.inputs, lag), plan.device)[:, column]
            for column, lag in enumerate(lags)
        ]
        prediction = fitted.apply(np.stack(columns, axis=1), (0, 0))
    else:
        prediction = fitted.apply(
            predict(network, recording.inputs, plan.device), lags, valid=recording.valid
        )
    if plan.measure.protocol == "mase2021":
        if network.architecture.predicts == "frames":
            prediction = window_means(prediction, counts)
        gold, counts = window_means(gold, counts), window_counts(counts)
    return Scored(
        recording=recording.name,
        participant=recording.participant,
        site=site,
        prediction=prediction,
        gold=gold,
        counts=counts,
        why_undefined=why_undefined(
            gold, counts, "window" if plan.measure.protocol == "mase2021" else "frame"
        ),
    )


def why_undefined(gold: NDArray[np.float32], counts: NDArray[np.bool_], point: str) -> str | None:
    """Why a recording has no CCC in valence, arousal or both; None where it has."""
    points = int(counts.sum())
    if points < 2:
        return f"{points or 'no'} {point} counts; a CCC needs two" + (
            f" (windows have {WINDOW_FRAMES} frames)" if point == "window" else ""
        )
    constant = [name for column, name in enumerate(TARGETS) if np.ptp(gold[counts, column]) == 0]
    return f"the gold standard of {' and '.join(constant)} is constant" if constant else None
