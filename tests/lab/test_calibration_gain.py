"""Calibration does what it is for: the same expression reads the same on different faces."""

from mien_lab.calibration_gain import between_puppets


def test_calibrated_faces_agree_better_than_raw_ones() -> None:
    """`mien lab calibration-gain` prints the figures of a longer film: docs/calibration.md."""
    found = between_puppets(rest_s=5.2, hold_s=0.8, rounds=1)
    assert found.raw > 0.08, "the resting faces hardly differ, so nothing is shown here"
    assert found.calibration < 0.6 * found.raw
    assert found.running < found.raw
