"""What federated learning is compared with: each site alone, and a constant.

Both use the agent's own code on the same sessions: a site alone is a federation of one.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from mien_client.client_app import read_site_data, window_seed
from mien_client.device import choose_device
from mien_client.inference import evaluate
from mien_client.site import open_site
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.ccc import ccc, ccc_from_moments
from mien_common.messages import TrainingSettings
from mien_common.network import build
from mien_lab.mien_command import run_side_by_side


@dataclass(frozen=True)
class Score:
    """CCC on held-out recordings."""

    valence: float
    arousal: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON: NaN as null."""
        return {name: None if math.isnan(value) else round(value, 6) for name, value in asdict(self).items()}


def local_only(sites: Sequence[Path], settings: TrainingSettings, rounds: int, seed: int) -> Score:
    """Mean over recordings of models that each trained on one site's sessions only.

    Each site's model starts from the federation's first weights, trains for as many epochs in the same
    rounds, and is tried on its own site's held-out sessions: what the site would have without the others.
    """
    scores: dict[int, list[Score]] = {}

    def take(index: int, line: str) -> None:
        scores[index] = [Score(*pair) for pair in json.loads(line)]

    order = [settings.model_dump_json(), str(rounds), str(seed)]
    alone = [sys.executable, "-m", "mien_lab.baselines"]
    run_side_by_side([[*alone, str(site), *order] for site in sites], take)
    return _mean([score for index in sorted(scores) for score in scores[index]])


def mean_predictor(sites: Sequence[Path]) -> Score:
    """Mean over recordings of predicting a site's mean training rating for every frame."""
    scores = []
    for folder in sites:
        data = read_site_data(open_site(folder))
        trained = np.concatenate([recording.targets[recording.counts] for recording in data.to_train_on()])
        for recording in data.to_test_on():
            constant = np.broadcast_to(trained.mean(axis=0), recording.targets.shape)
            valence, arousal = (
                ccc(constant[:, column], recording.targets[:, column], recording.counts) for column in (0, 1)
            )
            scores.append(Score(valence, arousal))
    return _mean(scores)


def _train_alone(folder: Path, settings: TrainingSettings, rounds: int, seed: int) -> list[Score]:
    site = open_site(folder)
    torch.set_num_threads(site.settings.threads)
    device = choose_device(site.settings.device)
    data = read_site_data(site)
    network = build(Architecture(), seed)
    recordings = data.to_train_on()
    for round_ in range(1, rounds + 1):
        train(network, recordings, settings, window_seed(seed, round_, site.settings.name), device)
    return [
        Score(ccc_from_moments(moments.valence), ccc_from_moments(moments.arousal))
        for moments in evaluate(network, data.to_test_on(), device)
    ]


def _mean(scores: Sequence[Score]) -> Score:
    if not scores:
        return Score(math.nan, math.nan)
    valence, arousal = np.mean([astuple(score) for score in scores], axis=0)
    return Score(float(valence), float(arousal))


def main() -> None:
    """``python -m mien_lab.baselines SITE SETTINGS ROUNDS SEED``: train one site alone, print its scores."""
    site, settings, rounds, seed = sys.argv[1:]
    scores = _train_alone(Path(site), TrainingSettings.model_validate_json(settings), int(rounds), int(seed))
    sys.stdout.write(json.dumps([astuple(score) for score in scores]) + "\n")


if __name__ == "__main__":
    main()
