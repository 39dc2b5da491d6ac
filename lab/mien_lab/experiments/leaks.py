"""Whether anything that is fitted has touched a test recording: fit again with rubbish in its place.

Enters: a corpus, a fold and the whole of what a run fits, as fingerprints. Leaves: nothing, or a
:class:`LeakError` that names what differs. An honest run fits the same numbers, to the last bit, whatever the
test recordings hold.

A fingerprint should be of the evidence for a choice, not of the choice alone: of the CCC at every lag and in
every round. A leak may leave this corpus's choice where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from mien_common.errors import MienError
from mien_lab.corpora.corpus import Corpus, RatedRecording

from .splits import Fold

Fingerprints: TypeAlias = str | Mapping[str, str]
"""What was fitted: one fingerprint of all, or one each of scalers, lags, chosen round, and so on."""


class LeakError(MienError):
    """Something was fitted to test recordings, or a fit that cannot be repeated hides whether it was."""


def find_leaks(
    corpus: Corpus, fold: Fold, fit: Callable[[Corpus, Fold], Fingerprints], *, seed: int = 0
) -> None:
    """Check that nothing ``fit`` fits depends on the fold's test recordings.

    Parameters
    ----------
    fit : does all that a run does before it predicts, and gives the fingerprints of what it fitted. It is
        called two times, and a third time where they differ.
    seed : of the rubbish.

    Raises
    ------
    LeakError
        The fingerprints differ. Its message names which, and whether the fit repeats itself at all.
    """
    honest = _named(fit(corpus, fold))
    differing = _differing(honest, _named(fit(spoilt(corpus, fold, seed), fold)))
    if not differing:
        return
    unsteady = _differing(honest, _named(fit(corpus, fold)))
    leaking = [name for name in differing if name not in unsteady]
    if leaking:
        raise LeakError(
            f"fold {fold.name}: {_listed(leaking)} changed when the test recordings ({_listed(fold.test)}) "
            "were replaced by rubbish: a leak. Fit to training recordings only."
        )
    raise LeakError(
        f"fold {fold.name}: {_listed(differing)} came out differently from the same data, so that a leak "
        "could not be told from chance. Check on one CPU thread, or on a device that repeats itself."
    )


def spoilt(corpus: Corpus, fold: Fold, seed: int = 0) -> Corpus:
    """``corpus`` with rubbish in the place of the test recordings' features, faces and ratings.

    Shapes, names and people stay: those are what a fold is made of.
    """
    made = [
        _rubbish(recording, np.random.default_rng((seed, index)))
        if recording.name in fold.test
        else recording
        for index, recording in enumerate(corpus.recordings)
    ]
    return replace(corpus, recordings=tuple(made))


def _rubbish(recording: RatedRecording, generator: np.random.Generator) -> RatedRecording:
    frames = len(recording.valid)
    trace = generator.uniform(-1, 1, size=(frames, 2))
    # Raters who nearly agree, so that any rule makes a gold standard of them.
    raters = np.clip(trace + generator.normal(0, 0.05, size=(len(recording.raters), frames, 2)), -1, 1)
    valid = generator.random(frames) < 0.7
    valid[0] = True
    return replace(
        recording,
        features=generator.normal(1e3, 1e3, size=recording.features.shape).astype(np.float32),
        valid=valid,
        ratings=raters.astype(np.float32),
        gold=None if recording.gold is None else trace.astype(np.float32),
    )


def _named(fingerprints: Fingerprints) -> dict[str, str]:
    return {"what is fitted": fingerprints} if isinstance(fingerprints, str) else dict(fingerprints)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
