"""How far the raters of each recording agree: what a model's CCC is to be held against.

Enters: a corpus, its raters' traces as given. Leaves: a CCC and a Pearson correlation per recording and
target, mean over pairs of raters, with the reason where there is none; and one sentence per target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien_common.schema import TARGETS
from mien_lab.corpora.corpus import Corpus
from mien_lab.corpora.gold_standard import Agreement, inter_rater

from .tables import number


@dataclass(frozen=True)
class RatedAgreement:
    """A recording's raters."""

    recording: str
    participant: str
    raters: int
    agreement: Agreement


def agreements(corpus: Corpus) -> tuple[RatedAgreement, ...]:
    """Of every recording that has raters; none where the release gives a gold standard only."""
    return tuple(
        RatedAgreement(one.name, one.participant, len(one.raters), inter_rater(one))
        for one in corpus.recordings
        if one.raters
    )


def sentences(every: Sequence[RatedAgreement]) -> tuple[str, ...]:
    """Per target the mean over recordings, and of how many it is."""
    return tuple(_sentence(every, target) for target in TARGETS) if every else ()


def _sentence(every: Sequence[RatedAgreement], target: str) -> str:
    found = [getattr(one.agreement, target) for one in every]
    known = [each for each in found if np.isfinite(each.ccc)]
    if not known:
        return f"{target}: no inter-rater CCC, since {found[0].reason}."
    left_out = f"; without one: {len(found) - len(known)}" if len(known) < len(found) else ""
    return (
        f"{target}: inter-rater CCC {number(float(np.mean([each.ccc for each in known])))}, Pearson "
        f"{number(float(np.mean([each.pearson for each in known])))} (means over pairs of raters, then over "
        f"{len(known)} recording{'s' if len(known) > 1 else ''}{left_out})."
    )
