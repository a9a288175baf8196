"""A carrier that wants credentials, as Kamailio is one: with each request, and to register us."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.interop.installed import needs_program
from tests.e2e.interop.kamailio import Kamailio
from tests.e2e.interop.registrar import REALM, registrar
from tests.e2e.peer import Peer
from tests.e2e.sip_text import SDP, Message, answer, fresh, host_port, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.long

DESK, MISTAKEN, EDGE = "127.0.0.10", "127.0.0.11", "127.0.0.60"
USER, PASSWORD = "customer7", "canary secret"
SECONDS = 8  # that the carrier remembers us, however long we ask for
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass
class Line:
    proxy: Trunkwarden
    edge: Kamailio
    carrier: Peer
    phones: list[Peer]
    trunk: str
    asking: Peer | None = None

    def phone(self, host: str = DESK) -> Peer:
        self.phones.append(Peer(host))
        return self.phones[-1]

    def dial(self, host: str = DESK) -> OutgoingCall:
        return OutgoingCall(self.phone(host), self.proxy.address, WASHINGTON).send()

    def arrived(self, call: OutgoingCall) -> IncomingCall:
        """The call at the carrier's telephone, after the edge has asked who calls and was told."""
        far_end = incoming(self.carrier, self.edge.address, call)
        # The second try: the first one was asked for credentials.
        assert far_end.invite.one("cseq") == "2 INVITE"
        return far_end

    def registered(self, user: str = USER) -> Message:
        """What the carrier says of our registration."""
        if self.asking is None:
            self.asking = self.phone("127.0.0.70")
        peer, call_id = self.asking, fresh("ask")
        uri = f"sip:{user}@{host_port(self.edge.address)}"
        headers = [
            ("Via", f"SIP/2.0/UDP {peer.host_port};rport;branch={fresh('z9hG4bK-ask')}"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:ask@{peer.host_port}>;tag={fresh('ask')}"),
            ("To", f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 OPTIONS"),
        ]
        peer.send(text(f"OPTIONS {uri} SIP/2.0", headers), self.edge.address)
        return peer.expect_final("OPTIONS", call_id=call_id)


@pytest.fixture(scope="module", params=HASHES)
def line(request, serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Line]:
    needs_program("kamailio", "kamailio")
    folder = tmp_path_factory.mktemp("registrar")
    ha1 = HASHES[request.param](f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
    edge = registrar(folder / "edge", EDGE, provider.address, ha1, algorithm=request.param, seconds=SECONDS)
    phones: list[Peer] = []
    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "mistaken").write_text("something else")
        login = {"realm": REALM, "register_seconds": 300}
        known = {**login, "username": USER, "password_file": str(folder / "password")}
        unknown = {**login, "username": "customer8", "password_file": str(folder / "mistaken")}
        config = configuration(
            folder,
            redis_server.url,
            [
                provider_entry("carrier", edge.address, **known),
                provider_entry("mistaken", edge.address, **unknown),
            ],
            [
                trunk(f"desk-{request.param}", DESK),
                trunk(f"mistaken-{request.param}", MISTAKEN, provider="mistaken"),
            ],
            timers={"no_answer_seconds": 20, "t1_ms": 300, "provider_response_seconds": 5},
        )
        yield Line(serve_module(config), edge, provider, phones, f"desk-{request.param}")
    finally:
        edge.stop()
        for phone in phones:
            phone.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(line: Line) -> Iterator[None]:
    yield
    line.proxy.wait_until_idle()


def test_registration_is_kept_up(line: Line) -> None:
    """The carrier remembers us for a few seconds, and never forgets us."""
    eventually(lambda: line.registered().status == 200, 10.0, "the registration")
    forgotten_at = time.monotonic() + SECONDS + 0.5
    first = int(line.registered().one("x-seq"))
    statuses = set()
    asked_at, stopped_at = time.monotonic(), 0.0

    def again() -> bool:
        nonlocal asked_at, stopped_at
        known, before, asked_at = line.registered(), asked_at, time.monotonic()
        if asked_at - before > 1.0:  # who was stopped for so long may have been forgotten meanwhile
            stopped_at = asked_at
        if asked_at - stopped_at > 1.0:
            statuses.add(known.status)
        return asked_at > forgotten_at and known.all("x-seq") not in ([], [str(first)])

    known = line.registered()
    eventually(again, 3.0 * SECONDS, "another registration")
    host, port = line.proxy.address
    assert known.one("x-contact") == f"sip:{USER}@{host}:{port}"
    assert statuses == {200}

    assert line.proxy.metric("trunkwarden_provider_registered", provider="carrier") == 1
    left = line.proxy.metric("trunkwarden_provider_registration_expires_seconds", provider="carrier")
    assert 0 < left <= SECONDS


def test_wrong_password_registers_nothing(line: Line) -> None:
    assert line.registered("customer8").status == 404
    assert line.proxy.metric("trunkwarden_provider_registered", provider="mistaken") == 0
    name = "trunkwarden_provider_registration_expires_seconds"
    assert line.proxy.metric(name, provider="mistaken") == 0


def test_the_caller_renegotiates_and_hangs_up(line: Line) -> None:
    """Each request of the call is asked for credentials, and answered for; the caller hears nothing of it."""
    call = line.dial()
    far_end = line.arrived(call)
    assert far_end.invite.all("proxy-authorization") == []  # the edge has taken them
    far_end.respond("180 Ringing")
    call.provisional(180)
    far_end.accept()
    dialog = call.answered()
    far_end.expect("ACK")
    assert line.proxy.usage(line.trunk)["active_calls"] == 1
    call.peer.send(dialog.request("INVITE", extra=_session(call), body=SDP), line.proxy.address)
    again = far_end.expect("INVITE")
    IncomingCall(line.carrier, line.edge.address, again).accept()
    ok = call.peer.expect_response(200, "INVITE", call_id=call.call_id)
    call.peer.send(dialog.request("ACK"), line.proxy.address)
    far_end.expect("ACK")

    hang_up(call, dialog, far_end)

    assert ok.one("cseq") == "2 INVITE"
    assert call.peer.count("INVITE", 407) == call.peer.count("BYE", 407) == 0


def _session(call: OutgoingCall) -> tuple[tuple[str, str], ...]:
    return (("Contact", f"<sip:desk@{call.peer.host_port}>"), ("Content-Type", "application/sdp"))


def test_the_callee_hangs_up(line: Line) -> None:
    call = line.dial()
    far_end = line.arrived(call)
    far_end.accept()
    call.answered()
    far_end.expect("ACK")

    line.carrier.send(far_end.dialog().request("BYE"), line.edge.address)

    bye = call.peer.expect_request("BYE", call_id=call.call_id)
    call.peer.send(answer(bye, "200 OK"), line.proxy.address)
    line.carrier.expect_response(200, "BYE", call_id=call.call_id)


def test_we_hang_up(line: Line) -> None:
    """A BYE of our own is asked for credentials, too."""
    call = line.dial()
    far_end = line.arrived(call)
    far_end.accept()
    call.answered()
    far_end.expect("ACK")

    line.proxy.http.request("DELETE", "/v1/calls", params={"trunk": line.trunk})

    far_end.reply(far_end.expect("BYE"))
    bye = call.peer.expect_request("BYE", call_id=call.call_id)
    call.peer.send(answer(bye, "200 OK"), line.proxy.address)


def test_the_caller_gives_up(line: Line) -> None:
    call = line.dial()
    far_end = line.arrived(call)
    far_end.respond("180 Ringing")
    call.provisional(180)

    call.cancel()

    cancel = far_end.expect("CANCEL")
    assert cancel.one("cseq") == "2 CANCEL"
    far_end.reply(cancel)
    far_end.respond("487 Request Terminated")
    assert call.final().status == 487


def test_wrong_password_calls_nobody(line: Line) -> None:
    """It is tried once; then the carrier's answer is the caller's."""
    call = line.dial(MISTAKEN)

    assert call.final().status == 407
    assert line.carrier.requests("INVITE", call.call_id) == []


def test_the_password_is_told_to_nobody(line: Line) -> None:
    for said in (line.proxy.stderr(), line.proxy.stdout(), line.proxy.http.get("/metrics").text):
        assert PASSWORD not in said
    assert PASSWORD not in line.edge.diagnostics()
