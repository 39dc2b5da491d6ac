"""The resident agent: answers orders, keeps them across a crash, and sends nothing unrecorded."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute

from mien_client import agent, fleet
from mien_client.fleet import Fleet, Order, OrderDamagedError, RunEndedError, keep_order, kept_order
from mien_client.outbox import Outbox, Parcel
from mien_client.sessions import Session, write_session
from mien_client.site import Site, only_agent
from mien_client.tls import ServerUnreachableError
from mien_client.trust import note_server_certificate
from mien_common.architecture import Architecture
from mien_common.errors import SettingsError, StorageError
from mien_common.messages import ARRAYS, DOCUMENT, RoundOrder, TrainingSettings, TrainReport, pack, unpack
from mien_common.network import build
from mien_common.weights import from_record, to_record, weights_of

MakeOrder = Callable[[RecordDict, str], Message]

SMALL = Architecture(hidden_units=4, layers=1)
GLOBAL = weights_of(build(SMALL, 1))


class StoppedError(Exception):
    """Ends the endless loop of the agent in a test."""


@dataclass
class FakeFleet:
    """A server's side: hands out what it is given, one by one, and takes parcels."""

    given: list[Order | Exception | None]
    node_id: int = 3
    sent: list[Parcel] = field(default_factory=list)
    on_send: Exception | None = None
    on_confirm: Exception | None = None
    kept_when_confirmed: list[bool] = field(default_factory=list)
    journal: Path | None = None

    def confirm(self, order: Order) -> None:
        assert order.message.metadata.message_id
        if self.journal is not None:
            self.kept_when_confirmed.append(self.journal.exists())
        if self.on_confirm is not None:
            raise self.on_confirm

    def receive(self) -> Order | None:
        if not self.given:
            raise StoppedError
        item = self.given.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def send(self, parcel: Parcel, seconds: float) -> None:
        assert seconds >= 0
        if self.on_send is not None:
            raise self.on_send
        self.sent.append(parcel)


@pytest.fixture
def rated_site(site: Site, make_session: Callable[..., Session]) -> Site:
    write_session(site.sessions, make_session("train-1", seed=1))
    return site


@pytest.fixture
def order_of(make_order: MakeOrder) -> Callable[..., Order]:
    """An order as the fleet receives it."""

    def make(kind: str = "train", schema: str = "au-v1") -> Order:
        training = TrainingSettings(local_epochs=1, window_s=2.0)
        document = RoundOrder(schema_name=schema, architecture=SMALL, round=1, seed=2, training=training)
        message = make_order(RecordDict({ARRAYS: to_record(GLOBAL), DOCUMENT: pack(document)}), kind)
        with no_object_id_recompute():
            contents = {name: item.deflate() for name, item in get_all_nested_objects(message).items()}
            return fleet._order(contents, message.object_id)

    return make


def serve(site: Site, served: FakeFleet) -> None:
    with pytest.raises(StoppedError):
        agent._serve(site, cast(Fleet, served), Outbox(site.receipts))


def receipts(site: Site) -> list[str]:
    text = site.receipts.read_text() if site.receipts.exists() else ""
    return [json.loads(line)["kind"] for line in text.splitlines()]


def journal(site: Site) -> Path:
    return site.state / "order.safetensors"


def test_answers_orders_one_by_one(rated_site: Site, order_of: Callable[..., Order]) -> None:
    served = FakeFleet([None, order_of("train"), None, order_of("evaluate")])
    serve(rated_site, served)
    assert [parcel.receipt.kind for parcel in served.sent] == ["update", "evaluation"]
    assert receipts(rated_site) == ["update", "evaluation"]
    assert unpack(served.sent[0].message.content, TrainReport).site == "site-1"
    assert from_record(served.sent[0].message.content.array_records[ARRAYS], SMALL)
    assert not journal(rated_site).exists()


def test_an_order_left_from_a_crash_is_answered_first(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    left = order_of("train")
    keep_order(journal(rated_site), left)
    served = FakeFleet([order_of("evaluate")])
    serve(rated_site, served)
    assert [parcel.receipt.kind for parcel in served.sent] == ["update", "evaluation"]
    assert served.sent[0].message.metadata.reply_to_message_id == left.root
    assert not journal(rated_site).exists()


@pytest.mark.parametrize("loss", [ServerUnreachableError("gone"), KeyboardInterrupt()])
def test_an_order_whose_answer_did_not_get_out_is_kept(
    rated_site: Site, order_of: Callable[..., Order], loss: Exception
) -> None:
    order = order_of("train")
    served = FakeFleet([order], on_send=loss)
    with pytest.raises(type(loss)):
        agent._serve(rated_site, cast(Fleet, served), Outbox(rated_site.receipts))
    kept = kept_order(journal(rated_site))
    assert kept is not None
    assert kept.root == order.root


def test_an_answer_that_is_not_wanted_any_more_is_dropped(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    serve(rated_site, FakeFleet([order_of("train")], on_send=RunEndedError("over")))
    assert not journal(rated_site).exists()


def test_orders_that_cannot_be_read_do_not_end_the_agent(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    served = FakeFleet([OrderDamagedError("half"), RunEndedError("over"), order_of("train")])
    serve(rated_site, served)
    assert [parcel.receipt.kind for parcel in served.sent] == ["update"]


def test_a_site_that_cannot_do_its_part_says_so_without_details(
    site: Site, rated_site: Site, order_of: Callable[..., Order]
) -> None:
    (site.sessions / "train-1" / "features.parquet").unlink()
    served = FakeFleet([order_of("train"), order_of("train", schema="au-v2"), order_of("query")])
    serve(rated_site, served)
    assert receipts(rated_site) == ["error"] * 3
    reasons = [str(parcel.message.error.reason) for parcel in served.sent]
    assert reasons[0].startswith("SessionError;")
    assert reasons[1].startswith("FederationError;")
    assert not any(word in reason for reason in reasons for word in ("train-1", str(site.folder), "parquet"))


def test_what_cannot_be_recorded_is_not_sent(rated_site: Site, order_of: Callable[..., Order]) -> None:
    rated_site.receipts.mkdir()
    served = FakeFleet([order_of("train")])
    with pytest.raises(StorageError, match=r"cannot write .*receipts\.jsonl"):
        agent._serve(rated_site, cast(Fleet, served), Outbox(rated_site.receipts))
    assert served.sent == []


def test_one_agent_per_folder(site: Site) -> None:
    first = only_agent(site)
    with first, pytest.raises(SettingsError, match="another agent is running"), only_agent(site):
        pytest.fail("two agents hold one folder")
    with only_agent(site):  # the first is gone, so another may come
        pass


def test_an_order_that_kills_the_agent_each_time_is_given_up(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    """As after three deaths out of memory: nothing in the process could count those."""
    (rated_site.state / "order.tries").write_text("3\n")
    served = FakeFleet([order_of()])
    serve(rated_site, served)
    (parcel,) = served.sent
    assert parcel.receipt.kind == "error"
    assert (parcel.message.error.reason or "").startswith("AgentCrashedError")
    assert not (rated_site.state / "order.tries").exists()


def test_an_order_is_kept_before_the_server_may_forget_it(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    journal = rated_site.state / "order.safetensors"
    served = FakeFleet([order_of()], journal=journal)
    serve(rated_site, served)
    assert served.kept_when_confirmed == [True]
    assert not journal.exists()


def test_an_order_whose_confirmation_is_lost_is_answered_after_reconnecting(
    rated_site: Site, order_of: Callable[..., Order]
) -> None:
    lost = FakeFleet([order_of()], on_confirm=ServerUnreachableError("gone"))
    with pytest.raises(ServerUnreachableError):
        agent._serve(rated_site, cast(Fleet, lost), Outbox(rated_site.receipts))
    assert lost.sent == []
    back = FakeFleet([])
    serve(rated_site, back)
    assert [parcel.receipt.kind for parcel in back.sent] == ["update"]


def test_an_agent_that_stays_connected_is_reminded_of_what_ends(
    rated_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note_server_certificate(rated_site, dt.datetime.now(dt.UTC) + dt.timedelta(days=9, hours=1))
    monkeypatch.setattr(agent, "WARN_EVERY_S", -1.0)
    serve(rated_site, FakeFleet([None, None]))
    said = [record.getMessage() for record in caplog.records if "what=certificate" in record.getMessage()]
    assert len(said) == 3
    assert "the server's certificate ends in 9 days" in said[0]
    assert "mien server init DIR --renew" in said[0]
    assert caplog.text.count("what=authority") == 3, "the test's own ends today"
    assert "a code to a server with a new one: mien agent join CODE" in caplog.text
