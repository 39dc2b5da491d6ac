"""A tiny site whose data are made when its turn comes, and dropped afterwards.

Enters: the seed of a simulation and the site's number. Leaves: recordings ready for the network, of an
invented person of the synthetic set (:mod:`mien_lab.corpora.synthetic`); the same whenever they are wanted.
"""

from dataclasses import dataclass

import numpy as np

from mien_client.rated_recording import Recording, without_lag
from mien_client.scaling import Scaler, fit_scaler_to
from mien_lab.corpora.corpus import RatedRecording
from mien_lab.corpora.synthetic import MEAN_LAG_S, Person, make_person, make_recording

_TRAINING, _VALIDATION = 0, 1


@dataclass(frozen=True)
class SimulatedSite:
    """One site of a simulation."""

    seed: int
    number: int
    seconds: float
    """Of its recording, on average over sites; the raters' lag comes on top."""

    def training(self) -> Recording:
        """Its one recording to train on."""
        recording = self._rated(_TRAINING, self._person())
        return _ready(recording, _scaler(recording))

    def validation(self) -> Recording:
        """Another recording of the same person, standardised as the site would: by the one it trained on."""
        person = self._person()
        return _ready(self._rated(_VALIDATION, person), _scaler(self._rated(_TRAINING, person)))

    def _person(self) -> Person:
        return make_person(self.seed, self.number, raters=1)

    def _rated(self, index: int, person: Person) -> RatedRecording:
        seconds = self.seconds + MEAN_LAG_S / person.length
        return make_recording(person, self.seed, self.number, index, seconds=seconds)


def name_of(number: int) -> str:
    """A site's name; names sort as numbers do."""
    return f"site-{number:06d}"


def number_of(name: str) -> int:
    """The number in a site's name."""
    return int(name.removeprefix("site-"))


def _scaler(recording: RatedRecording) -> Scaler:
    return fit_scaler_to([recording.features])


def _ready(recording: RatedRecording, scaler: Scaler) -> Recording:
    targets = without_lag(recording.ratings[0], MEAN_LAG_S)
    counts = recording.valid & np.asarray(np.isfinite(targets).all(axis=1))
    return Recording(
        inputs=scaler.standardise(recording.features),
        targets=np.where(counts[:, None], targets, np.float32(0.0)),
        counts=counts,
    )
