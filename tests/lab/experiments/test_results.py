"""Outcomes on disk: the same again, whole or absent, and damage named."""

import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien_common.errors import InputError
from mien_lab.experiments.outcome import Job, Outcome, RoundPoint, Scored
from mien_lab.experiments.results import load_outcome, save_outcome


def _outcome(seed: int = 1) -> Outcome:
    random = np.random.default_rng(seed)
    scored = tuple(
        Scored(
            recording=f"P{who}/1",
            participant=f"P{who}",
            site=None if who else "site-a",
            prediction=random.normal(size=(50 + who, 2)).astype(np.float32),
            gold=random.normal(size=(50 + who, 2)).astype(np.float32),
            counts=random.random(50 + who) > 0.2,
            why_undefined="constant ratings" if who == 2 else None,
        )
        for who in range(3)
    )
    return Outcome(
        job=Job("GRU, 2 layers", "federated", seed, "fold 1"),
        scored=scored,
        rounds=(RoundPoint(1, 0.9, (0.1, math.nan), 1.5), RoundPoint(2, math.inf, (0.1 + 0.2, 0.3), 1.5)),
        chosen_round=1,
        lag_s={"all": (2.4, 3.0)},
        fitted="0" * 64,
        frames=12_345,
        seconds=3.25,
        device="cpu",
        rule="fedavg",
        points_hz=25.0,
    )


def test_an_outcome_comes_back_as_it_was(tmp_path: Path) -> None:
    outcome = _outcome()
    save_outcome(tmp_path / "run", outcome)
    again = load_outcome(tmp_path / "run")
    for one, other in zip(outcome.scored, again.scored, strict=True):
        for part in ("prediction", "gold", "counts"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
            assert getattr(one, part).dtype == getattr(other, part).dtype
        assert (one.recording, one.participant, one.site, one.why_undefined) == (
            other.recording,
            other.participant,
            other.site,
            other.why_undefined,
        )
    # repr: NaN is not equal to itself.
    assert repr(dataclasses.replace(again, scored=())) == repr(dataclasses.replace(outcome, scored=()))


def test_a_run_made_again_replaces_the_old_one_and_leaves_nothing_beside(tmp_path: Path) -> None:
    save_outcome(tmp_path / "run", _outcome(1))
    save_outcome(tmp_path / "run", _outcome(2))
    assert load_outcome(tmp_path / "run").job.seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["outcome.json", "traces.npz"]


@pytest.mark.parametrize("name", ["outcome.json", "traces.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
def test_damage_is_named_with_its_file(tmp_path: Path, name: str, damage: str) -> None:
    save_outcome(tmp_path / "run", _outcome())
    file = tmp_path / "run" / name
    content = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "garbage":
            file.write_bytes(b"\x00\xff" * 100)
    with pytest.raises(InputError, match=str(file)):
        load_outcome(tmp_path / "run")


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"prediction_0": np.array([object()])}, "pickle"),
        ({"prediction_0": np.zeros((4, 2), np.float64)}, "float64"),
        ({"prediction_0": np.zeros((5, 2), np.float32)}, "do not fit"),
        ({"prediction_0": None}, "no prediction_0"),
    ],
)
def test_arrays_of_another_form_are_refused_and_never_unpickled(
    tmp_path: Path, arrays: dict[str, NDArray[Any] | None], why: str
) -> None:
    save_outcome(tmp_path / "run", _outcome())
    whole: dict[str, NDArray[Any] | None] = {
        "prediction_0": np.zeros((4, 2), np.float32),
        "gold_0": np.zeros((4, 2), np.float32),
        "counts_0": np.ones(4, bool),
    }
    content = io.BytesIO()
    kept: dict[str, Any] = {name: part for name, part in (whole | arrays).items() if part is not None}
    np.savez(content, **kept)
    document = json.loads((tmp_path / "run" / "outcome.json").read_text())
    document["scored"] = document["scored"][:1]
    document["traces_sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
    (tmp_path / "run" / "outcome.json").write_text(json.dumps(document))
    (tmp_path / "run" / "traces.npz").write_bytes(content.getvalue())
    with pytest.raises(InputError, match=why):
        load_outcome(tmp_path / "run")


def test_a_small_file_that_would_unpack_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = np.zeros((50_000, 2), np.float32)
    still = dataclasses.replace(
        _outcome().scored[0], prediction=flat, gold=flat, counts=np.ones(len(flat), np.bool_)
    )
    save_outcome(tmp_path / "run", dataclasses.replace(_outcome(), scored=(still,)))
    assert (tmp_path / "run" / "traces.npz").stat().st_size < 100_000
    monkeypatch.setattr("mien_lab.experiments.results.TRACES_LIMIT_BYTES", 100_000)
    with pytest.raises(InputError, match=r"traces\.npz is damaged: its arrays would take 8\d{5} bytes"):
        load_outcome(tmp_path / "run")
