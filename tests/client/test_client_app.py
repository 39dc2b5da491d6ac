"""One round at a site: what goes back to the server, and what may not be asked."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, RecordDict

from mien_client.client_app import SITE_DIR, app, read_site_data
from mien_client.device import choose_device
from mien_client.inference import predict
from mien_client.outbox import Outbox
from mien_client.sessions import Session, write_session
from mien_client.site import Site
from mien_client.training import train
from mien_common.architecture import Architecture
from mien_common.ccc import Moments, ccc, ccc_from_moments
from mien_common.errors import (
    FederationError,
    NoSessionError,
    SessionError,
    SettingsError,
    UpdateRejectedError,
)
from mien_common.messages import (
    ARRAYS,
    DOCUMENT,
    METRICS,
    NUM_EXAMPLES,
    EvaluateReport,
    RoundOrder,
    TrainingSettings,
    TrainReport,
    pack,
    unpack,
)
from mien_common.network import build
from mien_common.weights import Weights, from_record, network_from, norm_of, to_record, weights_of

Make = Callable[..., Session]
Ask = Callable[..., Message]

SMALL = Architecture(hidden_units=8, layers=1)
GLOBAL = weights_of(build(SMALL, seed=1))
ORDER = RoundOrder(
    architecture=SMALL, round=4, seed=11, training=TrainingSettings(local_epochs=1, window_s=2.0)
)


@pytest.fixture
def ask(site: Site, make_order: Callable[[RecordDict, str], Message]) -> Ask:
    """Sends the ClientApp an order as the agent does."""

    def send(kind: str, order: RoundOrder = ORDER, weights: Weights | None = GLOBAL) -> Message:
        content = RecordDict({DOCUMENT: pack(order)})
        if weights is not None:
            content[ARRAYS] = to_record(weights)
        context = Context(
            run_id=42, node_id=3, node_config={SITE_DIR: str(site.folder)}, state=RecordDict(), run_config={}
        )
        return app(make_order(content, kind), context)

    return send


@pytest.fixture
def rated_site(site: Site, make_session: Make) -> Site:
    """Two sessions to train on, two held out, one without ratings."""
    for number in (1, 2):
        write_session(site.sessions, make_session(f"train-{number}", seconds=8.0, seed=number))
        write_session(
            site.sessions, make_session(f"test-{number}", seconds=6.0, seed=number + 10, held_out=True)
        )
    write_session(site.sessions, make_session("unrated", rated=False, seed=5))
    return site


def delta_of(reply: Message) -> Weights:
    record = reply.content[ARRAYS]
    assert isinstance(record, ArrayRecord)
    return from_record(record, SMALL)


def test_a_training_reply_is_the_difference_that_training_made(rated_site: Site, ask: Ask) -> None:
    reply = ask("train")
    delta = delta_of(reply)
    data = read_site_data(rated_site)
    expected = []
    for seed_of_other_site in (False, True):
        network = network_from(GLOBAL, SMALL)
        seed_words = [11, 4, *(b"site-2" if seed_of_other_site else b"site-1")]
        seed = int(np.random.SeedSequence(seed_words).generate_state(1)[0])
        device = choose_device("cpu")
        train(network, data.to_train_on(), ORDER.training, seed, device)
        expected.append(weights_of(network))
    for name, array in GLOBAL.items():
        assert array + delta[name] == pytest.approx(expected[0][name], abs=1e-6)
    assert norm_of(delta) > 1e-3
    assert norm_of({name: expected[0][name] - expected[1][name] for name in GLOBAL}) > 1e-3


def test_a_training_reply_holds_an_update_a_count_and_a_report_only(
    rated_site: Site, ask: Ask, tmp_path: Path
) -> None:
    reply = ask("train")
    assert set(reply.content) == {ARRAYS, METRICS, DOCUMENT}
    report = unpack(reply.content, TrainReport)
    assert (report.site, report.round, report.device) == ("site-1", 4, "cpu")
    assert report.frames == 2 * 200  # two sessions of 8 s, their first frames not valid
    assert dict(reply.content.metric_records[METRICS]) == {NUM_EXAMPLES: 400}
    assert report.update_norm == pytest.approx(norm_of(delta_of(reply)))
    size = len(to_record(GLOBAL)["flat"].data)
    assert (report.bytes_up, report.bytes_down) == (size, size)
    assert 0 < report.loss < 2
    assert Outbox(tmp_path / "receipts").clear(reply, SMALL).receipt.kind == "update"


def test_the_same_order_gives_the_same_update(rated_site: Site, ask: Ask) -> None:
    first, second = delta_of(ask("train")), delta_of(ask("train"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = delta_of(ask("train", ORDER.model_copy(update={"round": 5})))
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_an_evaluation_reply_holds_sums_of_the_held_out_sessions_only(
    rated_site: Site, ask: Ask, tmp_path: Path
) -> None:
    reply = ask("evaluate")
    assert set(reply.content) == {METRICS, DOCUMENT}
    report = unpack(reply.content, EvaluateReport)
    assert len(report.recordings) == 2
    network, data = network_from(GLOBAL, SMALL), read_site_data(rated_site)
    traces = []
    for recording, sums in zip(data.to_test_on(), report.recordings, strict=True):
        predicted = predict(network, recording.inputs, choose_device("cpu"))
        traces.append((predicted[recording.counts], recording.targets[recording.counts]))
        assert sums.valence.n == recording.counts.sum() == 150
    pooled_y, pooled_x = (np.concatenate([pair[k][:, 0] for pair in traces]) for k in (1, 0))
    pooled = sum((sums.valence for sums in report.recordings), start=Moments())
    assert ccc_from_moments(pooled) == pytest.approx(ccc(pooled_x, pooled_y), abs=1e-9)
    assert Outbox(tmp_path / "receipts").clear(reply, SMALL).receipt.kind == "evaluation"


def test_held_out_sessions_change_neither_scaler_nor_update(
    rated_site: Site, ask: Ask, make_session: Make
) -> None:
    scaler, before = read_site_data(rated_site).scaler, delta_of(ask("train"))
    absurd = make_session("absurd", seed=99, held_out=True)
    absurd.features.values[absurd.features.valid] = 1e6
    write_session(rated_site.sessions, absurd)
    assert np.array_equal(read_site_data(rated_site).scaler.mean, scaler.mean)
    assert np.array_equal(read_site_data(rated_site).scaler.deviation, scaler.deviation)
    after = delta_of(ask("train"))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_each_extractors_sessions_are_scaled_by_their_own_statistics(site: Site, make_session: Make) -> None:
    """OpenFace's numbers lie elsewhere than ours: together they would drown what either says."""
    ours = [make_session(f"film-{number}", seed=number) for number in (1, 2)]
    theirs = [
        make_session(
            f"table-{number}", seed=number, record={"features_from": "openface", "neutral": "source"}
        )
        for number in (1, 2)
    ]
    for session in theirs:
        session.features.values[:] = 3.0 + 7.0 * session.features.values
    for session in (*ours, *theirs):
        write_session(site.sessions, session)
    data = read_site_data(site)
    assert set(data.scalers) == {"mediapipe", "openface"}
    assert data.scaler is data.scalers["mediapipe"]
    films, tables = data.to_train_on()[:2], data.to_train_on()[2:]
    for film, table in zip(films, tables, strict=True):
        assert np.allclose(film.inputs, table.inputs, atol=1e-4), "one person, two programs, one input"


def test_a_kind_of_features_that_was_never_trained_on_is_named(
    site: Site, ask: Ask, make_session: Make
) -> None:
    write_session(
        site.sessions, make_session("table", record={"features_from": "py-feat", "neutral": "source"})
    )
    assert unpack(ask("train").content, TrainReport).frames == 100
    with pytest.raises(
        NoSessionError, match="trains on features from py-feat only, and those from mediapipe"
    ):
        _ = read_site_data(site).scaler
    write_session(site.sessions, make_session("film", held_out=True))
    with pytest.raises(NoSessionError, match=r"Ingest a rated recording of that kind without --held-out"):
        ask("evaluate")


def test_a_session_withdrawn_between_rounds_is_gone(rated_site: Site, ask: Ask) -> None:
    assert unpack(ask("train").content, TrainReport).frames == 400
    shutil.rmtree(rated_site.sessions / "train-2")
    assert unpack(ask("train").content, TrainReport).frames == 200


def test_a_session_made_again_as_held_out_is_never_trained_on_again(
    rated_site: Site, ask: Ask, make_session: Make
) -> None:
    """It has the same name: the agent must not go on with what it remembers."""
    assert unpack(ask("train").content, TrainReport).frames == 400
    shutil.rmtree(rated_site.sessions / "train-2")
    write_session(rated_site.sessions, make_session("train-2", seconds=8.0, seed=2, held_out=True))
    assert unpack(ask("train").content, TrainReport).frames == 200
    assert len(unpack(ask("evaluate").content, EvaluateReport).recordings) == 3


def test_a_site_without_a_held_out_session_sends_no_sums(site: Site, ask: Ask, make_session: Make) -> None:
    write_session(site.sessions, make_session("train-1"))
    reply = ask("evaluate")
    assert unpack(reply.content, EvaluateReport).recordings == ()
    assert dict(reply.content.metric_records[METRICS]) == {NUM_EXAMPLES: 0}


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize("held_out", [True, False])
def test_a_site_with_nothing_to_train_on_says_so(
    site: Site, ask: Ask, make_session: Make, kind: str, held_out: bool
) -> None:
    write_session(site.sessions, make_session("s", held_out=held_out, rated=held_out))
    with pytest.raises(SessionError, match=r"no rated session to train on\. Run `mien agent ingest` first"):
        ask(kind)


def test_a_damaged_session_stops_the_round_by_name(rated_site: Site, ask: Ask) -> None:
    (rated_site.sessions / "train-1" / "features.parquet").write_bytes(b"PAR1")
    with pytest.raises(SessionError, match="train-1"):
        ask("train")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_orders_of_another_schema_are_refused(rated_site: Site, ask: Ask, kind: str) -> None:
    for changes in ({"schema_name": "au-v2"}, {"architecture": SMALL.model_copy(update={"channels": 41})}):
        with pytest.raises(FederationError, match="Install matching versions"):
            ask(kind, ORDER.model_copy(update=changes))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_orders_of_a_model_that_gives_no_trace_are_refused(rated_site: Site, ask: Ask, kind: str) -> None:
    windows = SMALL.model_copy(update={"predicts": "window"})
    with pytest.raises(FederationError, match=r"one pair per window\) is for experiments only"):
        ask(kind, ORDER.model_copy(update={"architecture": windows}))
    assert not rated_site.models.exists(), "kept for predict and watch, which cannot use it"


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_every_model_of_frames_takes_part_in_a_round(
    rated_site: Site, ask: Ask, kind: Literal["rnn", "lstm", "gru"], bidirectional: bool
) -> None:
    chosen = Architecture(kind=kind, hidden_units=4, layers=1, bidirectional=bidirectional, residual=True)
    weights, order = weights_of(build(chosen, 1)), ORDER.model_copy(update={"architecture": chosen})
    update = ask("train", order, weights).content[ARRAYS]
    assert isinstance(update, ArrayRecord)
    assert norm_of(from_record(update, chosen)) > 1e-3
    assert len(unpack(ask("evaluate", order, weights).content, EvaluateReport).recordings) == 2


def test_orders_without_fitting_weights_are_refused(rated_site: Site, ask: Ask) -> None:
    with pytest.raises(FederationError, match="without the global weights"):
        ask("train", weights=None)
    with pytest.raises(UpdateRejectedError):
        ask("train", weights=weights_of(build(Architecture(hidden_units=9, layers=1), 1)))
    spoilt = {name: np.full_like(array, np.nan) for name, array in GLOBAL.items()}
    with pytest.raises(UpdateRejectedError, match="NaN"):
        ask("train", weights=spoilt)


def test_a_node_that_names_no_site_is_refused(make_order: Callable[[RecordDict, str], Message]) -> None:
    content = RecordDict({DOCUMENT: pack(ORDER), ARRAYS: to_record(GLOBAL)})
    context = Context(run_id=42, node_id=3, node_config={}, state=RecordDict(), run_config={})
    with pytest.raises(SettingsError, match='site-dir="DIR"'):
        app(make_order(content, "train"), context)
