"""The states of a face in words, for screens and plots."""

from collections.abc import Mapping
from typing import Final

from .observations import FaceState

WORDS: Final[Mapping[FaceState, str]] = {
    FaceState.SEEN: "seen",
    FaceState.NO_FRAME: "no frame",
    FaceState.NO_FACE: "no face",
    FaceState.PROFILE: "turned away",
    FaceState.SMALL: "too small",
    FaceState.DARK: "too dark",
    FaceState.COVERED: "covered",
}


def shares_of(seconds: Mapping[str, float]) -> dict[FaceState, float]:
    """Share of the time in each state, of a session record's ``seconds``."""
    total = sum(seconds.values())
    return {
        state: seconds[state.name.lower()] / total for state in FaceState if state.name.lower() in seconds
    }


def seen_in_words(shares: Mapping[FaceState, float]) -> str:
    """``face seen 97 % of the time (no face 2 %, too dark 1 %)``."""
    missing = sorted(
        ((share, state) for state, share in shares.items() if state != FaceState.SEEN and share > 0),
        reverse=True,
    )
    reasons = ", ".join(f"{WORDS[state]} {_percent(share)}" for share, state in missing)
    seen = f"face seen {_percent(shares.get(FaceState.SEEN, 0.0))} of the time"
    return f"{seen} ({reasons})" if reasons else seen


def _percent(share: float) -> str:
    """Whole per cents that never round something to nothing, nor nearly all to all."""
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"
