"""Means, intervals and tests against SciPy called plainly, and against counting by hand."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mien_common.ccc import ccc
from mien_common.schema import TARGETS
from mien_lab.experiments.outcome import Job, Outcome, Scored
from mien_lab.experiments.paired_tests import (
    holm,
    paired_tests,
    rank_biserial,
    sign_flip_p,
    surely_best,
    wilcoxon_p,
)
from mien_lab.experiments.scores import (
    CccRule,
    contenders,
    groups_of_recordings,
    mean_ccc,
    score_run,
    score_runs,
)
from mien_lab.experiments.statistics import RESAMPLES, Summary, bootstrap_interval, expanded, summarise

from .made_outcomes import made_config, made_outcomes

Array = NDArray[np.float64]


def _summaries(outcomes: Sequence[Outcome]) -> tuple[Summary, ...]:
    runs = score_runs(made_config(), outcomes)
    return summarise(contenders(runs), groups_of_recordings(runs))


def _reference(outcomes: Sequence[Outcome], method: str) -> tuple[Array, Array]:
    """(seeds, persons, 2) CCC of each recording; (seeds, 2) of all frames together: plainly, by loops."""
    mine = [outcome for outcome in outcomes if outcome.job.method == method]
    seeds = sorted({outcome.job.seed for outcome in mine})
    each = np.array(
        [
            [
                [ccc(one.prediction[one.counts, k], one.gold[one.counts, k]) for k in (0, 1)]
                for outcome in mine
                if outcome.job.seed == seed
                for one in outcome.scored
            ]
            for seed in seeds
        ]
    )
    together = []
    for seed in seeds:
        scored = [one for outcome in mine if outcome.job.seed == seed for one in outcome.scored]
        x = np.concatenate([one.prediction[one.counts] for one in scored])
        y = np.concatenate([one.gold[one.counts] for one in scored])
        together.append([ccc(x[:, k], y[:, k]) for k in (0, 1)])
    return each, np.array(together)


def test_mean_and_spread_are_over_seeds_of_the_ccc_over_all_test_recordings() -> None:
    outcomes = made_outcomes(made_config(), persons=7)
    for summary in _summaries(outcomes):
        each, together = _reference(outcomes, summary.contender.method)
        for column, target in enumerate(TARGETS):
            by_recording = summary.estimates["mean_over_recordings", target]
            pooled = summary.estimates["pooled", target]
            per_seed = each[:, :, column].mean(axis=1)
            assert by_recording.mean == pytest.approx(per_seed.mean(), abs=1e-12)
            assert by_recording.sd == pytest.approx(np.std(per_seed, ddof=1), abs=1e-12)
            assert pooled.mean == pytest.approx(together[:, column].mean(), abs=1e-9)
            assert pooled.sd == pytest.approx(np.std(together[:, column], ddof=1), abs=1e-9)
            assert by_recording.seeds == 3


def test_the_interval_is_scipys_over_persons_after_averaging_their_seeds() -> None:
    outcomes = made_outcomes(made_config(), persons=9)
    summary = _summaries(outcomes)[0]
    each, _ = _reference(outcomes, summary.contender.method)
    for column, target in enumerate(TARGETS):
        plain = stats.bootstrap(
            (each[:, :, column].mean(axis=0),),
            np.mean,
            n_resamples=RESAMPLES,
            method="BCa",
            confidence_level=expanded(0.95, 9),
            rng=np.random.default_rng(5),
        ).confidence_interval
        found = summary.estimates["mean_over_recordings", target].interval
        # Another stream of random numbers: equal up to what 9,999 resamples leave to chance.
        width = plain.high - plain.low
        assert found.low == pytest.approx(plain.low, abs=0.05 * width)
        assert found.high == pytest.approx(plain.high, abs=0.05 * width)


def test_the_pooled_interval_resamples_whole_persons() -> None:
    outcomes = made_outcomes(made_config(seeds=(1,)), persons=8, points=200)
    summary = _summaries(outcomes)[0]
    mine = [outcome.scored[0] for outcome in outcomes if outcome.job.method == summary.contender.method]
    random = np.random.default_rng(3)
    drawn = []
    for _ in range(4000):
        who = [mine[index] for index in random.integers(len(mine), size=len(mine))]
        x = np.concatenate([one.prediction[one.counts, 0] for one in who])
        y = np.concatenate([one.gold[one.counts, 0] for one in who])
        drawn.append(ccc(x, y))
    tail = (1 - expanded(0.95, len(mine))) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    found = summary.estimates["pooled", "valence"].interval
    # Percentiles by hand, corrected ones there: near each other, and far from an interval over frames.
    assert found.low == pytest.approx(low, abs=0.2 * (high - low))
    assert found.high == pytest.approx(high, abs=0.2 * (high - low))


@pytest.mark.parametrize("persons", [6, 9, 18])
def test_of_even_scores_the_interval_is_students(persons: int) -> None:
    scores = 0.5 + 0.1 * stats.norm.ppf((np.arange(persons) + 0.5) / persons)
    sums = np.stack([scores, np.ones(persons)], axis=-1)[:, None, :]
    found = bootstrap_interval(sums, lambda total: mean_ccc(total[..., 0], total[..., 1]))
    low, high = stats.t.interval(0.95, persons - 1, scores.mean(), stats.sem(scores))
    assert found.low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.high == pytest.approx(high, abs=0.06 * (high - low))


def test_the_same_runs_give_the_same_interval_again() -> None:
    outcomes = made_outcomes(made_config(), persons=6)
    first, again = _summaries(outcomes), _summaries(tuple(reversed(outcomes)))
    assert [one.estimates for one in first] == [one.estimates for one in again]


def test_constant_ratings_have_no_ccc_and_take_nothing_from_the_mean() -> None:
    outcomes = made_outcomes(made_config(), persons=7, constant=(2,))
    summary = _summaries(outcomes)[0]
    score = score_run(outcomes[2]).recordings[0].targets
    assert np.isnan(score[0].ccc)
    assert score[0].why_undefined == "the gold standard is constant"
    assert score[1].why_undefined is None
    assert summary.undefined == (1, 0)
    whole = _summaries([one for one in outcomes if one.job.fold != "without-P3"])[0]
    rule: CccRule = "mean_over_recordings"
    assert summary.estimates[rule, "valence"].mean == pytest.approx(whole.estimates[rule, "valence"].mean)
    assert summary.estimates[rule, "valence"].interval.low == pytest.approx(
        whole.estimates[rule, "valence"].interval.low
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("nothing counts", "0 points count"),
        ("not finite", "not a finite number"),
        ("said by the run", "a reason of its own"),
    ],
)
def test_an_undefined_ccc_says_why(change: str, why: str) -> None:
    scored = made_outcomes(made_config(), persons=1)[0].scored[0]
    prediction, counts = scored.prediction.copy(), scored.counts.copy()
    if change == "nothing counts":
        counts[:] = False
    if change == "not finite":
        prediction[0] = np.nan
    one = Scored(
        "r", "p", None, prediction, scored.gold, counts, why if change == "said by the run" else None
    )
    outcome = Outcome(Job("m", "f", 1, "x"), (one,), (), 0, {}, "", 0, 0.0, "cpu")
    for target in score_run(outcome).recordings[0].targets:
        assert np.isnan(target.ccc)
        assert why in str(target.why_undefined)


def test_a_constant_prediction_of_varying_ratings_is_worth_nothing_but_defined() -> None:
    gold = np.linspace(-1, 1, 50, dtype=np.float32)[:, None].repeat(2, axis=1)
    one = Scored("r", "p", None, np.full((50, 2), 0.3, np.float32), gold, np.ones(50, np.bool_))
    valence, _ = (
        score_run(Outcome(Job("m", "f", 1, "x"), (one,), (), 0, {}, "", 0, 0.0, "cpu")).recordings[0].targets
    )
    assert valence.ccc == pytest.approx(0, abs=1e-12)
    assert np.isnan(valence.pearson)
    assert valence.why_undefined is None


@pytest.mark.parametrize("persons", [1, 4])
def test_too_few_persons_have_a_mean_but_neither_interval_nor_test(persons: int) -> None:
    outcomes = made_outcomes(made_config(seeds=(1,)), persons=persons)
    summaries = _summaries(outcomes)
    found = summaries[0].estimates["mean_over_recordings", "arousal"]
    assert np.isfinite(found.mean)
    assert np.isnan(found.sd)
    assert np.isnan(found.interval.low)
    assert "needs 5" in str(found.interval.why_undefined)
    test = paired_tests([one.contender for one in summaries])[0]
    assert np.isnan(test.p_permutation)
    assert np.isnan(test.adjusted_wilcoxon)
    assert np.isfinite(test.difference)
    assert test.why_undefined == f"{persons} persons; a test needs 6"
    assert surely_best(summaries, [test], "valence") is None


def test_worst_site_is_a_site_where_people_have_one_and_a_person_where_not() -> None:
    outcomes = made_outcomes(made_config(), persons=6)
    summary = _summaries(outcomes)[0]
    each, _ = _reference(outcomes, summary.contender.method)
    means = each.mean(axis=0)
    assert summary.worst["valence"].ccc == pytest.approx(means[:, 0].min())
    assert summary.worst["valence"].group == f"P{means[:, 0].argmin() + 1}"
    sited = []
    for outcome in outcomes:
        one = outcome.scored[0]
        # Only local-only names sites, and the others are held against the same ones.
        site = None if outcome.job.method == "federated" else f"site-{(int(one.participant[1:]) + 1) // 2}"
        scored = Scored(one.recording, one.participant, site, one.prediction, one.gold, one.counts)
        sited.append(Outcome(outcome.job, (scored,), (), 0, {}, "", 0, 0.0, "cpu"))
    summary = _summaries(sited)[0]
    assert summary.contender.method == "federated"
    by_site = means.reshape(3, 2, 2).mean(axis=1)
    assert summary.worst["valence"].ccc == pytest.approx(by_site[:, 0].min())
    assert summary.worst["valence"].group == f"site-{by_site[:, 0].argmin() + 1}"


def test_sign_flips_agree_with_all_flips_counted_by_hand() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(0.3, 1, (5, 8))
    rows[3, 2:5] = rows[3, 5]  # ties
    rows[4, 7] = np.nan
    for row, p in zip(rows, sign_flip_p(rows), strict=True):
        known = row[np.isfinite(row)]
        sums = [abs(np.dot(signs, known)) for signs in itertools.product([1, -1], repeat=len(known))]
        assert p == pytest.approx(np.mean(np.array(sums) >= abs(known.sum()) - 1e-12))


def test_many_persons_are_flipped_at_random_and_near_the_t_test() -> None:
    rows = np.random.default_rng(2).normal(0.2, 1, (4, 60))
    expected = stats.ttest_1samp(rows, 0, axis=1).pvalue
    np.testing.assert_allclose(sign_flip_p(rows), expected, atol=0.02)


def test_wilcoxon_agrees_with_all_signed_ranks_counted_by_hand() -> None:
    differences = np.array([0.5, 1.1, -0.2, 2.0, 0.9, 3.1, -0.4])
    ranks = stats.rankdata(np.abs(differences))
    plus = ranks[differences > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=7)])
    expected = 2 * min((sums >= plus).mean(), (sums <= plus).mean())
    assert wilcoxon_p(differences) == pytest.approx(expected)
    assert wilcoxon_p(np.zeros(8)) == 1.0
    # Ranks 2 and 1 against, 3 to 7 in favour.
    assert rank_biserial(differences) == pytest.approx((25 - 3) / 28)
    assert rank_biserial(np.zeros(8)) == 0.0


def test_holm_as_its_paper_steps_down() -> None:
    np.testing.assert_allclose(
        holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005])), [0.03, 0.06, np.nan, 0.06, 0.02]
    )
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1.0, 1.0])


def test_pairs_are_of_persons_both_were_tested_on_and_tell_who_gains() -> None:
    config = made_config(methods=("federated", "centralised"), seeds=(1, 2))
    outcomes = [
        one
        for one in made_outcomes(config, persons=9, noise={"federated": 2.0, "centralised": 0.2})
        if not (one.job.method == "federated" and one.job.fold == "without-P4")
    ]
    each_a, _ = _reference([one for one in outcomes if one.job.method == "federated"], "federated")
    each_b, _ = _reference(
        [one for one in outcomes if one.job.method == "centralised" and one.job.fold != "without-P4"],
        "centralised",
    )
    expected = (each_b - each_a).mean(axis=0)[:, 1]
    summaries = _summaries(outcomes)
    tests = paired_tests([one.contender for one in summaries])
    test = next(one for one in tests if one.target == "arousal")
    assert (test.a.method, test.b.method, test.pairs) == ("federated", "centralised", 8)
    assert test.difference == pytest.approx(expected.mean())
    assert (test.gain, test.lose) == ((expected > 0).sum(), (expected < 0).sum())
    assert test.p_wilcoxon == pytest.approx(stats.wilcoxon(expected).pvalue)
    best = surely_best(summaries, tests, "arousal")
    assert best is not None
    assert best.method == "centralised"


def test_the_best_is_not_sure_where_the_next_is_as_good() -> None:
    config = made_config(methods=("federated", "centralised", "fine-tuned"))
    outcomes = made_outcomes(
        config, persons=8, noise={"federated": 4.0, "centralised": 0.5, "fine-tuned": 0.5}
    )
    summaries = _summaries(outcomes)
    tests = paired_tests([one.contender for one in summaries])
    assert len(tests) == 2 * 3
    assert surely_best(summaries, tests, "valence") is None
