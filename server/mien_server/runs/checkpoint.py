"""What a run needs to go on after it was stopped or died: the last published round, and its rule's memory.

Enters: a round's new weights and the rule's state. Leaves: ``runs/RUN/state/round-NNNN.safetensors``, and
both of them again when the run goes on. The weights are those of the published model.

A round is written in this order. ``kill -9`` may come between any two steps, and inside each, since every
step is one rename:

1. the state after the round, with the model's hash and the round's event for the journal;
2. the published model: from here on the round counts;
3. ``models/latest``;
4. the journal's line;
5. states of earlier rounds are removed.

So whatever was published has its state. After 1 the round is trained again and its state written anew; after
2 and 3, ``latest`` and the journal are brought up to date when the run goes on; after 4 there is a state too
many.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mien_common.architecture import Architecture
from mien_common.errors import ModelError
from mien_common.files import make_folder, storage_errors, write_atomic
from mien_common.published import read_published
from mien_common.weights import Weights, shapes_of, to_safetensors
from mien_server.publishing.registry import round_folder
from mien_server.rules.rule import Arrays
from mien_server.runs.journal import Event

STATE_FOLDER: Final = "state"
_ROUND: Final = re.compile(r"round-(\d{4,})")


@dataclass(frozen=True)
class Checkpoint:
    """The end of a round that counts."""

    round: int
    weights: Weights
    memory: Arrays
    """The rule's."""
    event: Event
    """What the journal says of the round."""
    model: Path


class Checkpoints:
    """Of the run called ``name`` in the folder ``run``, whose models are in ``models``."""

    def __init__(self, run: Path, models: Path, name: str, rule: str) -> None:
        self._run = run
        self._models = models
        self._name = name
        self._rule = rule

    def save(self, round_: int, weights: Weights, memory: Mapping[str, NDArray[Any]], event: Event) -> None:
        """Step 1: keep what the rule remembers after ``round_``, whose ``weights`` are about to be published.

        Raises
        ------
        StorageError
            It cannot be written; the states before it are as they were.
        """
        about = {
            "run": self._name,
            "round": str(round_),
            "rule": self._rule,
            "model_sha256": hashlib.sha256(to_safetensors(weights)).hexdigest(),
            "event": json.dumps(event, allow_nan=False),
        }
        arrays = {name: np.ascontiguousarray(array, np.float64) for name, array in memory.items()}
        make_folder(self._run / STATE_FOLDER, mode=0o700)
        write_atomic(self._file(round_), safetensors.numpy.save(arrays, about), mode=0o600)

    def forget_before(self, round_: int) -> None:
        """Step 5: remove states that nobody needs any more."""
        for number in self._numbers(self._run / STATE_FOLDER):
            if number < round_:
                with storage_errors(self._file(number)):
                    self._file(number).unlink(missing_ok=True)

    def last(self, architecture: Architecture) -> Checkpoint | None:
        """Where the run goes on from; None where no round of it counts yet.

        Raises
        ------
        ModelError
            The model or the state is missing, damaged, or they do not belong together.
        """
        published = max(self._numbers(self._models / self._name), default=0)
        kept = self._numbers(self._run / STATE_FOLDER)
        if not published and max(kept, default=0) <= 1:
            return None
        model = round_folder(self._models, self._name, published)
        if max(kept, default=0) > published + 1:
            raise self._lost(f"round {max(kept) - 1} of it was published, but its model is gone")
        if published not in kept:
            raise self._lost(f"{self._file(published)} is missing")
        card, weights = read_published(model)
        about, memory = self._read(published, architecture)
        if about.get("model_sha256") != card.sha256 or card.architecture != architecture:
            raise self._lost(f"{self._file(published)} and {model} do not belong together")
        return Checkpoint(published, weights, memory, json.loads(about["event"]), model)

    def _read(self, round_: int, architecture: Architecture) -> tuple[dict[str, str], Arrays]:
        file = self._file(round_)
        try:
            with safe_open(file, "np") as content:
                about = content.metadata() or {}
                memory: Arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            self._check(about, memory, round_, architecture)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise self._lost(f"{file} is damaged: {error}") from error
        return about, memory

    def _check(
        self, about: Mapping[str, str], memory: Arrays, round_: int, architecture: Architecture
    ) -> None:
        """Raise ValueError where this cannot be what was saved after ``round_``."""
        said = (about["run"], about["round"], about["rule"])
        if said != (self._name, str(round_), self._rule):
            raise ValueError("it is of run {}, round {}, rule {}".format(*said))
        event = json.loads(about["event"])
        if not isinstance(event, dict) or event.get("round") != round_:
            raise ValueError("it holds no event of its round")
        shapes = shapes_of(architecture)
        for name, array in memory.items():
            # What rules remember is named like "momentum/head.weight".
            if array.dtype != np.float64 or array.shape != shapes.get(name.partition("/")[2]):
                raise ValueError(f"{name} is {array.dtype}{list(array.shape)}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinite numbers")

    def _lost(self, what: str) -> ModelError:
        return ModelError(
            f"the run {self._name} cannot go on: {what}. Put it back from a copy, or start a new run; "
            "what it published stays."
        )

    def _file(self, round_: int) -> Path:
        return self._run / STATE_FOLDER / f"round-{round_:04d}.safetensors"

    @staticmethod
    def _numbers(folder: Path) -> list[int]:
        """Rounds that have something in ``folder``."""
        names = [path.name.removesuffix(".safetensors") for path in folder.glob("round-*")]
        return [int(found[1]) for name in names if (found := _ROUND.fullmatch(name))]
