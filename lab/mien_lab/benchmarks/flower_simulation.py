"""The peer of the simulation benchmark: Flower's own simulation engine on the same sites.

Enters: numbers of sites, rounds and processes, and a folder. Leaves, in the folder: the weights it came to,
and the seconds of each round. It runs in a process of its own,
which :mod:`.simulation` starts and ends. Ray, which the engine needs, is a peer here and no part of Mien.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from mien_common.messages import ARRAYS, METRICS, NUM_EXAMPLES
from mien_common.network import build
from mien_common.weights import from_record, to_record, to_safetensors, weights_of
from mien_lab.simulated_site import name_of
from mien_lab.simulated_visits import TrainOrder, train_sites
from mien_lab.simulation import SimulationSettings, shared_of

WEIGHTS: Final = "weights.safetensors"
SECONDS: Final = "seconds.json"
_OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024
_CONFIG: Final = "config"
_ROUND: Final = "server-round"

SETTINGS: Final = SimulationSettings(sites=50)
"""What both engines do; sites and rounds are given anew."""

client_app: Final = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One site's turn, by the same function as in our workers, which trains a site alone as the agents do."""
    torch.set_num_threads(1)
    order = cast(ConfigRecord, message.content[_CONFIG])
    weights = from_record(message.content.array_records[ARRAYS], SETTINGS.architecture)
    site = name_of(cast(int, context.node_config["partition-id"]))
    (answer,) = train_sites(shared_of(SETTINGS), TrainOrder(cast(int, order[_ROUND]), weights, ((site,),)))
    if answer.delta is None:
        raise ValueError(f"{site} has nothing to train on, so FedAvg cannot weigh it")
    trained = {name: array + answer.delta[name] for name, array in weights.items()}
    metrics = MetricRecord({NUM_EXAMPLES: answer.frames})
    return Message(RecordDict({ARRAYS: to_record(trained), METRICS: metrics}), reply_to=message)


class _Timed(FedAvg):
    """FedAvg that notes when each round's aggregation is done."""

    def __init__(self, sites: int) -> None:
        super().__init__(
            fraction_evaluate=0.0,
            min_train_nodes=sites,  # else the first round asks whoever is there when it looks first
            min_available_nodes=sites,
            weighted_by_key=NUM_EXAMPLES,
        )
        self.ended = [time.monotonic()]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg does."""
        made = super().aggregate_train(server_round, replies)
        self.ended.append(time.monotonic())
        return made


def main(arguments: Sequence[str]) -> None:
    """``SITES ROUNDS PROCESSES FOLDER``."""
    sites, rounds, processes = map(int, arguments[:3])
    folder = Path(arguments[3])
    server_app, strategy = ServerApp(), _Timed(sites)

    @server_app.main()
    def serve(grid: Grid, _context: Context) -> None:
        first = to_record(weights_of(build(SETTINGS.architecture, SETTINGS.seed)))
        result = strategy.start(grid=grid, initial_arrays=first, num_rounds=rounds)
        (folder / WEIGHTS).write_bytes(to_safetensors(from_record(result.arrays, SETTINGS.architecture)))

    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=sites,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {
                "num_cpus": processes,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(folder / "ray"),
            },
        },
    )
    ended = strategy.ended
    seconds = [after - before for before, after in pairwise(ended)]
    (folder / SECONDS).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
