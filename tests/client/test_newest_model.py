"""The newest global model: kept when an evaluate order brings it, whole, and never at a round's cost."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from mien_client.client_app import SITE_DIR, app
from mien_client.newest_model import keep_newest, newest_model, read_newest
from mien_client.sessions import Session, write_session
from mien_client.site import Site
from mien_common.architecture import Architecture
from mien_common.errors import ModelError, SessionError
from mien_common.messages import ARRAYS, DOCUMENT, EvaluateReport, RoundOrder, pack, unpack
from mien_common.network import build
from mien_common.published import read_published
from mien_common.schema import AU_V1
from mien_common.weights import Weights, to_record, weights_of

SMALL = Architecture(hidden_units=4, layers=1)
NOW_S = 1_700_000_000.0


def order(round_: int, run: str = "2026-11-23-001", architecture: Architecture = SMALL) -> RoundOrder:
    return RoundOrder(architecture=architecture, run=run, round=round_, seed=1)


def weights(seed: int) -> Weights:
    return weights_of(build(SMALL, seed))


def kept(site: Site) -> tuple[str, int, Weights]:
    found = read_newest(newest_model(site))
    assert found is not None
    return found[0].run, found[0].round, found[1]


def the_same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_site_that_received_nothing_has_no_model(site: Site) -> None:
    assert read_newest(newest_model(site)) is None


def test_what_is_kept_is_a_published_model_and_claims_nothing_it_was_not_told(site: Site) -> None:
    keep_newest(site, order(3), weights(1), 42, NOW_S)
    card, read = read_published(site.folder / "models" / "newest")
    assert the_same(read, weights(1))
    assert (card.run, card.round, card.architecture) == ("2026-11-23-001", 3, SMALL)
    assert (card.schema_name, card.channels, card.rate_hz) == (AU_V1.name, AU_V1.channels, AU_V1.rate_hz)
    assert card.created == "2023-11-14T22:13:20.000+00:00"
    assert (card.sites, card.ccc) == ((), {})
    assert (site.folder / "models").stat().st_mode & 0o077 == 0
    assert the_same(read_published(site.folder / "models" / "newest" / "model.safetensors")[1], read)


def test_a_run_without_a_name_goes_by_its_number(site: Site) -> None:
    keep_newest(site, order(1, run=""), weights(1), 42, NOW_S)
    assert kept(site)[0] == "42"


def test_the_newest_stays_and_only_it(site: Site) -> None:
    for round_ in (1, 2, 3):
        keep_newest(site, order(round_), weights(round_), 42, NOW_S + round_)
    assert kept(site)[1] == 3
    keep_newest(site, order(2), weights(2), 42, NOW_S + 2)  # a late one
    assert kept(site)[1] == 3
    # A server set up anew calls its first run of the day by the same name.
    keep_newest(site, order(1), weights(9), 43, NOW_S + 60)
    assert kept(site)[1] == 1
    assert the_same(kept(site)[2], weights(9))
    assert len([path for path in (site.folder / "models").iterdir() if not path.is_symlink()]) == 1


def test_an_order_sent_again_changes_nothing(site: Site) -> None:
    keep_newest(site, order(1), weights(1), 42, NOW_S)
    before = (site.models / "newest").resolve().stat()
    keep_newest(site, order(1), weights(1), 42, NOW_S + 5)
    after = (site.models / "newest").resolve().stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_server_whose_clock_was_ahead_does_not_shut_others_out(site: Site) -> None:
    keep_newest(site, order(7), weights(1), 42, time.time() + 1e6)
    keep_newest(site, order(1), weights(2), 43, time.time())
    assert kept(site)[1] == 1


@pytest.mark.parametrize("spoil", ["weights", "card", "link"])
def test_a_damaged_model_is_said_and_the_next_replaces_it(site: Site, spoil: str) -> None:
    keep_newest(site, order(1), weights(1), 42, NOW_S)
    newest = site.models / "newest"
    if spoil == "link":
        shutil.rmtree(newest.resolve())
        assert read_newest(newest_model(site)) is None
    else:
        (newest / {"weights": "model.safetensors", "card": "card.json"}[spoil]).write_text("x")
        with pytest.raises(ModelError):
            read_newest(newest_model(site))
    keep_newest(site, order(2), weights(2), 42, NOW_S + 1)
    assert kept(site)[1] == 2


def test_a_death_before_the_link_was_set_is_made_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    keep_newest(site, order(1), weights(1), 42, NOW_S)
    with monkeypatch.context() as death:
        death.setattr(Path, "symlink_to", die)
        with pytest.raises(KeyboardInterrupt):
            keep_newest(site, order(2), weights(2), 42, NOW_S + 1)
    assert kept(site)[1] == 1
    keep_newest(site, order(2), weights(2), 42, NOW_S + 1)
    assert kept(site)[1] == 2


def test_a_reader_never_meets_half_a_model(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer one takes the place of the one that is being read, between its card and its weights."""
    keep_newest(site, order(1), weights(1), 42, NOW_S)
    read = read_published

    def slow(folder: Path) -> object:
        keep_newest(site, order(2), weights(2), 42, NOW_S + 1)
        return read(folder)

    monkeypatch.setattr("mien_client.newest_model.read_published", slow)
    assert kept(site)[1] == 2


def test_a_full_disk_is_a_warning_and_leaves_what_was_there(
    site: Site, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tight = Site(small_disk, site.settings)
    keep_newest(tight, order(1), weights(1), 42, NOW_S)
    large = Architecture(hidden_units=64, layers=4)
    with caplog.at_level(logging.WARNING):
        keep_newest(tight, order(2, architecture=large), weights_of(build(large, 1)), 42, NOW_S + 1)
    assert "model not kept" in caplog.text
    assert "No space left on device" in caplog.text
    assert kept(tight)[1] == 1
    assert not list(tight.models.glob(".*"))


class TestInARound:
    """Through the ClientApp, as the agent and Flower's own SuperNode both run it."""

    @pytest.fixture
    def ask(self, site: Site, make_order: Callable[[RecordDict, str], Message]) -> Callable[[str], Message]:
        def send(kind: str) -> Message:
            content = RecordDict({DOCUMENT: pack(order(5)), ARRAYS: to_record(weights(1))})
            config: dict[str, bool | float | int | str] = {SITE_DIR: str(site.folder)}
            context = Context(run_id=42, node_id=3, node_config=config, state=RecordDict(), run_config={})
            return app(make_order(content, kind), context)

        return send

    def test_an_evaluate_order_brings_it_a_train_order_does_not(
        self, site: Site, ask: Callable[[str], Message], make_session: Callable[..., Session]
    ) -> None:
        write_session(site.sessions, make_session("s"))
        ask("train")
        assert read_newest(newest_model(site)) is None  # those weights are where the round began
        ask("evaluate")
        assert kept(site)[:2] == ("2026-11-23-001", 5)

    def test_a_site_without_sessions_gets_it_too(self, site: Site, ask: Callable[[str], Message]) -> None:
        with pytest.raises(SessionError, match="no rated session"):
            ask("evaluate")
        assert kept(site)[1] == 5

    def test_a_folder_that_cannot_be_written_does_not_break_the_round(
        self,
        site: Site,
        ask: Callable[[str], Message],
        make_session: Callable[..., Session],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        write_session(site.sessions, make_session("s"))
        site.models.write_text("a file where a folder should be")
        assert unpack(ask("evaluate").content, EvaluateReport).round == 5
        assert "model not kept run=2026-11-23-001 round=5" in caplog.text
