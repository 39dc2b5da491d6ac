"""A recording ready for the network: standardised inputs, ratings moved back by the raters' lag, a mask.

Enters: a session and the site's scaler. Leaves (to training and evaluation on this site): three arrays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien_common.errors import SessionError
from mien_common.schema import AU_V1

from .scaling import Scaler
from .sessions import Session


@dataclass(frozen=True)
class Recording:
    """One session, ready for the network."""

    inputs: NDArray[np.float32]
    """(frames, channels) standardised."""
    targets: NDArray[np.float32]
    """(frames, 2) ratings moved back by the lag; 0 where they do not count."""
    counts: NDArray[np.bool_]
    """(frames,) the face is valid and the frame is rated."""


def recording_of(session: Session, scaler: Scaler, lag_s: float) -> Recording:
    """A rated session with its ratings moved back by ``lag_s``: what the face did, not when it was rated.

    Raises
    ------
    SessionError
        The session has no ratings.
    """
    if session.ratings is None:
        raise SessionError(f"session {session.record.id} has no ratings. Ingest it again with --ratings.")
    targets = without_lag(session.ratings, lag_s)
    counts = session.features.valid & np.isfinite(targets).all(axis=1)
    return Recording(
        inputs=scaler.apply(session.features),
        targets=np.where(counts[:, None], targets, np.float32(0.0)).astype(np.float32),
        counts=counts,
    )


def without_lag(
    ratings: NDArray[np.float32], lag_s: float, rate_hz: float = AU_V1.rate_hz
) -> NDArray[np.float32]:
    """(frames, 2) ratings moved ``lag_s`` earlier; NaN at the end, whose ratings were never given."""
    shift = round(lag_s * rate_hz)
    earlier = np.full_like(ratings, np.nan)
    earlier[: max(len(ratings) - shift, 0)] = ratings[shift:]
    return earlier
