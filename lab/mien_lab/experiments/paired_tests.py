"""Whether one contender is better than another, person by person.

Enters: contenders, each with its persons' scores. Leaves: for each pair of them and each target the mean
difference, an effect size, who gains and who loses, and two tests of it, adjusted for their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from mien_common.schema import TARGETS

from .scores import Array, Contender, natural
from .statistics import Summary

FLIPS: Final = 9999
"""Of signs, where there are more than that many ways to: the smallest p is then 2/10,000."""
LEVEL: Final = 0.05
"""Below which an adjusted p is called a difference."""
FEWEST_PAIRS: Final = 6
"""For a paired test: with five, no result can have p < 0.05, two-sided (2 / 2⁵ = 0.0625)."""

_SEED: Final = 20_211_107
"""Of the flips, so that a report made again is the same."""
_BATCH: Final = 4_000_000
"""Numbers in memory at a time while flipping."""
_SAME: Final = 1e-12
"""Difference of two CCCs below which they are equal but for rounding."""


@dataclass(frozen=True)
class PairedTest:
    """Two contenders on one target, person by person: CCC of b minus CCC of a."""

    a: Contender
    b: Contender
    target: str
    pairs: int
    """Persons of whom both have a CCC."""
    difference: float
    """Mean over them; above zero: b is better."""
    gain: int
    """Persons for whom b is better."""
    lose: int
    rank_biserial: float
    """Effect size, −1 to 1 (Kerby, 2014): rank sum in favour of b minus that in favour of a, as a share of
    both."""
    p_permutation: float
    """Of the mean difference, by flipping signs."""
    p_wilcoxon: float
    """Signed-rank test."""
    adjusted_permutation: float
    """By Holm (1979) over all pairs on this target."""
    adjusted_wilcoxon: float
    why_undefined: str | None
    """Why there are no p values, where there are none."""


def paired_tests(everyone: Sequence[Contender]) -> tuple[PairedTest, ...]:
    """Every pair of contenders on each target, over the persons that both were tested on."""
    persons = sorted({person for one in everyone for person in one.persons}, key=natural)
    place = {person: index for index, person in enumerate(persons)}
    table = np.full((len(everyone), len(persons), len(TARGETS)), np.nan)
    for row, one in enumerate(everyone):
        table[row, [place[person] for person in one.persons]] = one.person_ccc
    pairs = list(combinations(range(len(everyone)), 2))
    return tuple(
        test
        for column, target in enumerate(TARGETS)
        for test in _tests_on(everyone, pairs, table[:, :, column], target)
    )


def _tests_on(
    everyone: Sequence[Contender], pairs: Sequence[tuple[int, int]], table: Array, target: str
) -> list[PairedTest]:
    if not pairs:
        return []
    first, second = np.array(pairs).T
    differences = table[second] - table[first]
    differences[np.abs(differences) <= _SAME] = 0.0
    permutation = sign_flip_p(differences)
    wilcoxon = np.array([wilcoxon_p(row[np.isfinite(row)]) for row in differences])
    adjusted = holm(permutation), holm(wilcoxon)
    tests = []
    for index, (a, b) in enumerate(pairs):
        known = differences[index][np.isfinite(differences[index])]
        few = len(known) < FEWEST_PAIRS
        tests.append(
            PairedTest(
                a=everyone[a],
                b=everyone[b],
                target=target,
                pairs=len(known),
                difference=float(known.mean()) if known.size else np.nan,
                gain=int((known > 0).sum()),
                lose=int((known < 0).sum()),
                rank_biserial=rank_biserial(known),
                p_permutation=float(permutation[index]),
                p_wilcoxon=float(wilcoxon[index]),
                adjusted_permutation=float(adjusted[0][index]),
                adjusted_wilcoxon=float(adjusted[1][index]),
                why_undefined=f"{len(known)} persons; a test needs {FEWEST_PAIRS}" if few else None,
            )
        )
    return tests


def sign_flip_p(differences: Array) -> Array:
    """Two-sided p of each row's mean difference under flips of its signs; exact for up to 13 persons.

    Parameters
    ----------
    differences : (rows, persons); NaN where a person has no pair. Counted as zero it changes neither a sum
        nor the share of flips that reach it, so that all rows can be flipped together.

    Returns
    -------
    (rows,) NaN where fewer than :data:`FEWEST_PAIRS` are known.
    """
    from scipy import stats

    enough = np.isfinite(differences).sum(axis=1) >= FEWEST_PAIRS
    p = np.full(len(differences), np.nan)
    if enough.any():
        known = np.nan_to_num(differences[enough])
        p[enough] = stats.permutation_test(
            (known,),
            lambda values, axis: values.sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=FLIPS,
            batch=max(1, _BATCH // known.size),
            axis=-1,
            rng=np.random.default_rng(_SEED),
        ).pvalue
    return p


def wilcoxon_p(differences: Array) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where nobody differs, NaN for too few persons."""
    from scipy import stats

    if len(differences) < FEWEST_PAIRS:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def rank_biserial(differences: Array) -> float:
    """Matched-pairs rank-biserial correlation (Kerby, 2014); 0 where nobody differs, NaN for nobody."""
    from scipy import stats

    if not len(differences):
        return float("nan")
    changed = differences[differences != 0]
    if not len(changed):
        return 0.0
    ranks = stats.rankdata(np.abs(changed))
    return float((ranks * np.sign(changed)).sum() / ranks.sum())


def holm(p: Array) -> Array:
    """Adjusted p values (Holm, 1979): the error over the whole family stays below the level.

    Parameters
    ----------
    p : (tests,) NaN is no test, and not in the family.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def surely_best(summaries: Sequence[Summary], tests: Sequence[PairedTest], target: str) -> Contender | None:
    """The contender with the highest mean CCC over recordings, where it surely beats the next one.

    That is: where the permutation test between the two, over the persons that both were tested on and
    adjusted over all pairs, is below :data:`LEVEL` in its favour. None where it is not, or there is no next.
    """
    ranked = sorted(
        (one for one in summaries if np.isfinite(one.estimates["mean_over_recordings", target].mean)),
        key=lambda one: one.estimates["mean_over_recordings", target].mean,
        reverse=True,
    )
    if len(ranked) < 2:
        return None
    best, next_ = ranked[0].contender, ranked[1].contender
    for test in tests:
        if test.target == target and {id(test.a), id(test.b)} == {id(best), id(next_)}:
            in_favour = test.difference > 0 if test.b is best else test.difference < 0
            return best if in_favour and test.adjusted_permutation < LEVEL else None
    return None
