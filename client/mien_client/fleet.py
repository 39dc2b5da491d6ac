"""The site's side of Flower's Fleet API, over gRPC with TLS and the site's own key.

The one file that imports Flower's private modules, so that the next release is one file's work;
``tests/client/test_fleet_contract.py`` holds what we rely on. It speaks the same calls as Flower's
own SuperNode (``flwr.client.grpc_rere_client.connection``), which cannot be used as it is: it ends the
whole process when a connection fails, and an agent has to wait and come back.

Enters: messages of the server, size-bounded. Leaves: only a :class:`~mien_client.outbox.Parcel`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
import numpy as np
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.message.message import remove_content_from_message
from flwr.client.grpc_rere_client.node_auth_client_interceptor import NodeAuthClientInterceptor
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import FlowerError
from flwr.supercore.grpc import create_channel
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supercore.interceptors import RuntimeVersionClientInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from google.protobuf.message import DecodeError
from safetensors import SafetensorError

from mien_common.errors import FederationError, InputError, TrustError
from mien_common.files import read_bounded, write_atomic

from .outbox import Parcel
from .tls import ServerUnreachableError

log = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 30.0
MESSAGE_LIMIT_BYTES: Final = 600 * 1024 * 1024
"""Largest gRPC message and largest order in all, bytes."""
ANNOUNCEMENT_LIMIT_BYTES: Final = 1024 * 1024
OBJECT_LIMIT: Final = 256
"""Most objects in one order; ours have about eight."""

HEARTBEAT_S: Final = 10.0
"""Announced interval. The server counts a site offline after twice this without a sign of life."""
HEARTBEAT_EVERY_S: Final = 4.0

_ACTIVATION_FAILED: Final = 2004
"""Flower's code both for a key that is not enrolled and for a node that is still counted online."""

Reply = TypeVar("Reply")


class RunEndedError(FederationError):
    """The run that a message belongs to is over; its answer is not wanted any more."""


class OrderDamagedError(FederationError):
    """An order that could not be fetched whole, or is too large."""


@dataclass(frozen=True)
class Order:
    """A message of the server, whole, and what is needed to keep it across a crash."""

    message: Message
    contents: dict[str, bytes]
    """Flower's objects by id, as they came."""
    root: str


class Fleet:
    """An active connection to the server's Fleet API.

    Parameters
    ----------
    server : HOST:PORT.
    root_certificate : PEM of the only authority to trust.
    key : the site's private key; every call is signed with it.
    state : folder of what a crash must not lose: the node id, and an order announced but not yet here.

    Raises
    ------
    TrustError
        The key is not enrolled, or the clock is too far off for a signature to be accepted.
    ServerUnreachableError
        The server cannot be reached, or still counts an earlier agent of this site as online.
    """

    def __init__(
        self, server: str, root_certificate: bytes, key: ec.EllipticCurvePrivateKey, state: Path
    ) -> None:
        self._public_key = public_key_to_bytes(key.public_key())
        self._channel = create_channel(
            server_address=server,
            insecure=False,
            root_certificates=root_certificate,
            max_message_length=MESSAGE_LIMIT_BYTES,
            interceptors=[
                RuntimeVersionClientInterceptor(component_name="SuperNode"),
                NodeAuthClientInterceptor(key, key.public_key()),
            ],
        )
        self._stub = FleetStub(self._channel)
        self._announced = state / "announced"
        self._stopped = threading.Event()
        self._lost = threading.Event()
        try:
            self._node = Node(node_id=self._activate(state / "node-id"))
        except BaseException:
            self._channel.close()
            raise
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Going offline, even for a moment, makes the server give up on what it asked of this site.
        self.close(for_good=not isinstance(error, ServerUnreachableError))

    @property
    def node_id(self) -> int:
        """Flower's id of this site's node."""
        return int(self._node.node_id)

    def close(self, for_good: bool = True) -> None:
        """Close the connection; leaving for good, tell the server that this site goes offline."""
        self._stopped.set()
        self._heart.join(timeout=CALL_TIMEOUT_S)
        try:
            if for_good:
                self._call(self._stub.DeactivateNode, DeactivateNodeRequest(node_id=self._node.node_id), 5.0)
        except (FederationError, TrustError) as error:
            log.info("leave server=unreachable reason=%s", error)
        finally:
            self._channel.close()

    def receive(self) -> Order | None:
        """The next order, or None when there is none now.

        The server hands an order out once. So its announcement is on disk before its parts are fetched,
        and stays there until :meth:`confirm`, also when the connection is lost in between.

        Raises
        ------
        ServerUnreachableError, TrustError, RunEndedError, OrderDamagedError
        """
        if self._lost.is_set():
            raise ServerUnreachableError("the server does not count this site as online any more")
        response = _read_announcement(self._announced)
        if response is None:
            response = self._call(self._stub.PullMessages, PullMessagesRequest(node=self._node))
            if not response.messages_list:
                return None
            write_atomic(self._announced, response.SerializeToString(), mode=0o600)
        try:
            return self._fetch(response)
        except (OrderDamagedError, RunEndedError):
            self._announced.unlink(missing_ok=True)
            raise

    def confirm(self, order: Order) -> None:
        """Tell the server that an order has arrived and is kept here; it forgets its parts then.

        Raises
        ------
        ServerUnreachableError, TrustError, RunEndedError
        """
        self._announced.unlink(missing_ok=True)
        confirmation = ConfirmMessageReceivedRequest(
            node=self._node, run_id=order.message.metadata.run_id, message_object_id=order.root
        )
        self._call(self._stub.ConfirmMessageReceived, confirmation)

    def _fetch(self, response: PullMessagesResponse) -> Order:
        """The announced order, whole."""
        run_id = response.messages_list[0].metadata.run_id
        tree = response.message_object_trees[0]
        wanted = [item.object_id for item in iterate_object_tree(tree)]
        if len(wanted) > OBJECT_LIMIT:
            raise OrderDamagedError(f"an order of {len(wanted)} objects; at most {OBJECT_LIMIT} are taken")
        fetch = make_pull_object_fn_protobuf(self._bounded_pull(), self._node, run_id)
        with _grpc_errors():
            try:
                contents = pull_objects(wanted, fetch, initial_backoff=0.02)
            except ObjectPullError as error:
                raise OrderDamagedError(f"an order could not be fetched whole: {error}") from error
        return _order(contents, tree.object_id)

    def send(self, parcel: Parcel, seconds: float) -> None:
        """Send a checked reply; ``seconds`` is what the work took.

        Raises
        ------
        ServerUnreachableError, TrustError, RunEndedError
        """
        message = parcel.message
        message.metadata.__dict__["_message_id"] = message.object_id
        with no_object_id_recompute():
            tree, objects = get_object_tree(message), get_all_nested_objects(message)
            request = PushMessagesRequest(
                node=self._node,
                messages_list=[message_to_proto(remove_content_from_message(message))],
                message_object_trees=[tree],
                clientapp_runtime_list=[seconds],
            )
            response = self._call(self._stub.PushMessages, request)
            wanted = set(response.objects_to_push)
            push = make_push_object_fn_protobuf(
                self._timed(self._stub.PushObject), self._node, message.metadata.run_id, response.session_id
            )
            pieces = (
                (item.object_id, objects[item.object_id].deflate())
                for item in iterate_object_tree(tree)
                if item.object_id in wanted
            )
            with _grpc_errors():
                try:
                    push_object_contents_from_iterable(pieces, push)
                except ObjectPushError as error:
                    raise RunEndedError(f"the server does not take the reply any more: {error}") from error

    def _activate(self, node_file: Path) -> int:
        request = ActivateNodeRequest(public_key=self._public_key, heartbeat_interval=HEARTBEAT_S)
        stale = _read_node_id(node_file)
        try:
            node_id = int(self._call(self._stub.ActivateNode, request).node_id)
        except _ActivationRefusedError as error:
            if stale is None:
                raise TrustError(
                    "the server does not know this site's key. Ask its operator for a code (mien server "
                    "invite) and run: mien agent join CODE. Or have keys/site.pub enrolled: mien server enrol"
                ) from error
            node_id = self._take_over(stale, request)
        write_atomic(node_file, f"{node_id}\n".encode(), mode=0o600)
        return node_id

    def _take_over(self, stale: int, request: ActivateNodeRequest) -> int:
        """Go on with the session an earlier connection of this site left open; else end it and begin anew."""
        heartbeat = SendNodeHeartbeatRequest(node=Node(node_id=stale), heartbeat_interval=HEARTBEAT_S)
        try:
            if self._call(self._stub.SendNodeHeartbeat, heartbeat).success:
                return stale
            self._call(self._stub.DeactivateNode, DeactivateNodeRequest(node_id=stale))
            return int(self._call(self._stub.ActivateNode, request).node_id)
        except (_ActivationRefusedError, TrustError) as error:
            raise TrustError(
                "the server does not know this site's key any more. If it was revoked, ask its operator for "
                "a code (mien server invite) and run: mien agent join CODE --new-key"
            ) from error

    def _beat(self) -> None:
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_S)
        while not self._stopped.wait(HEARTBEAT_EVERY_S):
            try:
                if not self._call(self._stub.SendNodeHeartbeat, request, HEARTBEAT_EVERY_S).success:
                    self._lost.set()
            except ServerUnreachableError:
                continue  # the main thread meets the same trouble and says so
            except (FederationError, TrustError):
                self._lost.set()

    def _call(self, method: Callable[..., Any], request: object, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        with _grpc_errors():
            return method(request, timeout=timeout_s)

    def _timed(self, method: Callable[..., Reply]) -> Callable[[object], Reply]:
        return lambda request: method(request, timeout=CALL_TIMEOUT_S)

    def _bounded_pull(self) -> Callable[[PullObjectRequest], PullObjectResponse]:
        """PullObject that gives up once an order passes the size limit."""
        total, lock = [0], threading.Lock()

        def pull(request: PullObjectRequest) -> PullObjectResponse:
            response = self._stub.PullObject(request, timeout=CALL_TIMEOUT_S)
            with lock:
                total[0] += len(response.object_content)
                if total[0] > MESSAGE_LIMIT_BYTES:
                    raise OrderDamagedError(f"an order larger than {MESSAGE_LIMIT_BYTES} bytes was not taken")
            return response

        return pull


def keep_order(path: Path, order: Order) -> None:
    """Keep an order on disk until it is answered, in safetensors: nothing on disk is ever executed."""
    parts = {
        f"{'root' if name == order.root else 'part'}/{name}": np.frombuffer(content, np.uint8)
        for name, content in order.contents.items()
    }
    write_atomic(path, safetensors.numpy.save(parts), mode=0o600)


def kept_order(path: Path) -> Order | None:
    """The order that was not answered before a crash, if there is one that can be read."""
    if not path.exists():
        return None
    try:
        parts = safetensors.numpy.load(read_bounded(path, MESSAGE_LIMIT_BYTES))
        (root,) = [name.partition("/")[2] for name in parts if name.startswith("root/")]
        return _order({name.partition("/")[2]: part.tobytes() for name, part in parts.items()}, root)
    except (InputError, SafetensorError, OrderDamagedError, ValueError) as error:
        log.warning("replay order=unreadable file=%s reason=%s", path, error)
        path.unlink(missing_ok=True)
        return None


def _order(contents: dict[str, bytes], root: str) -> Order:
    try:
        message = inflate_object_from_contents(root, dict(contents))
    except (KeyError, ValueError, TypeError, AttributeError, DecodeError) as error:
        raise OrderDamagedError(f"an order cannot be decoded: {error!r}") from error
    if not isinstance(message, Message):
        raise OrderDamagedError(f"an order is a {type(message).__name__}, not a message")
    message.metadata.__dict__["_message_id"] = root  # the reply names it, and Flower leaves it empty
    return Order(message, contents, root)


def _read_announcement(path: Path) -> PullMessagesResponse | None:
    """The announcement of an order that was not fetched before the connection was lost."""
    if not path.exists():
        return None
    try:
        kept = PullMessagesResponse.FromString(read_bounded(path, ANNOUNCEMENT_LIMIT_BYTES))
    except (InputError, DecodeError) as error:
        log.warning("announcement=unreadable file=%s reason=%s", path, error)
        path.unlink(missing_ok=True)
        return None
    return kept if kept.messages_list and kept.message_object_trees else None


def _read_node_id(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


class _ActivationRefusedError(FederationError):
    """Unknown key, or a session that is still open."""


@contextmanager
def _grpc_errors() -> Iterator[None]:
    """gRPC's and Flower's errors as ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise _translated(error) from error


def _translated(error: grpc.RpcError) -> Exception:
    code, details = error.code(), error.details() or ""
    known = FlowerError.from_json(details)
    if known is not None and known.code == _ACTIVATION_FAILED:
        return _ActivationRefusedError(known.message)
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return RunEndedError(known.message if known is not None else details)
    if code == grpc.StatusCode.UNAUTHENTICATED:
        if "timestamp" in details:
            return TrustError(
                "the server refuses this machine's clock: set the right time (NTP) and join again"
            )
        return TrustError(
            f"the server refuses this site's key ({details}). Was it revoked? Ask its "
            "operator, or: mien agent doctor"
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return ServerUnreachableError(f"the server cannot be reached: {details}")
    return ServerUnreachableError(f"the server failed: {code.name} {details}")
