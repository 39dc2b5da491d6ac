"""Found again or not: on traces whose answer is known, and the interval by another hand's formula."""

import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from scipy.stats import binomtest
from typer.testing import CliRunner

from mien_client.observations import FaceState, Observation
from mien_common.errors import InputError
from mien_lab import cli, reidentification
from mien_lab.reidentification import FORMS, HitRate, Trace, between_clips, read_traces, within_clips

RAW, STORED, CENTRED = FORMS.values()


def traces(apart: float, people: int = 6, clips: int = 3, frames: int = 80) -> list[Trace]:
    """People whose faces rest ``apart`` from each other, in standard deviations of what a face does."""
    random = np.random.default_rng(3)
    found = []
    for person in range(people):
        rest = random.normal(0, apart, 12)
        for _ in range(clips):
            raw = rest + random.normal(0, 1, (frames, 12))
            found.append(Trace(f"p{person}", raw, np.abs(raw)))
    return found


@pytest.mark.parametrize("attack", [within_clips, between_clips])
def test_people_who_differ_are_found_by_what_differs(attack: object) -> None:
    made = traces(apart=2.0)
    assert attack(made, RAW).rate == 1.0  # type: ignore[operator]
    assert attack(made, CENTRED).rate < 0.5, "nothing but their rest told them apart"  # type: ignore[operator]


def test_people_who_do_not_differ_are_found_as_often_as_by_drawing() -> None:
    rates = [between_clips(traces(apart=0.0, people=people, clips=2), RAW) for people in range(20, 60, 2)]
    hits, tries = sum(rate.hits for rate in rates), sum(rate.tries for rate in rates)
    chance = sum(rate.chance * rate.tries for rate in rates) / tries
    assert binomtest(hits, tries, chance).pvalue > 0.01


def test_chance_is_what_drawing_gives() -> None:
    made = traces(apart=1.0, people=2, clips=1) + traces(apart=1.0, people=1, clips=3)
    people = [trace.person for trace in made]
    random = np.random.default_rng(0)
    drawn = [
        person == random.choice(np.delete(people, own))
        for own, person in enumerate(people)
        if people.count(person) > 1
        for _ in range(4000)
    ]
    assert between_clips(made, RAW).chance == pytest.approx(np.mean(drawn), abs=0.02)
    assert within_clips(made, RAW).chance == pytest.approx(
        np.mean([people.count(person) / len(people) for person in people])
    )


def test_who_has_one_clip_only_is_not_looked_for_among_others() -> None:
    assert between_clips(traces(apart=1.0, clips=1), RAW).tries == 0
    assert math.isnan(between_clips(traces(apart=1.0, clips=1), RAW).rate)


@pytest.mark.parametrize(("hits", "tries"), [(0, 20), (2, 20), (18, 20), (20, 20), (7, 9)])
def test_the_interval_is_wilsons(hits: int, tries: int) -> None:
    theirs = binomtest(hits, tries).proportion_ci(0.95, method="wilson")
    assert HitRate(hits, tries, 0.1).interval == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def observed(path: Path) -> list[Observation]:
    """A face at rest that the clip's name decides, with a little noise; ``short`` ones are too short."""
    random = np.random.default_rng(sum(path.name.encode()))
    rest = sum(path.parent.name.encode()) % 7 / 4
    count = 5 if "short" in path.name else 60
    return [
        Observation(number / 25, FaceState.SEEN, (rest + random.normal(0, 0.1, 20)).astype(np.float32))
        for number in range(count)
    ]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _no_face_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reidentification, "seen_in", observed)

    @staticmethod
    def run(clips: Path) -> Result:
        return CliRunner().invoke(cli.app, ["reidentify", str(clips)])

    def test_prints_hits_intervals_and_chance(self, tmp_path: Path) -> None:
        for person in ("ann", "bob", "eve"):
            for clip in ("one.mkv", "two.mkv", "short.mkv"):
                (tmp_path / person).mkdir(exist_ok=True)
                (tmp_path / person / clip).touch()
        lines = self.run(tmp_path).stdout.splitlines()
        assert lines[0] == "3 people, 6 clips, 360 frames"
        assert lines[3].split() == ["as", "measured", "same", "clip", "6", "of", "6", "0.61–1.00", "0.33"]
        assert lines[4].split()[-4:] == ["of", "6", "0.61–1.00", "0.20"]

    def test_one_person_cannot_be_told_from_others(self, tmp_path: Path) -> None:
        (tmp_path / "ann").mkdir()
        (tmp_path / "ann" / "one.mkv").touch()
        error = self.run(tmp_path).exception
        assert isinstance(error, InputError)
        assert "fewer than two people" in str(error)


def test_what_is_stored_is_above_the_learnt_neutral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reidentification, "seen_in", observed)
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "one.mkv").touch()
    first = read_traces(tmp_path, lambda _: None)[0]
    assert first.raw.shape == first.stored.shape == (60, 16), "the experimental one is in no model"
    assert first.stored.min() >= 0
    assert (first.stored <= np.maximum(first.raw, 0) + 1e-6).all()
