"""The synthetic set holds what it says was planted."""

from dataclasses import replace

import numpy as np
import pytest

from mien_common.schema import AU_CHANNELS, AU_V1
from mien_lab.corpora.synthetic import (
    MEAN_LAG_S,
    Person,
    make_person,
    make_recording,
    make_synthetic,
    planted,
)
from mien_lab.corpora.synthetic_face import head_rotations, intensities, speed_of
from mien_lab.corpora.synthetic_map import TERMS, AffectMap, leaky

SEED = 3


def test_the_same_seed_makes_the_same_numbers_and_another_seed_others() -> None:
    first, again, other = make_synthetic(SEED, 3), make_synthetic(SEED, 3), make_synthetic(SEED + 1, 3)
    for one, two in zip(first.recordings, again.recordings, strict=True):
        np.testing.assert_array_equal(one.features, two.features)
        np.testing.assert_array_equal(one.ratings, two.ratings)
    assert not np.array_equal(first.recordings[0].ratings[0, :100], other.recordings[0].ratings[0, :100])


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    """So that a site's data can be made when its turn comes."""
    small, large = make_synthetic(SEED, 2), make_synthetic(SEED, 5)
    assert large.participants == ("P01", "P02", "P03", "P04", "P05")
    for one, two in zip(small.recordings, large.recordings, strict=False):
        assert one.name == two.name
        np.testing.assert_array_equal(one.features, two.features)


def test_features_are_those_of_the_schema() -> None:
    """Deltas are differences to the frame before; both are unknown where the face is out of sight."""
    corpus = make_synthetic(SEED, 4)
    assert corpus.channels == AU_V1.channels
    static = len(AU_V1.channels) // 2
    missing = 0
    for recording in corpus.recordings:
        frames = len(recording.features)
        assert recording.features.shape == (frames, 40)
        assert recording.ratings.shape == (3, frames, 2)
        values, deltas = recording.features[:, :static], recording.features[:, static:]
        np.testing.assert_allclose(deltas[1:], values[1:] - values[:-1], atol=1e-5)
        assert np.isnan(deltas[0]).all()
        np.testing.assert_array_equal(recording.valid, np.isfinite(recording.features).all(axis=1))
        missing += int(np.isnan(values).all(axis=1).sum())
        units = values[recording.valid][:, : len(AU_CHANNELS)]
        assert units.min() >= 0
        assert units.max() <= 5
        assert np.abs(recording.ratings).max() <= 1
    assert missing > 100


def test_an_unchanging_face_settles_at_the_documented_equation() -> None:
    """The equations of docs/synthetic.md, written out again."""
    shown = dict.fromkeys(AU_CHANNELS, 0.0) | {"AU12_r": 3.0, "AU06_r": 2.0, "AU04_r": 1.0, "AU05_r": 4.0}
    frames = 500
    face = np.tile(np.array(list(shown.values())), (frames, 1))
    affect = AffectMap(np.ones(len(TERMS))).affect(face, np.full(frames, 0.2))
    valence = 1.7 * 3 / 5 + 1.0 * (2 / 4) * (3 / 5) - 1.3 * 1 / 3
    arousal = 1.3 * 4 / 6 + 1.4 * 0.2 / 0.5 - 0.7
    np.testing.assert_allclose(affect, np.tile(np.tanh([valence, arousal]), (frames, 1)), atol=1e-12)


@pytest.mark.parametrize("tau_s", [0.8, 1.2])
def test_affect_follows_a_step_with_its_time_constant(tau_s: float) -> None:
    """A first-order lag's step response, 1 − exp(−t / τ)."""
    drive = np.concatenate([np.zeros(25), np.ones(250)])
    times_s = np.arange(1, 251) / AU_V1.rate_hz
    np.testing.assert_allclose(leaky(drive, tau_s)[25:], 1 - np.exp(-times_s / tau_s), atol=1e-12)


def test_ratings_follow_the_planted_affect_at_the_planted_lag() -> None:
    """Read back from the features alone: gain and rest undone, the map applied, ratings slid over it."""
    for number in range(4):
        person = make_person(SEED, number)
        recording = make_recording(person, SEED, number, 0, seconds=240.0)
        affect = _affect_seen(person, recording.features)
        gold = recording.ratings.mean(axis=0)
        lags = np.arange(0, 150)
        agreement = [
            np.corrcoef(affect[250 : len(affect) - lag, 0], gold[250 + lag :, 0])[0, 1] for lag in lags
        ]
        found_s = lags[int(np.argmax(agreement))] / AU_V1.rate_hz
        assert max(agreement) > 0.85
        assert found_s == pytest.approx(person.lag_s, abs=0.2)


def test_raters_differ_about_the_person() -> None:
    """Their own lags average to none; without noise, a rater is the person's affect scaled and moved."""
    person = make_person(SEED, 0)
    assert sum(rater.lag_s for rater in person.raters) == pytest.approx(0)
    quiet = replace(person, raters=tuple(replace(rater, lag_s=0.0, noise=0.0) for rater in person.raters))
    first, second, _ = make_recording(quiet, SEED, 0, 0).ratings.astype(float)
    one, two = quiet.raters[:2]
    np.testing.assert_allclose(
        (first - one.bias) / one.scale, (second - two.bias) / two.scale, atol=1e-5, rtol=0
    )


def test_people_are_not_identically_distributed() -> None:
    people = planted(7, 20).people
    assert np.mean([person.lag_s for person in people]) == pytest.approx(MEAN_LAG_S, abs=0.1)
    assert np.ptp([person.lag_s for person in people]) > 0.5
    assert min(person.expressiveness for person in people) < 0.5 < max(p.expressiveness for p in people)
    recordings = make_synthetic(7, 20).recordings
    means = [
        np.mean(
            np.concatenate([one.ratings[0, :, 0] for one in recordings if one.participant == person.name])
        )
        for person in people
    ]
    assert np.ptp(means) > 0.5, "some are mostly pleasant, some mostly not"
    assert len({len(recording.features) for recording in recordings}) == 20


def test_faces_keep_to_their_ranges() -> None:
    generator = np.random.default_rng(0)
    rates = make_person(SEED, 0).rates_per_minute
    shown = intensities(2000, rates, 3.0, generator)
    assert shown.min() == 0
    assert shown.max() == 5
    speed = speed_of(head_rotations(2000, 1.0, generator))
    assert 0.0 < np.median(speed) < 1.0


def _affect_seen(person: Person, features: np.ndarray) -> np.ndarray:
    static = features[:, : len(AU_V1.channels) // 2].astype(float)
    for column in range(static.shape[1]):  # bridged where the face is out of sight
        known = np.isfinite(static[:, column])
        frames = np.arange(len(static))
        static[:, column] = np.interp(frames, frames[known], static[known, column])
    units = len(AU_CHANNELS)
    true = np.clip((static[:, :units] - person.rest) / person.gain, 0, 5)
    return person.affect_map.affect(true, speed_of(static[:, units:] - person.pose))
