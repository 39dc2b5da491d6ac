"""Who is standardised by whose features.

Enters: training and test recordings. Leaves: a scaler per person. Only frames with a measured face tell.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien_client.scaling import Scaler, fit_scaler_to
from mien_common.errors import FeatureFileError
from mien_lab.corpora.corpus import RatedRecording

from .config import Config


def fit_scalers(
    trained: Sequence[RatedRecording], tested: Sequence[RatedRecording], config: Config
) -> tuple[dict[str, Scaler], dict[str, Scaler]]:
    """Scalers by person: those fitted to training recordings; those of people who do not train.

    Raises
    ------
    FeatureFileError
        A person has no frame with a measured face.
    """
    own = _by_person(trained)
    strangers = _by_person([recording for recording in tested if recording.participant not in own])
    if config.scaling == "training":
        shared = fit_scaler_to([values for recordings in own.values() for values in recordings])
        return dict.fromkeys(own, shared), dict.fromkeys(strangers, shared)
    return (
        {person: fit_scaler_to(recordings) for person, recordings in own.items()},
        {person: fit_scaler_to(recordings) for person, recordings in strangers.items()},
    )


def measured(recording: RatedRecording) -> NDArray[np.float32]:
    """(frames, channels) features; NaN where no face was measured, whatever the file says there."""
    return np.where(recording.valid[:, None], recording.features, np.float32(np.nan))


def _by_person(recordings: Sequence[RatedRecording]) -> dict[str, list[NDArray[np.float32]]]:
    """Each person's measured features."""
    people: dict[str, list[RatedRecording]] = {}
    for recording in recordings:
        people.setdefault(recording.participant, []).append(recording)
    for person, own in people.items():
        if not any(recording.valid.any() for recording in own):
            raise FeatureFileError(
                f"{own[0].source}: participant {person} has no frame with a measured face. "
                "Leave this participant out, or extract the features again."
            )
    return {person: [measured(recording) for recording in own] for person, own in people.items()}
