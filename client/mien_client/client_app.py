"""The site's Flower ClientApp: one round of training, one evaluation.

Enters: a round order and the global weights. Leaves (through :mod:`mien_client.outbox`): a weight
update with a train report, or sufficient statistics. Never leaves: sessions, the site's scaler.
It runs unchanged in the resident agent and under the stock ``flower-supernode``, which names the
site's folder in its node configuration: ``--node-config 'site-dir="…"'``.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from mien_common.errors import FederationError, NoSessionError, SettingsError
from mien_common.messages import (
    ARRAYS,
    DOCUMENT,
    METRICS,
    NUM_EXAMPLES,
    EvaluateReport,
    RoundOrder,
    TrainReport,
    pack,
    unpack,
)
from mien_common.schema import AU_V1
from mien_common.versions import MIEN_VERSION
from mien_common.weights import Weights, from_record, network_from, norm_of, to_record

from . import inference
from .device import choose_device
from .newest_model import keep_newest
from .rated_recording import Recording, recording_of
from .scaling import Scaler, fit_scaler
from .sessions import FeaturesFrom, Session, read_session, session_folders
from .site import Site, open_site
from .training import local_update

SITE_DIR: Final = "site-dir"
"""Key of the site's folder in Flower's node configuration."""

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on this site's sessions; the update is new weights − global weights."""
    started = time.monotonic()
    order, weights, bytes_down = _order(message)
    site = _site(context)
    data = _site_data(site)
    device = choose_device(site.settings.device)
    torch.set_num_threads(site.settings.threads)
    update = local_update(
        weights,
        order.architecture,
        data.to_train_on(),
        order.training,
        window_seed(order.seed, order.round, site.settings.name),
        device,
    )
    arrays = to_record(update.delta)
    report = TrainReport(
        site=site.settings.name,
        round=order.round,
        frames=update.result.frames,
        loss=update.result.loss,
        update_norm=norm_of(update.delta),
        seconds=time.monotonic() - started,
        device=str(device.type),
        version=MIEN_VERSION,
        bytes_down=bytes_down,
        bytes_up=_size_of(arrays),
    )
    content = RecordDict(
        {ARRAYS: arrays, METRICS: MetricRecord({NUM_EXAMPLES: update.result.frames}), DOCUMENT: pack(report)}
    )
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Try the global weights on this site's held-out sessions; the reply holds sums only."""
    started = time.monotonic()
    order, weights, bytes_down = _order(message)
    site = _site(context)
    keep_newest(site, order, weights, message.metadata.run_id, message.metadata.created_at)
    data = _site_data(site)
    device = choose_device(site.settings.device)
    torch.set_num_threads(site.settings.threads)
    recordings = inference.evaluate(network_from(weights, order.architecture), data.to_test_on(), device)
    report = EvaluateReport(
        site=site.settings.name,
        round=order.round,
        recordings=recordings,
        seconds=time.monotonic() - started,
        bytes_down=bytes_down,
    )
    frames = int(sum(recording.valence.n for recording in recordings))
    content = RecordDict({METRICS: MetricRecord({NUM_EXAMPLES: frames}), DOCUMENT: pack(report)})
    return Message(content, reply_to=message)


@dataclass(frozen=True)
class SiteData:
    """A site's rated sessions in memory, read once."""

    sessions: tuple[Session, ...]
    lag_s: float
    scalers: Mapping[FeaturesFrom, Scaler] = field(init=False)
    """By what made the features: OpenFace's AU 12 and MediaPipe's are not on one scale."""

    def __post_init__(self) -> None:
        kept = [session for session in self.sessions if not session.record.held_out]
        if not kept:
            raise NoSessionError("this site has no rated session to train on. Run `mien agent ingest` first.")
        extractors = sorted({session.record.features_from for session in kept})
        scalers = {
            extractor: fit_scaler(
                [session.features for session in kept if session.record.features_from == extractor]
            )
            for extractor in extractors
        }
        object.__setattr__(self, "scalers", scalers)

    @property
    def scaler(self) -> Scaler:
        """For features of this site's own face process."""
        return self.scaler_for("mediapipe")

    def scaler_for(self, extractor: FeaturesFrom) -> Scaler:
        """For features that ``extractor`` made.

        Raises
        ------
        NoSessionError
            The site trains on no session of that kind, so it has no statistics for it.
        """
        if extractor not in self.scalers:
            raise NoSessionError(
                f"this site trains on features from {' and '.join(self.scalers)} only, and those from "
                f"{extractor} are on another scale. Ingest a rated recording of that kind without --held-out."
            )
        return self.scalers[extractor]

    def to_train_on(self) -> list[Recording]:
        """Recordings to train on."""
        return [self._ready(session) for session in self.sessions if not session.record.held_out]

    def to_test_on(self) -> list[Recording]:
        """Recordings never trained on."""
        return [self._ready(session) for session in self.sessions if session.record.held_out]

    def _ready(self, session: Session) -> Recording:
        return recording_of(session, self.scaler_for(session.record.features_from), self.lag_s)


def read_site_data(site: Site) -> SiteData:
    """Every rated session of the site.

    Raises
    ------
    SessionError
        A session is damaged or of another schema.
    NoSessionError
        There is none to train on.
    """
    sessions = tuple(read_session(folder) for folder in session_folders(site.sessions))
    return SiteData(
        tuple(session for session in sessions if session.ratings is not None), site.settings.lag_s
    )


_read_data: dict[tuple[Path, str], SiteData] = {}


def _site_data(site: Site) -> SiteData:
    """The site's data; read again only when a session came or went, or the settings changed."""
    # A session ingested again, held out now, has its old name but not its old inode or time.
    seen = [(folder.name, folder.stat()) for folder in session_folders(site.sessions)]
    state = f"{site.settings!r} {[(name, status.st_ino, status.st_mtime_ns) for name, status in seen]}"
    key = (site.folder, state)
    if key not in _read_data:
        _read_data.clear()
        _read_data[key] = read_site_data(site)
    return _read_data[key]


def _site(context: Context) -> Site:
    folder = context.node_config.get(SITE_DIR)
    if not isinstance(folder, str):
        raise SettingsError(f'the node configuration must name the site\'s folder: {SITE_DIR}="DIR"')
    return open_site(Path(folder))


def _order(message: Message) -> tuple[RoundOrder, Weights, int]:
    order = unpack(message.content, RoundOrder)
    if order.schema_name != AU_V1.name or order.architecture.channels != len(AU_V1.channels):
        raise FederationError(
            f"the server trains on schema {order.schema_name!r} with {order.architecture.channels} channels, "
            f"this agent has {AU_V1.name!r} with {len(AU_V1.channels)}. Install matching versions."
        )
    if order.architecture.predicts != "frames":
        raise FederationError(
            f"the server's model ({order.architecture.in_words}) is for experiments only: sites compare "
            "frame by frame. Start a run of a model that predicts frames."
        )
    arrays = message.content.get(ARRAYS)
    if not isinstance(arrays, ArrayRecord):
        raise FederationError("a round order without the global weights; do both sides run one version?")
    return order, from_record(arrays, order.architecture), _size_of(arrays)


def _size_of(arrays: ArrayRecord) -> int:
    return sum(len(array.data) for array in arrays.values())


def window_seed(run_seed: int, round_: int, site: str) -> int:
    """Seed of a site's windows in a round: differs between them, the same when a run is repeated."""
    return int(np.random.SeedSequence([run_seed, round_, *site.encode()]).generate_state(1)[0])
