"""What we rely on of Flower's private modules, and that nothing anywhere is unpickled."""

import ast
import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flwr
import grpc
import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.app.message import message as flower_message
from flwr.client.grpc_rere_client import node_auth_client_interceptor as node_auth
from flwr.common import serde
from flwr.proto import fleet_pb2, fleet_pb2_grpc, heartbeat_pb2, message_pb2, node_pb2
from flwr.supercore import error as flower_error
from flwr.supercore import grpc as flower_grpc
from flwr.supercore import interceptors
from flwr.supercore.inflatable import inflatable_object, inflatable_protobuf_utils, inflatable_utils
from flwr.supercore.primitives import asymmetric
from hypothesis import given
from hypothesis import strategies as st

from mien_client import fleet
from mien_client.fleet import Fleet, Order, OrderDamagedError, RunEndedError, keep_order, kept_order
from mien_client.outbox import Outbox, Parcel
from mien_client.tls import ServerUnreachableError
from mien_common.architecture import Architecture
from mien_common.errors import FederationError, MienError, TrustError
from mien_common.messages import ARRAYS, DOCUMENT, RoundOrder, pack, unpack
from mien_common.network import build
from mien_common.weights import from_record, to_record, weights_of

MakeOrder = Callable[[RecordDict, str], Message]

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for room in ("client", "server", "common", "lab") for path in (ROOT / room).rglob("*.py")
)
SMALL = Architecture(hidden_units=2, layers=1)
WEIGHTS = weights_of(build(SMALL, 1))


def test_the_version_is_the_one_this_was_written_for() -> None:
    assert version("flwr") == "1.39.0"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            flower_grpc.create_channel,
            ["server_address", "insecure", "root_certificates", "max_message_length", "interceptors"],
        ),
        (node_auth.NodeAuthClientInterceptor, ["private_key", "public_key"]),
        (interceptors.RuntimeVersionClientInterceptor, ["component_name"]),
        (asymmetric.public_key_to_bytes, ["public_key"]),
        (serde.message_to_proto, ["message"]),
        (flower_message.remove_content_from_message, ["message"]),
        (inflatable_object.get_all_nested_objects, ["obj"]),
        (inflatable_object.get_object_tree, ["obj"]),
        (inflatable_object.iterate_object_tree, ["tree"]),
        (inflatable_object.no_object_id_recompute, []),
        (inflatable_protobuf_utils.make_pull_object_fn_protobuf, ["pull_object_protobuf", "node", "run_id"]),
        (
            inflatable_protobuf_utils.make_push_object_fn_protobuf,
            ["push_object_protobuf", "node", "run_id", "session_id"],
        ),
        (inflatable_utils.pull_objects, ["object_ids", "pull_object_fn", "initial_backoff"]),
        (inflatable_utils.inflate_object_from_contents, ["object_id", "object_contents"]),
        (inflatable_utils.push_object_contents_from_iterable, ["object_contents", "push_object_fn"]),
        (flower_error.FlowerError.from_json, ["value"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_private_function_takes_what_we_give_it(
    function: Callable[..., Any], parameters: list[str]
) -> None:
    known = inspect.signature(function).parameters
    positional = [name for name in known if name in parameters]
    assert positional == parameters, f"{function} has {list(known)}"
    required = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    assert set(required) <= set(parameters)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (fleet_pb2.ActivateNodeRequest, {"public_key", "heartbeat_interval"}),
        (fleet_pb2.ActivateNodeResponse, {"node_id"}),
        (fleet_pb2.DeactivateNodeRequest, {"node_id"}),
        (fleet_pb2.PullMessagesRequest, {"node"}),
        (fleet_pb2.PullMessagesResponse, {"messages_list", "message_object_trees"}),
        (
            fleet_pb2.PushMessagesRequest,
            {"node", "messages_list", "message_object_trees", "clientapp_runtime_list"},
        ),
        (fleet_pb2.PushMessagesResponse, {"objects_to_push", "session_id"}),
        (heartbeat_pb2.SendNodeHeartbeatRequest, {"node", "heartbeat_interval"}),
        (heartbeat_pb2.SendNodeHeartbeatResponse, {"success"}),
        (message_pb2.ConfirmMessageReceivedRequest, {"node", "run_id", "message_object_id"}),
        (message_pb2.PullObjectResponse, {"object_content"}),
        (message_pb2.ObjectTree, {"object_id", "children"}),
        (node_pb2.Node, {"node_id"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wire_message_has_the_fields_we_fill(kind: Any, fields: set[str]) -> None:
    assert fields <= {field.name for field in kind.DESCRIPTOR.fields}


def test_the_fleet_service_has_the_calls_we_make() -> None:
    channel = grpc.insecure_channel("127.0.0.1:9")
    stub = fleet_pb2_grpc.FleetStub(channel)
    calls = (
        *("ActivateNode", "DeactivateNode", "SendNodeHeartbeat", "PullMessages", "PushMessages"),
        *("PullObject", "PushObject", "ConfirmMessageReceived"),
    )
    assert all(callable(getattr(stub, call)) for call in calls)
    channel.close()


def test_only_one_file_of_the_client_imports_private_modules() -> None:
    public = ("flwr.app", "flwr.clientapp")
    private = set()
    for path in (ROOT / "client").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.split(".")[0] == "flwr" and name not in public for name in names):
                private.add(path.name)
    assert private == {"fleet.py"}


def test_nothing_of_ours_unpickles_or_evaluates() -> None:
    """Weights, orders and sessions come from elsewhere: nothing that is read may run."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    bad = any(alias.name.split(".")[0] in forbidden for alias in names)
                case ast.ImportFrom(module=str(module)):
                    bad = module.split(".")[0] in forbidden
                case ast.keyword(arg="allow_pickle", value=value):
                    bad = not (isinstance(value, ast.Constant) and value.value is False)
                case ast.Call(func=ast.Name(id="eval" | "exec" | "compile")):
                    bad = True
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch" | "np" | "numpy"), attr="load")):
                    bad = True
                case ast.Call(keywords=keywords):
                    bad = any(
                        keyword.arg == "shell" and getattr(keyword.value, "value", True) is not False
                        for keyword in keywords
                    )
                case _:
                    bad = False
            if bad:
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}")
    assert len(SOURCES) > 20
    assert found == []


def test_flower_itself_reads_arrays_without_pickle() -> None:
    source = (Path(flwr.__file__).parent / "app" / "message" / "array.py").read_text()
    assert "np.load(bytes_io, allow_pickle=False)" in source


def as_received(message: Message) -> Order:
    """The order as ``receive`` would hand it over."""
    with inflatable_object.no_object_id_recompute():
        contents = {
            name: item.deflate() for name, item in inflatable_object.get_all_nested_objects(message).items()
        }
        return fleet._order(contents, message.object_id)


@pytest.fixture(scope="session")
def order(make_order: MakeOrder) -> Order:
    document = pack(RoundOrder(architecture=SMALL, round=3, seed=9))
    return as_received(make_order(RecordDict({ARRAYS: to_record(WEIGHTS), DOCUMENT: document}), "train"))


def test_a_kept_order_comes_back_whole(tmp_path: Path, order: Order) -> None:
    path = tmp_path / "order.safetensors"
    keep_order(path, order)
    assert path.stat().st_mode & 0o077 == 0
    back = kept_order(path)
    assert back is not None
    assert (back.root, back.contents) == (order.root, order.contents)
    assert back.message.metadata.run_id == 42
    assert back.message.metadata.message_id == order.root
    assert unpack(back.message.content, RoundOrder).round == 3
    weights = from_record(back.message.content.array_records[ARRAYS], SMALL)
    assert all(np.array_equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)


def test_the_answer_to_a_kept_order_names_it(tmp_path: Path, order: Order) -> None:
    keep_order(tmp_path / "order", order)
    back = kept_order(tmp_path / "order")
    assert back is not None
    parcel = Outbox(tmp_path / "receipts").refuse(back.message, ValueError())
    assert parcel.message.metadata.reply_to_message_id == order.root
    assert parcel.receipt.message == order.root


def test_no_order_is_kept_where_there_is_none(tmp_path: Path) -> None:
    assert kept_order(tmp_path / "absent") is None


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), max_size=3), st.integers(0, 5000))
def test_a_damaged_order_is_dropped_not_obeyed(
    tmp_path_factory: pytest.TempPathFactory, order: Order, flips: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged-order"
    keep_order(path, order)
    content = bytearray(path.read_bytes())
    for place, flip in flips:
        content[place % len(content)] ^= flip
    path.write_bytes(content[: len(content) - cut % len(content)])
    back = kept_order(path)
    if back is None:
        assert not path.exists(), "an order that can never be read was kept"
    else:
        assert isinstance(back.message, Message)


@given(st.binary(max_size=300))
def test_no_bytes_make_an_order(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise-order"
    path.write_bytes(noise)
    assert kept_order(path) is None


@pytest.mark.parametrize("part", ["Message", "RecordDict", "ConfigRecord", "ArrayRecord", "Array"])
def test_an_order_with_a_damaged_part_is_refused(order: Order, part: str) -> None:
    """As a server that is broken, or worse, may send it."""
    name = next(name for name, content in order.contents.items() if content.startswith(part.encode() + b" "))
    head, body = order.contents[name].split(b"\0", 1)
    for damage in (b"", body[:-1], b"\xff" * len(body), body[::-1], b"{" + body):
        contents = order.contents | {name: head + b"\0" + damage}
        try:
            received = fleet._order(contents, order.root)
            unpack(received.message.content, RoundOrder)
            from_record(received.message.content.array_records[ARRAYS], SMALL)
        except (MienError, KeyError):
            continue
        assert damage != b"", "an empty part passed for a whole one"
    with pytest.raises(OrderDamagedError):
        fleet._order({key: value for key, value in order.contents.items() if key != name}, order.root)


def test_an_order_that_holds_itself_is_refused(order: Order) -> None:
    head, body = order.contents[order.root].split(b"\0", 1)
    kind, _, length = head.decode().split(" ")
    contents = order.contents | {order.root: f"{kind} {order.root} {length}".encode() + b"\0" + body}
    with pytest.raises(OrderDamagedError):
        fleet._order(contents, order.root)


class _RpcError(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__()
        self._known = code, details

    def code(self) -> grpc.StatusCode:
        return self._known[0]

    def details(self) -> str:
        return self._known[1]


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused", ServerUnreachableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", ServerUnreachableError),
        (grpc.StatusCode.INTERNAL, "boom", ServerUnreachableError),
        (grpc.StatusCode.UNAUTHENTICATED, "Invalid timestamp", TrustError),
        (grpc.StatusCode.UNAUTHENTICATED, "Invalid signature", TrustError),
        (grpc.StatusCode.PERMISSION_DENIED, "run is finished", RunEndedError),
        (grpc.StatusCode.UNKNOWN, "{not json", ServerUnreachableError),
    ],
)
def test_grpcs_errors_become_ours(code: grpc.StatusCode, details: str, kind: type[MienError]) -> None:
    translated = fleet._translated(_RpcError(code, details))
    assert type(translated) is kind
    if "timestamp" in details:
        assert "set the right time (NTP)" in str(translated)


def test_flowers_own_code_for_a_refused_activation_is_understood() -> None:
    codes = {int(code.value): code.name for code in flower_error.ApiErrorCode}
    assert "ACTIVAT" in codes[fleet._ACTIVATION_FAILED] or "NODE" in codes[fleet._ACTIVATION_FAILED]
    refused = flower_error.FlowerError(fleet._ACTIVATION_FAILED, "no such key")
    details = json.dumps(refused.to_json("no such key"))
    translated = fleet._translated(_RpcError(grpc.StatusCode.FAILED_PRECONDITION, details))
    assert isinstance(translated, FederationError)
    assert not isinstance(translated, ServerUnreachableError)


def test_only_a_parcel_can_be_sent() -> None:
    assert inspect.signature(Fleet.send).parameters["parcel"].annotation is Parcel
    senders = [
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(fleet)))
        if isinstance(node, ast.Attribute) and node.attr in {"PushMessages", "PushObject"}
    ]
    source = textwrap.dedent(inspect.getsource(Fleet.send))
    assert sorted(senders) == sorted(
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in {"PushMessages", "PushObject"}
    )
    assert len(senders) == 2


def test_flower_sends_no_telemetry_from_the_agent() -> None:
    """Importing what the agent imports makes no connection and starts no thread that could."""
    code = """
        import socket, threading
        def refuse(*arguments, **keywords):
            raise SystemExit("a connection was tried")
        socket.socket.connect = refuse
        socket.getaddrinfo = refuse
        import mien_client.agent
        print([thread.name for thread in threading.enumerate() if thread.name != "MainThread"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
