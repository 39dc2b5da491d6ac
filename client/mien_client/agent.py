"""The resident agent: joins the federation and answers its orders until it is told to stop.

Enters: round orders from :mod:`mien_client.fleet`. Leaves: parcels of :mod:`mien_client.outbox`.
It keeps PyTorch and the site's data warm between rounds, where Flower's own SuperNode starts a fresh
process for each message. An order is kept on disk until it is answered, so that an agent killed in the
middle answers it when it is started again.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flwr.app import Context, RecordDict

from mien_common.errors import AgentCrashedError, MienError
from mien_common.files import storage_errors
from mien_common.messages import RoundOrder, unpack

from .client_app import SITE_DIR, app
from .fleet import Fleet, Order, OrderDamagedError, RunEndedError, keep_order, kept_order
from .outbox import Outbox, Parcel
from .site import Site, only_agent
from .tls import ServerUnreachableError, check_server
from .trust import ends_of_trust, note_server_certificate

log = logging.getLogger(__name__)

FIRST_POLL_S: Final = 0.05
LONGEST_POLL_S: Final = 0.5
POLL_GROWTH: Final = 1.15
"""The next order is asked for soon after the last, then less and less often: a poll costs two signatures."""

MOST_TRIES: Final = 3
"""An order that killed the agent this often, as when memory ran out, is answered with an error."""

FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 10.0

WARN_EVERY_S: Final = 24 * 3600.0
"""How often the log says again that a certificate or key ends soon; an agent may be connected for months."""


def run_agent(site: Site) -> None:
    """Serve the federation until the process is interrupted.

    A server that cannot be reached is waited for.

    Raises
    ------
    SettingsError
        Another agent runs on this site's folder.
    TrustError
        The site's key, the server's certificate or the clock do not hold; waiting would not help.
    """
    key, root = site.private_key(), site.root_certificate()
    outbox = Outbox(site.receipts)
    retry_s = FIRST_RETRY_S
    with only_agent(site):
        while True:
            try:
                ends = check_server(site.settings.server, root)
                note_server_certificate(site, ends)
                _warn_of_ends(site)
                with Fleet(site.settings.server, root, key, site.state) as fleet:
                    log.info("joined server=%s site=%s", site.settings.server, site.settings.name)
                    retry_s = FIRST_RETRY_S
                    _serve(site, fleet, outbox)
            except ServerUnreachableError as error:
                if retry_s == FIRST_RETRY_S:
                    log.warning("waiting server=%s reason=%s", site.settings.server, error)
                time.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)


def _serve(site: Site, fleet: Fleet, outbox: Outbox) -> None:
    """Answer orders, the one left over from a crash first, until the connection is lost."""
    journal = site.state / "order.safetensors"
    pause_s = FIRST_POLL_S
    order, warned = kept_order(journal), time.monotonic()
    while True:
        if time.monotonic() - warned > WARN_EVERY_S:
            _warn_of_ends(site)
            warned = time.monotonic()
        if order is None:
            try:
                order = fleet.receive()
            except (OrderDamagedError, RunEndedError) as error:
                log.warning("order dropped reason=%s", error)
            if order is None:
                time.sleep(pause_s)
                pause_s = min(pause_s * POLL_GROWTH, LONGEST_POLL_S)
                continue
            keep_order(journal, order)
            try:
                fleet.confirm(order)
            except RunEndedError as error:
                log.info("order not wanted any more reason=%s", error)
        _answer(site, fleet, outbox, order)
        journal.unlink(missing_ok=True)
        order, pause_s = None, FIRST_POLL_S


def _warn_of_ends(site: Site) -> None:
    """A line in the log for each certificate or key that ends within thirty days."""
    for ending in ends_of_trust(site, dt.datetime.now(dt.UTC)):
        log.warning("ends_soon what=%s reason=%s", ending.what, ending)


def _answer(site: Site, fleet: Fleet, outbox: Outbox, order: Order) -> None:
    started = time.monotonic()
    with _counted_try(site.state / "order.tries") as tries:
        if tries > MOST_TRIES:
            log.error("order given up run=%s tries=%d", order.message.metadata.run_id, tries - 1)
            parcel = outbox.refuse(order.message, AgentCrashedError("the agent died of it, time and again"))
        else:
            parcel = _parcel(site, fleet, outbox, order)
    seconds = time.monotonic() - started
    try:
        fleet.send(parcel, seconds)
    except RunEndedError as error:
        log.info("answer not wanted run=%s reason=%s", parcel.receipt.run, error)
        return
    log.info(
        "answered kind=%s run=%s bytes=%d seconds=%.2f",
        *(parcel.receipt.kind, parcel.receipt.run, parcel.receipt.bytes, seconds),
    )


def _parcel(site: Site, fleet: Fleet, outbox: Outbox, order: Order) -> Parcel:
    """The checked answer to an order, or a checked word that there is none."""
    context = Context(
        run_id=order.message.metadata.run_id,
        node_id=fleet.node_id,
        node_config={SITE_DIR: str(site.folder)},
        state=RecordDict(),
        run_config={},
    )
    try:
        architecture = unpack(order.message.content, RoundOrder).architecture
        return outbox.clear(app(order.message, context), architecture)
    except MienError as error:
        log.error("order failed run=%s reason=%s", order.message.metadata.run_id, error)
        return outbox.refuse(order.message, error)
    except Exception as error:  # whatever broke, the server must hear it, not wait out its deadline
        log.exception("order failed run=%s", order.message.metadata.run_id)
        return outbox.refuse(order.message, error)


@contextmanager
def _counted_try(path: Path) -> Iterator[int]:
    """Which try this is at the order in hand; only tries that killed the process add up."""
    try:
        tries = int(path.read_text()) + 1
    except (OSError, ValueError):
        tries = 1
    with storage_errors(path):
        path.write_text(f"{tries}\n")
    yield tries
    path.unlink(missing_ok=True)
