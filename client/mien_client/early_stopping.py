"""Early stopping: the weights of the best round, and when to give up waiting for a better one.

Enters: a score per round, measured on recordings of training sites that were kept from training, never
on those of test participants. Leaves: the best round's weights.
"""

import math

from mien_common.weights import Weights


class EarlyStopping:
    """Remembers the best round (Prechelt, 1998: stop after ``patience`` rounds without progress)."""

    def __init__(self, patience: int | None) -> None:
        """``patience``: rounds without a better score after which to stop; None: never stop."""
        if patience is not None and patience < 1:
            raise ValueError(f"a patience of {patience} rounds would stop before the first")
        self._patience = patience
        self._waited = 0
        self.best_round: int | None = None
        """None until a round had a score."""
        self.best_score = math.nan
        self.best_weights: Weights | None = None

    def observe(self, round_: int, score: float, weights: Weights) -> bool:
        """Take a round's validation score, higher is better; True when training should stop.

        A NaN score (nobody's validation recordings tell anything) never improves and counts as waiting.
        Of equal scores the earlier round's weights are kept. ``weights`` are copied.
        """
        if not math.isnan(score) and not score <= self.best_score:
            self.best_round, self.best_score, self._waited = round_, score, 0
            self.best_weights = {name: array.copy() for name, array in weights.items()}
            return False
        self._waited += 1
        return self._patience is not None and self._waited >= self._patience
