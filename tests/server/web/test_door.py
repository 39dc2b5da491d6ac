"""The enrolment door under attack, over real TLS: who is no invited site is sent away, in bounds."""

import contextlib
import http.client
import json
import logging
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mien_common.enrolment_messages import BODY_LIMIT_BYTES, StandingRequest
from mien_common.invitation import Invitation, new_secret
from mien_common.site_keys import new_key, public_openssh, sign
from mien_server.folder import ServerFolder
from mien_server.membership.enrolment import enrol_key, read_sites, revoke
from mien_server.membership.invites import invite
from mien_server.server_events import events_file
from mien_server.web import door as door_module
from mien_server.web import enrolment_app
from mien_server.web import listener as listener_module
from mien_server.web.enrolment_app import REFUSED
from mien_server.web.listener import HEADER_LIMIT_BYTES
from mien_server.web.rate_limit import MOST_ADDRESSES, WrongTries, network_of
from tests.server.door_thread import SuperLink, now, open_door
from tests.server.membership.test_invites import HOUR, request


class Caller:
    """Somebody who connects, with trust in the server's authority."""

    def __init__(self, folder: ServerFolder) -> None:
        self.port = folder.settings.enrol_port
        self.context = ssl.create_default_context(cafile=str(folder.ca_certificate))

    def ask(self, path: str, body: bytes | str | None = None, method: str = "POST") -> tuple[int, Any]:
        """Status and JSON (or text) of one request."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def raw(self) -> ssl.SSLSocket:
        """An open connection that has said nothing yet."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture
def invitation(folder: ServerFolder) -> Invitation:
    return invite(folder, "lab-2", "127.0.0.1", HOUR, now())


@pytest.fixture
def patient() -> WrongTries:
    """A door that counts wrong tries and never minds."""
    return WrongTries(time.monotonic, per_address=10**6, in_all=10**6)


@pytest.fixture
def caller(folder: ServerFolder, patient: WrongTries) -> Iterator[Caller]:
    with open_door(folder, tries=patient):
        yield Caller(folder)


def test_a_day_at_the_door(caller: Caller, folder: ServerFolder, invitation: Invitation) -> None:
    assert caller.ask("/v1/health", method="GET") == (200, "ok\n")
    assert caller.ask("/v1/authority", method="GET") == (200, folder.ca_certificate.read_text())
    asked = request(invitation.secret).model_dump_json()
    status, answer = caller.ask("/v1/enrol", asked)
    assert (status, answer["name"], answer["port"]) == (200, "lab-2", folder.settings.port)
    assert caller.ask("/v1/enrol", asked)[0] == 200, "the same key may ask again"
    assert caller.ask("/v1/enrol", request(invitation.secret).model_dump_json()) == (403, {"error": REFUSED})


def test_replayed_forged_expired_and_withdrawn_codes_get_one_and_the_same_answer(
    caller: Caller, folder: ServerFolder
) -> None:
    def code(name: str, since: int = 0) -> bytes:
        return invite(folder, name, "127.0.0.1", HOUR, now() - since * HOUR).secret

    used, withdrawn, forged = code("lab-1"), code("lab-2"), code("lab-3")
    assert caller.ask("/v1/enrol", request(used).model_dump_json())[0] == 200
    revoke(folder, "lab-2", now())
    answers = [
        caller.ask("/v1/enrol", asked.model_dump_json())
        for asked in (
            request(used),
            request(withdrawn),
            request(code("lab-4", since=2)),
            request(new_secret()),
            request(forged, signed_for=new_secret()),
            request(forged).model_copy(update={"public_key": public_openssh(new_key().public_key())}),
        )
    ]
    assert answers == [(403, {"error": REFUSED})] * len(answers)
    assert [site.name for site in read_sites(folder)] == ["lab-1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 8000,
        b'{"secret":' * 1000,
        b"\xff\xfe\x00",
        b'{"secret": 5}',
        json.dumps({"secret": "0" * 32, "public_key": "../../etc/passwd", "signature": "A" * 96}).encode(),
        json.dumps(
            {"secret": "0" * 32, "public_key": "ssh-rsa " + "A" * 300, "signature": "A" * 96}
        ).encode(),
    ],
)
def test_what_is_no_request_is_400_and_repeats_nothing(caller: Caller, body: bytes) -> None:
    for path in ("/v1/enrol", "/v1/rotate", "/v1/standing"):
        assert caller.ask(path, body) == (400, {"error": "this is not a request of Mien's agent"})


@pytest.mark.parametrize("name", ["../lab", "lab/../../x", "", "a" * 4000, "lab\x00", "LAB"])
def test_path_tricks_in_a_name_are_400(caller: Caller, invitation: Invitation, name: str) -> None:
    asked = request(invitation.secret).model_dump() | {"name": name}
    assert caller.ask("/v1/enrol", json.dumps(asked))[0] == 400


@pytest.mark.parametrize("path", ["/", "/v1/enrol/../../sites.json", "/v1/%2e%2e/tls/ca.key", "//tls/ca.key"])
def test_there_is_nothing_else_behind_the_door(caller: Caller, path: str) -> None:
    status, answer = caller.ask(path, method="GET")
    assert (status, answer) == (404, {"error": "there is nothing here but Mien's enrolment"})
    assert caller.ask("/v1/enrol", method="GET")[0] == 405


def test_a_large_body_is_cut_off(caller: Caller) -> None:
    assert caller.ask("/v1/enrol", b"x" * (BODY_LIMIT_BYTES + 1))[0] == 413
    with caller.raw() as line:  # a body that never says how long it is, and goes on for ever
        line.sendall(b"POST /v1/enrol HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):  # it may hang up before it is heard
            for _ in range(2000):
                line.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            assert b" 413 " in line.recv(100)
    assert caller.ask("/v1/health", method="GET")[0] == 200


def test_large_headers_are_cut_off(caller: Caller) -> None:
    with caller.raw() as line:
        # One byte more than is taken: the server has read all of it when it hangs up, so that its answer
        # arrives. Of a longer one it may hang up in the middle of what is still being sent.
        line.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nX: ".ljust(HEADER_LIMIT_BYTES + 1, b"x"))
        assert line.recv(100).startswith(b"HTTP/1.1 400")


def test_slow_callers_are_hung_up_on(
    folder: ServerFolder, patient: WrongTries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word, with half a header, with half a body: each is cut within its time."""
    monkeypatch.setattr(listener_module, "HANDSHAKE_S", 2.0)
    monkeypatch.setattr(door_module, "CONNECTION_S", 3.0)
    monkeypatch.setattr(enrolment_app, "BODY_PATIENCE_S", 0.4)
    with open_door(folder, tries=patient):
        caller = Caller(folder)
        with socket.create_connection(("127.0.0.1", caller.port), timeout=60) as silent:
            assert silent.recv(1) == b""
        with caller.raw() as dawdler:
            dawdler.sendall(b"POST /v1/enrol HTTP/1.1\r\nHo")
            with contextlib.suppress(ConnectionError):
                assert dawdler.recv(1) == b""
        with caller.raw() as dawdler:
            dawdler.sendall(b"POST /v1/enrol HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{")
            assert dawdler.recv(100).startswith(b"HTTP/1.1 408")
        assert caller.ask("/v1/health", method="GET")[0] == 200, "and others are served"


def test_brute_force_is_stopped_and_a_right_code_does_not_show(
    folder: ServerFolder, invitation: Invitation
) -> None:
    seconds = [1000.0]
    with open_door(folder, tries=WrongTries(lambda: seconds[0], per_address=5)):
        caller = Caller(folder)
        wrong = [caller.ask("/v1/enrol", request(new_secret()).model_dump_json())[0] for _ in range(8)]
        assert wrong == [403] * 5 + [429] * 3
        right = request(invitation.secret).model_dump_json()
        assert caller.ask("/v1/enrol", right) == (
            429,
            {"error": "too many wrong tries. Wait 10 min and try again."},
        )
        assert read_sites(folder) == ()
        seconds[0] += 601
        assert caller.ask("/v1/enrol", right)[0] == 200
    recorded = [json.loads(line) for line in events_file(folder).read_text().splitlines()]
    refused = [event for event in recorded if event["event"] == "refused"]
    assert 1 <= len(refused) <= 2, "the journal does not grow by a flood"
    assert sum(event["count"] for event in refused) == 9
    assert {tuple(event) for event in refused} == {("event", "time", "how", "count")}, "not who it was"


def test_the_real_process_counts_refusals_up_to_its_end(folder: ServerFolder) -> None:
    with subprocess.Popen([sys.executable, "-m", "mien_server.web.door", str(folder.path)]) as process:
        try:
            caller, end = Caller(folder), time.monotonic() + 60
            while True:
                try:
                    assert caller.ask("/v1/health", method="GET")[0] == 200
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < end
                    time.sleep(0.05)
            for _ in range(3):
                assert caller.ask("/v1/enrol", "rubbish")[0] == 400
        finally:
            process.terminate()
        assert process.wait(60) == 0
    recorded = [json.loads(line) for line in events_file(folder).read_text().splitlines()]
    assert sum(event["count"] for event in recorded) == 3


def test_no_secret_reaches_a_log(
    folder: ServerFolder, invitation: Invitation, patient: WrongTries, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    superlink = SuperLink()
    superlink.failures = 1
    with open_door(folder, superlink, tries=patient):
        caller, key = Caller(folder), new_key()
        asked = request(invitation.secret, key)
        assert caller.ask("/v1/enrol", asked.model_dump_json())[0] == 503
        assert caller.ask("/v1/enrol", asked.model_dump_json())[0] == 200
        caller.ask("/v1/enrol", asked.model_dump_json()[:-1])
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):  # it may hang up before all is sent
            caller.ask("/v1/enrol", asked.model_dump_json() + " " * BODY_LIMIT_BYTES)
        caller.ask(f"/v1/{invitation.secret.hex()}?{invitation.secret.hex()}", method="GET")
        caller.ask("/v1/enrol", request(invitation.secret).model_dump_json())
    said = caplog.text + "".join(repr(record.__dict__) for record in caplog.records)
    assert "event=refused request=enrol address=127.0.0.1 status=403" in said
    for spelling in (invitation.secret.hex(), repr(invitation.secret), invitation.code().partition("/")[2]):
        assert spelling not in said
    assert asked.signature not in said


def test_a_server_that_is_not_ready_says_try_again(folder: ServerFolder, invitation: Invitation) -> None:
    superlink = SuperLink()
    superlink.failures = 1
    with open_door(folder, superlink):
        caller, asked = Caller(folder), request(invitation.secret).model_dump_json()
        assert caller.ask("/v1/enrol", asked)[0] == 503
        assert caller.ask("/v1/enrol", asked)[0] == 200
        assert superlink.registered == 1


def test_what_is_broken_inside_stays_inside(
    caller: Caller, folder: ServerFolder, invitation: Invitation, caplog: pytest.LogCaptureFixture
) -> None:
    folder.sites_file.write_text('{"sites": [{"name": 3}]}')
    for asked in (request(invitation.secret), request(new_secret())):
        status, answer = caller.ask("/v1/enrol", asked.model_dump_json())
        assert (status, answer) == (500, {"error": "the server failed. Tell its operator."})
    assert "sites.json is damaged" in caplog.text, "the operator is told more"


def test_only_the_holder_of_a_key_hears_how_it_stands(caller: Caller, folder: ServerFolder) -> None:
    key, other = new_key(), new_key()
    enrol_key(folder, public_openssh(key.public_key()), "lab-1", now(), "site.pub")

    def ask(signer: Any, public: Any, late_s: float = 0.0) -> tuple[int, Any]:
        line, time_ = public_openssh(public.public_key()), now() - HOUR / 3600 * late_s
        signature = sign(signer, StandingRequest.statement(line, time_))
        asked = StandingRequest(public_key=line, time=time_, signature=signature)
        return caller.ask("/v1/standing", asked.model_dump_json())

    status, answer = ask(key, key)
    assert (status, answer["name"], answer["state"]) == (200, "lab-1", "enrolled")
    revoke(folder, "lab-1", now())
    assert ask(key, key)[1]["state"] == "revoked"
    refusals = [ask(other, key), ask(other, other), ask(key, key, late_s=400), ask(key, key, late_s=-400)]
    assert refusals == [(403, {"error": REFUSED})] * 4


def test_the_limit_counts_networks_and_all_and_forgets() -> None:
    seconds = [0.0]
    tries = WrongTries(lambda: seconds[0], per_address=2, in_all=5, window_s=100)
    for address in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::ffff"):
        assert tries.wait_s(address) == 0
        tries.count(address)
    assert tries.wait_s("192.0.2.1") == 100
    assert tries.wait_s("::ffff:192.0.2.1") == 100, "the same machine in other clothes"
    assert tries.wait_s("2001:db8::2") == 100, "one /64 is one machine's"
    assert tries.wait_s("2001:db8:0:1::2") == 0
    seconds[0] = 40
    tries.count("198.51.100.9")
    assert tries.wait_s("203.0.113.7") == 60, "five in all"
    seconds[0] = 100.5
    assert tries.wait_s("192.0.2.1") == 0
    assert network_of("nonsense") == network_of("") == "unknown"


def test_the_limit_does_not_grow_without_end() -> None:
    tries = WrongTries(lambda: 1.0, in_all=10**9)
    for number in range(MOST_ADDRESSES + 100):
        tries.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(tries._by_address) == MOST_ADDRESSES
