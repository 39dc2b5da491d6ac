"""The worst site: whose pooled CCC is lowest, by target, among those that have one."""

import numpy as np
import pytest

from mien_common.ccc import ccc, moments
from mien_common.messages import EvaluateReport, RecordingMoments
from mien_server.runs.evaluation import by_site, worst_site

FRAMES = 200


def report(
    site: str, noise: tuple[float, float], seed: int, recordings: int = 2
) -> tuple[EvaluateReport, list[float]]:
    """A site whose predictions miss by so much; and its pooled CCC, by the formula over all frames."""
    generator = np.random.default_rng(seed)
    target = generator.uniform(-0.8, 0.8, (recordings, FRAMES, 2))
    found = np.clip(target + generator.standard_normal(target.shape) * noise, -1, 1)
    every = np.ones(FRAMES, bool)
    sums = tuple(
        RecordingMoments(
            valence=moments(found[number, :, 0], target[number, :, 0], every),
            arousal=moments(found[number, :, 1], target[number, :, 1], every),
        )
        for number in range(recordings)
    )
    pooled = [ccc(found[..., column].ravel(), target[..., column].ravel()) for column in (0, 1)]
    return REPORT.model_copy(update={"site": site, "recordings": sums}), pooled


REPORT = EvaluateReport.model_construct(site="lab-1", round=1, recordings=())


def test_each_target_has_its_own() -> None:
    first, _ = report("lab-1", (0.1, 2.0), 1)
    second, _ = report("lab-2", (1.0, 0.1), 2)
    third, _ = report("lab-3", (0.5, 0.5), 3)
    found = worst_site(by_site([first, second, third]))
    assert {target: entry.site for target, entry in found.items()} == {"valence": "lab-2", "arousal": "lab-1"}
    assert found["valence"].pooled == pytest.approx(report("lab-2", (1.0, 0.1), 2)[1][0])
    assert found["arousal"].pooled == pytest.approx(report("lab-1", (0.1, 2.0), 1)[1][1])


def test_who_has_none_is_not_the_worst() -> None:
    silent = REPORT.model_copy(update={"site": "lab-0"})
    known, _ = report("lab-1", (0.1, 0.1), 1)
    assert {entry.site for entry in worst_site(by_site([silent, known])).values()} == {"lab-1"}
    assert worst_site(by_site([silent])) == {}
    assert worst_site({}) == {}
