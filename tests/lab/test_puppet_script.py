"""What a puppet feels, shows and is rated: ranges, lag, and independence of the two dimensions."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from mien_lab.puppet_expressions import EXPRESSIONS
from mien_lab.puppet_script import (
    LONGEST_LAG_S,
    RATE_HZ,
    Rest,
    Traces,
    affect_script,
    movements,
    participant,
    ratings,
    rest_of,
    resting,
    shown,
)


def _script(seed: int, seconds: float = 60.0) -> Traces:
    return affect_script(np.random.default_rng(seed), seconds)


@pytest.mark.parametrize("seed", range(5))
def test_a_script_swings_in_both_dimensions_independently(seed: int) -> None:
    face = shown(_script(seed))
    assert face.shape == (1500, 2)
    assert np.abs(face).max() < 1.0
    assert np.all((face.std(0) > 0.3) & (face.std(0) < 0.55))
    assert abs(pearsonr(*face.T).statistic) < 0.35
    for trace in face.T:
        assert np.count_nonzero(np.diff(np.sign(trace - trace.mean()))) >= 4


def test_a_short_script_does_not_twitch() -> None:
    """A second of script moves as slowly as a minute of it."""
    fastest = np.abs(np.diff(_script(3, 60.0), axis=0)).max()
    assert np.abs(np.diff(shown(_script(3, 1.0)), axis=0)).max() < 2 * fastest


@pytest.mark.parametrize("index", [1, 2, 3])
def test_ratings_trail_the_face_by_the_declared_lag(index: int) -> None:
    who = participant(7, index)
    assert 1.0 <= who.lag_s <= LONGEST_LAG_S
    script = _script(index)
    given = ratings(who, np.random.default_rng(0), script)
    face = shown(script)
    assert given.shape == face.shape
    assert np.abs(given).max() <= 1.0
    for dimension in range(2):
        match = [
            np.corrcoef(face[: len(face) - lag, dimension], given[lag:, dimension])[0, 1]
            for lag in range(125)
        ]
        assert max(match) > 0.98
        assert abs(int(np.argmax(match)) / RATE_HZ - who.lag_s) <= 0.12


def test_ratings_carry_the_raters_bias() -> None:
    script = _script(1)
    who = participant(7, 1).model_copy(update={"rating_noise": 0.0, "rating_scale": (1.0, 1.0)})
    plain = who.model_copy(update={"rating_bias": (0.0, 0.0)})
    biased = who.model_copy(update={"rating_bias": (0.1, -0.1)})
    difference = ratings(biased, np.random.default_rng(0), script) - ratings(
        plain, np.random.default_rng(0), script
    )
    assert np.median(difference, axis=0) == pytest.approx([0.1, -0.1])


def test_participants_differ_and_do_not_depend_on_their_number() -> None:
    people = [participant(7, index) for index in range(1, 7)]
    assert people[2] == participant(7, 3)
    assert participant(8, 3) != people[2]
    assert len({who.lag_s for who in people}) > 3
    assert {who.framing.mirrored for who in people} == {True, False}
    assert all(abs(bias) <= 0.12 for who in people for bias in who.rating_bias)


def test_valence_smiles_and_arousal_opens_the_face() -> None:
    still = participant(7, 1).model_copy(update={"blinks_per_minute": 0.0})
    frames = 1500
    face = np.zeros((frames, 2))
    face[: frames // 3, 0], face[frames // 3 : 2 * frames // 3, 1] = 0.8, 0.8
    weights, head = movements(still, Rest(smile=0.0, lips_close=0.0), np.random.default_rng(1), face)
    assert weights.shape == (frames, len(EXPRESSIONS))
    assert head.shape == (frames, 5)
    pleased, roused, calm = (
        dict(zip(EXPRESSIONS, part.mean(0), strict=True)) for part in np.split(weights, 3)
    )
    assert pleased["smile"] > calm["smile"] + 0.4
    assert roused["brow_raise"] > calm["brow_raise"] + 0.4
    assert roused["jaw_drop"] > calm["jaw_drop"] + 0.3
    assert roused["lid_close"] < calm["lid_close"] - 0.15


def test_a_smiling_photograph_is_brought_to_rest() -> None:
    assert rest_of(lip_gap=0.10, corner_lift=0.10).smile < -0.8
    assert rest_of(lip_gap=0.10, corner_lift=0.10).lips_close > 0.6
    neutral = rest_of(lip_gap=0.0, corner_lift=0.0)
    assert neutral.smile == 0
    assert neutral.lips_close == 0


@pytest.mark.parametrize("index", range(1, 5))
def test_a_face_at_rest_keeps_its_own_resting_face_and_blinks(index: int) -> None:
    """What `mien agent calibrate` looks at; tests of the client say how calm it must be."""
    who, photo = participant(7, index), Rest(smile=-0.6, lips_close=0.6)
    expressions, head = resting(who, photo, np.random.default_rng(index), 750)
    assert expressions.shape == (750, len(EXPRESSIONS))
    own = photo.model_dump()
    for column, name in enumerate(EXPRESSIONS):
        expected = own.get(name, 0.0) + who.resting_face.get(name, 0.0)
        assert np.median(expressions[:, column]) == pytest.approx(expected, abs=0.02)
    lid = EXPRESSIONS.index("lid_close")
    assert expressions[:, lid].max() > 0.9, "half a minute without a blink"
    assert np.delete(expressions, lid, axis=1).std(axis=0).max() < 0.02
    assert np.abs(head).max() < 0.06
