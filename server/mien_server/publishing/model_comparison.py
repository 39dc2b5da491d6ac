"""Two published models side by side: what they are, how well they do, how far apart their weights lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien_common.published import ModelCard, read_published
from mien_common.weights import norm_of

UNKNOWN: Final = float("nan")


@dataclass(frozen=True)
class Row:
    """One thing that the two models are compared by."""

    what: str
    first: str | float
    second: str | float

    @property
    def change(self) -> float | None:
        """Second minus first; None where they are words, or one is not known."""
        if isinstance(self.first, str) or isinstance(self.second, str):
            return None
        change = self.second - self.first
        return None if change != change else change


def compare(first: Path, second: Path) -> list[Row]:
    """The models in two folders, a row each.

    Raises
    ------
    ModelError
        One is damaged.
    """
    (card_a, weights_a), (card_b, weights_b) = read_published(first), read_published(second)
    rows = [
        Row(what, one, other) for what, one, other in zip(_WORDS, _words(card_a), _words(card_b), strict=True)
    ]
    for target in card_a.targets:
        for rule in ("pooled", "mean_over_recordings"):
            one, other = (
                getattr(card.ccc[target], rule) if target in card.ccc else UNKNOWN
                for card in (card_a, card_b)
            )
            rows.append(Row(f"{target} CCC, {rule.replace('_', ' ')}", one, other))
        worst = [card.worst_site.get(target) for card in (card_a, card_b)]
        lowest = [found.pooled if found else UNKNOWN for found in worst]
        rows.append(Row(f"{target} CCC, worst site", *lowest))
    rows.append(Row("norm of the weights", norm_of(weights_a), norm_of(weights_b)))
    if card_a.architecture == card_b.architecture:
        apart = norm_of({name: np.subtract(weights_b[name], array) for name, array in weights_a.items()})
        rows.append(Row("distance of the weights", UNKNOWN, apart))
    return rows


_WORDS: Final = ("run, round", "created", "architecture", "schema", "sites", "frames", "SHA-256")


def _words(card: ModelCard) -> tuple[str, ...]:
    return (
        f"{card.run}, {card.round}",
        card.created[:19],
        card.architecture.in_words,
        card.schema_name,
        str(len(card.sites)),
        f"{sum(site.frames for site in card.sites):,}",
        card.sha256[:12],
    )
