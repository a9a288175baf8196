"""PJSIP calls PJSIP through us, session timers and PRACK on, over UDP, TCP and TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.configuration import LONDON, PARIS
from tests.e2e.interop.installed import needs_module
from tests.e2e.interop.pjsip import Pjsip
from tests.e2e.interop.three_transports import POOR, PREFIXES, TRANSPORTS, three_transports
from tests.e2e.ports import PROVIDER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
CLI = "+12025550117"
PACKETS = 20
CUT_OFF_SECONDS = 12.0


@dataclass
class Line:
    """The proxy between two telephones that speak one transport."""

    proxy: Trunkwarden
    desk: Pjsip
    carrier: Pjsip
    transport: str

    def dial(self, number: str, prefix: str | None = None) -> None:
        """The desk dials."""
        dialled = (PREFIXES[self.transport] if prefix is None else prefix) + number
        self.desk.do("dial", to=f"sip:{dialled}@127.0.0.1")

    def call(self, prefix: str | None = None) -> None:
        """A call that the carrier has answered."""
        self.dial(LONDON, prefix)
        self.carrier.expect("incoming")
        self.desk.state("early")
        self.carrier.do("answer", status=200)
        self.carrier.state("confirmed")
        self.desk.state("confirmed")


@pytest.fixture(scope="module", params=TRANSPORTS)
def line(request, serve_module, redis_server, trusted, tmp_path_factory) -> Iterator[Line]:
    needs_module("pjsua2")
    transport = request.param
    folder = tmp_path_factory.mktemp("pjsip")
    # Over a stream its Contact names the address that its connections come from, which nothing binds.
    desk_host, far_host = (DESK, PROVIDER) if transport == "udp" else ("127.0.0.1", "127.0.0.1")
    common = {"transport": transport, "certificates": trusted}
    phones = []
    try:
        carrier = Pjsip(folder / "carrier", far_host, LONDON, **common)
        phones.append(carrier)
        ways = dict.fromkeys(TRANSPORTS, carrier.address)
        sources = [desk_host]
        config = three_transports(folder, redis_server.url, sources, ways, trusted, f"pjsip-{transport}")
        proxy = serve_module(config)
        way = f"sip:127.0.0.1:{proxy.sockets[transport][1]};transport={transport};lr"
        desk = Pjsip(folder / "desk", desk_host, CLI, proxy=way, media_port=26_000, **common)
        phones.append(desk)
        yield Line(proxy, desk, carrier, transport)
    finally:
        for phone in phones:
            phone.stop()


@pytest.fixture(autouse=True)
def _each_test_begins_and_ends_idle(line: Line) -> Iterator[None]:
    line.desk.forget()
    line.carrier.forget()
    yield
    line.desk.do("hangup")
    line.proxy.wait_until_idle()


def hears(phone: Pjsip) -> None:
    """Audio arrives."""
    before = phone.packets()
    eventually(lambda: phone.packets() >= before + PACKETS, 10.0, "the audio")


def test_audio_flows_until_the_caller_hangs_up(line: Line) -> None:
    line.call()
    hears(line.desk)
    hears(line.carrier)

    line.desk.do("hangup")

    line.carrier.state("disconnected")
    assert line.desk.state("disconnected")["status"] == 200


def test_callee_hangs_up(line: Line) -> None:
    line.call()

    line.carrier.do("hangup")

    line.desk.state("disconnected")
    line.carrier.state("disconnected")


def test_extensions_pass(line: Line) -> None:
    """RFC 4028 and RFC 3262: what one end asks for reaches the other, and its answer comes back."""
    line.call()

    invite = line.carrier.received("INVITE")[-1]
    assert int(invite.one("session-expires").partition(";")[0]) >= 90
    assert "100rel" in invite.one("require")
    answer = [one for one in line.desk.received("SIP/2.0 200") if one.method == "INVITE"][-1]
    assert int(answer.one("session-expires").partition(";")[0]) >= 90
    rung = [one for one in line.desk.received("SIP/2.0 180") if one.all("rseq")]
    assert rung
    assert line.carrier.received("PRACK")


@pytest.mark.parametrize("side", ["desk", "carrier"])
def test_session_refresh_by_update(line: Line, side: str) -> None:
    line.call()
    phone = getattr(line, side)
    before = len([one for one in phone.received("SIP/2.0 200") if one.method == "UPDATE"])

    phone.do("update")

    eventually(
        lambda: len([one for one in phone.received("SIP/2.0 200") if one.method == "UPDATE"]) > before,
        what="the answer to the UPDATE",
    )


def test_hold_and_resume(line: Line) -> None:
    line.call()

    line.desk.do("hold")
    line.carrier.expect("media", held=True)
    line.desk.expect("media", held=True)  # it has the answer by then: one offer at a time
    line.desk.do("resume")
    line.carrier.expect("media", held=False)
    hears(line.desk)


def test_digits_in_the_audio(line: Line) -> None:
    line.call()
    hears(line.carrier)

    line.desk.do("digit", digit="7")

    assert line.carrier.expect("digit")["digit"] == "7"


def test_caller_gives_up(line: Line) -> None:
    line.dial(LONDON)
    line.carrier.expect("incoming")
    line.desk.state("early")

    line.desk.do("hangup")

    assert line.desk.state("disconnected")["status"] == 487
    line.carrier.state("disconnected")


def test_callee_declines(line: Line) -> None:
    line.dial(LONDON)
    line.carrier.expect("incoming")
    line.desk.state("early")

    line.carrier.do("hangup", status=486)

    assert line.desk.state("disconnected")["status"] == 486


def test_refusal_shows_its_status_and_phrase(line: Line) -> None:
    line.dial(PARIS)

    ended = line.desk.state("disconnected")

    assert (ended["status"], ended["reason"]) == (403, "Destination Country Not Whitelisted")
    refusal = line.desk.received("SIP/2.0 403")[-1]
    assert refusal.one("reason") == 'Q.850;cause=21;text="Destination Country Not Whitelisted"'
    assert refusal.one("warning").startswith('399 trunkwarden "COUNTRY ')


def test_transfer_is_refused(line: Line) -> None:
    line.call()

    line.desk.do("transfer", to="sip:+19005550123@127.0.0.1")

    eventually(lambda: line.desk.received("SIP/2.0 403 Transfer Not Allowed"), what="the refusal")
    hears(line.desk)


def test_we_hang_up(line: Line) -> None:
    """Both ends accept our BYE, which says why."""
    line.call()
    trunk = f"pjsip-{line.transport}-{line.transport}"

    line.proxy.http.request("DELETE", "/v1/calls", params={"trunk": trunk})

    for phone in (line.desk, line.carrier):
        phone.state("disconnected")
        assert phone.received("BYE")[-1].one("reason")
    line.proxy.wait_until_idle(trunk)


def test_cut_off_when_the_money_ends(line: Line) -> None:
    if line.transport != "udp":
        pytest.skip("the money is the same over every transport")
    line.call(prefix=POOR)

    line.desk.state("disconnected", CUT_OFF_SECONDS)
    line.carrier.state("disconnected", CUT_OFF_SECONDS)

    assert "Spend" in line.desk.received("BYE")[-1].one("reason")
    line.proxy.wait_until_idle()
