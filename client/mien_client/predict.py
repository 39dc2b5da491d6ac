"""Valence and arousal of a video by a published model: a CSV file and a plot.

Enters: a video and a model's folder. Leaves: nothing; both files are written on this machine.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien_common.files import make_folder, write_atomic
from mien_common.published import ModelCard
from mien_common.schema import TARGETS
from mien_common.weights import network_from

from .client_app import read_site_data
from .device import choose_device
from .face.confinement_record import write_face_process_record
from .face.seat import FaceSeat
from .inference import predict
from .ingest import Progress, Report, observe
from .model_uses import check_traces
from .participants import neutral_for
from .plots import plot_prediction
from .rated_recording import without_lag
from .ratings import on_clock, read_ratings
from .recordings import Recording
from .releases import read_model
from .scaling import fit_scaler
from .site import Site


@dataclass(frozen=True)
class Prediction:
    """What was predicted, and where it was written."""

    csv: Path
    plot: Path
    frames: int
    valid_frames: int
    card: ModelCard
    scaled_by: str
    """Whose statistics standardised the features: "site" or "video"."""
    neutral_in_words: str
    """Whose resting face was subtracted."""


def predict_video(
    video: Path,
    model: Path,
    site: Site | None,
    ratings: Path | None,
    out: Path,
    progress: Progress,
    *,
    participant: str | None = None,
    confined: bool = True,
) -> Prediction:
    """Predict a video's valence and arousal per frame of the 25 Hz clock.

    Where the face, or a part of it that the model needs, is missing, so is the prediction.

    Parameters
    ----------
    model : a published model's folder or its ``model.safetensors``.
    site : whose training statistics standardise the features, as in training; the video's own where None.
    ratings : CSV to draw under the prediction, moved back by the site's lag where a site is given.
    out : folder for ``<video>-prediction.csv`` and ``<video>-prediction.png``.
    participant : whose face it is, to use the calibration that the site has of it.
    confined : False only where the user said ``--allow-unconfined-face-process``.

    Raises
    ------
    ModelError
        The model is damaged, of another schema, or gives no trace of a recording.
    SessionError
        The site has no statistics to standardise by.
    VideoError, RatingsError, StorageError
    """
    card, weights = read_model(model, site)
    check_traces(card, model)
    scaler = read_site_data(site).scaler if site is not None else None
    rated = read_ratings(ratings) if ratings is not None else None
    neutral, neutral_in_words = neutral_for(site, participant)
    make_folder(out)
    with FaceSeat(confined) as faces:
        features = observe(Recording(video), None, faces, neutral, Report(progress))
        if site is not None and faces.process is not None:
            write_face_process_record(site.state, faces.process.confinement, faces.process.restarts)
    on_frames = (
        on_clock(rated, features.time_s, ratings) if rated is not None and ratings is not None else None
    )
    if scaler is None:
        scaler = fit_scaler([features])
    device = choose_device(site.settings.device if site is not None else "auto")
    prediction = predict(network_from(weights, card.architecture), scaler.apply(features), device)
    prediction[~features.valid] = np.nan
    # Not <video>.csv: that is the name of the ratings that lie beside many a video.
    csv, plot = (out / f"{video.stem}-prediction.{kind}" for kind in ("csv", "png"))
    write_atomic(csv, _csv(features.time_s, prediction))
    label = "rating"
    if site is not None and on_frames is not None:
        on_frames = without_lag(on_frames, site.settings.lag_s)
        label = f"rating, moved {site.settings.lag_s:g} s back (the site's lag)"
    title = f"{video.name} — model of run {card.run}, round {card.round}"
    write_atomic(plot, plot_prediction(features.time_s, prediction, on_frames, title, label))
    return Prediction(
        csv,
        plot,
        len(features.valid),
        int(features.valid.sum()),
        card,
        "site" if site is not None else "video",
        neutral_in_words,
    )


def _csv(time_s: NDArray[np.float64], prediction: NDArray[np.float32]) -> bytes:
    """``time,valid,valence,arousal``; empty where no face was seen."""
    text = io.StringIO()
    text.write(f"time,valid,{','.join(TARGETS)}\n")
    for moment, (valence, arousal) in zip(time_s, prediction, strict=True):
        seen = bool(np.isfinite(valence))
        text.write(f"{moment:.2f},{int(seen)}," + (f"{valence:.5f},{arousal:.5f}\n" if seen else ",\n"))
    return text.getvalue().encode()
