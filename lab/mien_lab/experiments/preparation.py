"""A fold of a corpus, ready to train and to test on.

Enters: recordings as their release holds them, and a fold. Leaves: standardised features, ratings moved back
by the lag, masks. What is fitted here (scalers, lags) is fitted to training recordings;
:attr:`Prepared.fitted` is its fingerprint, which a test recording cannot change (see :mod:`.leaks`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien_client.rated_recording import Recording
from mien_client.scaling import Scaler
from mien_common.errors import RatingsError
from mien_common.schema import TARGETS
from mien_lab.corpora.corpus import Corpus, RatedRecording
from mien_lab.corpora.gold_standard import gold_standard

from .config import Config, Ratings
from .lag import LagCurve, lag_curve
from .scalers import fit_scalers, measured
from .splits import Fold

Kind = TypeVar("Kind", bound=np.generic)

ALL: Final = "all"
"""What the one lag of everybody is called among lags by site."""


@dataclass(frozen=True)
class SiteRecordings:
    """What a site trains on, and what it stops by."""

    train: tuple[Recording, ...]
    validation: tuple[Recording, ...]
    """The last parts of the same recordings; none where nothing is kept."""


@dataclass(frozen=True)
class TestRecording:
    """A recording nothing was fitted to, except, perhaps, its person's own mean and deviation per channel."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    name: str
    participant: str
    site: str | None
    inputs: NDArray[np.float32]
    """(frames, channels) standardised."""
    gold: NDArray[np.float32]
    """(frames, 2) on the ratings' own clock; 0 where unknown."""
    counts: NDArray[np.bool_]
    """(frames,) on the ratings' own clock: rated, and the face that the prediction is of was measured."""
    lag_s: tuple[float, float]
    """Valence's and arousal's."""
    valid: NDArray[np.bool_]
    """(frames,) on the face's clock: measured."""


@dataclass(frozen=True)
class Prepared:
    """A fold, ready."""

    sites: Mapping[str, SiteRecordings]
    test: tuple[TestRecording, ...]
    lag_s: Mapping[str, tuple[float, float]]
    """Valence's and arousal's by site, or under "all"."""
    fingerprints: Mapping[str, str]
    """SHA-256 of what was fitted, by what it is: ``scalers``, ``lags``."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know, such as ratings that never change."""

    @property
    def fitted(self) -> str:
        """SHA-256 over all of it."""
        return digest(f"{name}={value}".encode() for name, value in sorted(self.fingerprints.items()))


def prepare(corpus: Corpus, fold: Fold, config: Config) -> Prepared:
    """Everything that a run on ``fold`` needs, with nothing learnt from its test recordings.

    - Gold standard: ``corpus.gold_standard``, of each recording by itself.
    - Scaling: by each person's own training recordings or, for a person who has none, by the features (never
      the ratings) of their own test recordings. With ``scaling = "training"`` by those of everyone who
      trains. Only frames with a measured face tell.
    - Lag: as given, or chosen on the training recordings; a test recording of no site takes the sites'
      median.
    - The last ``split.validation_share`` of each training recording is kept as validation. The frames before
      it whose ratings were given during it belong to neither. A recording too short for both is trained on
      whole.

    Raises
    ------
    FeatureFileError
        A person has no frame with a measured face.
    RatingsError
        A site, or a test recording, has no frame that counts.
    """
    by_name = {recording.name: recording for recording in corpus.recordings}
    training = {site: [by_name[name] for name in fold.sites[site]] for site in sorted(fold.sites)}
    trained = [recording for recordings in training.values() for recording in recordings]
    tested = [by_name[name] for name in fold.test]
    gold = {
        recording.name: gold_standard(recording, config.corpus.gold_standard)
        for recording in [*trained, *tested]
    }
    fitted, of_strangers = fit_scalers(trained, tested, config)
    scalers = {**of_strangers, **fitted}
    curves = _lag_curves(training, gold, corpus.rate_hz, config.ratings)
    lags = {name: curve.best() for name, curve in curves.items()}

    def site_recordings(site: str) -> SiteRecordings:
        lag = lag_frames(_lag_of(site, lags), corpus.rate_hz)
        ready = [
            _recording(recording, gold[recording.name], scalers[recording.participant], lag)
            for recording in training[site]
        ]
        if not any(recording.counts.any() for recording in ready):
            raise RatingsError(
                f"{training[site][0].source}: no frame of site {site}'s recordings is both rated and has a "
                "measured face, once the raters' lag is taken off. Leave these recordings out."
            )
        parts = [_divided(recording, config.split.validation_share, max(lag)) for recording in ready]
        return SiteRecordings(
            tuple(train for train, _ in parts), tuple(kept for _, kept in parts if kept is not None)
        )

    def test_recording(recording: RatedRecording) -> TestRecording:
        site = fold.test_site[recording.name]
        return _tested(
            recording,
            gold[recording.name],
            scalers[recording.participant],
            site,
            _lag_of(site, lags),
            corpus.rate_hz,
        )

    return Prepared(
        sites={site: site_recordings(site) for site in training},
        test=tuple(test_recording(recording) for recording in tested),
        lag_s=lags,
        fingerprints={
            "scalers": digest(
                part
                for person, scaler in sorted(fitted.items())
                for part in (person.encode(), scaler.mean.tobytes(), scaler.deviation.tobytes())
            ),
            # The whole curve, and not its best alone, which might be the same after a leak.
            "lags": digest(
                part
                for site, curve in sorted(curves.items())
                for part in (site.encode(), repr(curve.lags_s).encode(), curve.ccc.tobytes())
            ),
        },
        notes=(*_constants([*trained, *tested], gold), *_undecided(curves)),
    )


def lag_frames(lag_s: tuple[float, float], rate_hz: float) -> tuple[int, int]:
    """Valence's and arousal's lag in whole frames, rounded as the agent rounds."""
    return round(lag_s[0] * rate_hz), round(lag_s[1] * rate_hz)


def delayed(trace: NDArray[Kind], frames: int) -> NDArray[Kind]:
    """``trace`` (frames, …), ``frames`` later; its first value stands where there is none yet."""
    return trace[np.maximum(np.arange(len(trace)) - frames, 0)]


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of ``parts``, each with its length, so that no two lists of parts look the same."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "big"))
        sha.update(part)
    return sha.hexdigest()


def _lag_curves(
    training: Mapping[str, Sequence[RatedRecording]],
    gold: Mapping[str, NDArray[np.float32]],
    rate_hz: float,
    ratings: Ratings,
) -> dict[str, LagCurve]:
    """What the lag is chosen by: a curve per site or one under "all"; a given lag is a curve of one point."""
    if ratings.lag_s != "grid":
        return {ALL: LagCurve((ratings.lag_s,), np.ones((1, 2)))}
    if ratings.lag_of == "all":
        groups = {ALL: [recording for recordings in training.values() for recording in recordings]}
    else:
        groups = {site: list(recordings) for site, recordings in training.items()}
    return {
        name: lag_curve(recordings, [gold[recording.name] for recording in recordings], rate_hz, ratings)
        for name, recordings in groups.items()
    }


def _lag_of(site: str | None, lags: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """A site's lag; of somebody whom no site has, the sites' median."""
    if ALL in lags:
        return lags[ALL]
    if site is not None:
        return lags[site]
    valence, arousal = np.median(list(lags.values()), axis=0)
    return float(valence), float(arousal)


def _recording(
    recording: RatedRecording, gold: NDArray[np.float32], scaler: Scaler, lag: tuple[int, int]
) -> Recording:
    """The recording, its gold standard moved back by the lag: what the face did, not when it was rated."""
    targets = np.full_like(gold, np.nan)
    for column, frames in enumerate(lag):
        targets[: max(len(gold) - frames, 0), column] = gold[frames:, column]
    counts = recording.valid & np.isfinite(targets).all(axis=1)
    return Recording(
        inputs=scaler.standardise(measured(recording)),
        targets=np.where(counts[:, None], targets, np.float32(0.0)),
        counts=counts,
    )


def _divided(recording: Recording, share: float, lag: int) -> tuple[Recording, Recording | None]:
    """The part to train on, and the last ``share``, without the ``lag`` frames between them.

    What a frame before that gap was rated was rated before the kept part began. The last ``lag`` frames have
    no rating left and belong to no part.
    """
    usable = max(len(recording.counts) - lag, 0)
    start = usable - round(share * usable)
    train, kept = _part(recording, 0, max(start - lag, 0)), _part(recording, start, len(recording.counts))
    if not train.counts.any() or not kept.counts.any():
        return recording, None
    return train, kept


def _part(recording: Recording, start: int, end: int) -> Recording:
    return Recording(recording.inputs[start:end], recording.targets[start:end], recording.counts[start:end])


def _tested(
    recording: RatedRecording,
    gold: NDArray[np.float32],
    scaler: Scaler,
    site: str | None,
    lag_s: tuple[float, float],
    rate_hz: float,
) -> TestRecording:
    rated = np.asarray(np.isfinite(gold).all(axis=1))
    faces = [delayed(recording.valid, frames) for frames in lag_frames(lag_s, rate_hz)]
    counts = rated & faces[0] & faces[1]
    if not counts.any():
        raise RatingsError(
            f"{recording.source}: no frame of {recording.name} is both rated and has a measured face. "
            "Leave this recording out."
        )
    return TestRecording(
        name=recording.name,
        participant=recording.participant,
        site=site,
        inputs=scaler.standardise(measured(recording)),
        gold=np.where(rated[:, None], gold, np.float32(0.0)),
        counts=counts,
        lag_s=lag_s,
        valid=recording.valid,
    )


def _constants(
    recordings: Sequence[RatedRecording], gold: Mapping[str, NDArray[np.float32]]
) -> Iterator[str]:
    for recording in recordings:
        for column, target in enumerate(TARGETS):
            trace = gold[recording.name][:, column]
            known = trace[np.isfinite(trace)]
            if known.size and np.ptp(known) == 0:
                yield f"{recording.name}: {target} never changes, so that its CCC is undefined"


def _undecided(curves: Mapping[str, LagCurve]) -> Iterator[str]:
    for name, curve in sorted(curves.items()):
        for target, undecided in zip(TARGETS, curve.undecided(), strict=True):
            if undecided:
                yield (
                    f"lag of {name}: no lag makes the face predict {target}, "
                    f"so that the smallest, {curve.lags_s[0]:g} s, stands"
                )
