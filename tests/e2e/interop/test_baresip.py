"""baresip calls baresip through us: telephones with audio, over UDP, TCP and TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.e2e.configuration import LONDON, PARIS
from tests.e2e.interop.baresip import Baresip
from tests.e2e.interop.installed import needs_program
from tests.e2e.interop.three_transports import POOR, PREFIXES, TRANSPORTS, three_transports
from tests.e2e.ports import PROVIDER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
CLI = "+12025550117"
PACKETS = 20  # of 20 ms each
CUT_OFF_SECONDS = 12.0
OVER_ALL = pytest.mark.parametrize("transport", TRANSPORTS)


@dataclass
class Line:
    """The proxy between two telephones; the desk's speaks the transport of its name."""

    proxy: Trunkwarden
    desks: dict[str, Baresip]
    carrier: Baresip

    def dial(self, number: str, transport: str = "udp", prefix: str | None = None) -> Baresip:
        """The desk dials `number`, and our way to the carrier has the same transport."""
        self.carrier.forget()
        desk = self.desks[transport]
        desk.forget()
        dialled = (PREFIXES[transport] if prefix is None else prefix) + number
        desk.command("dial", f"sip:{dialled}@127.0.0.1")
        return desk

    def call(self, transport: str = "udp", prefix: str | None = None) -> Baresip:
        """A call that the carrier has answered: the desk's side."""
        desk = self.dial(LONDON, transport, prefix)
        self.carrier.expect("CALL_INCOMING")
        self.carrier.command("accept")
        desk.expect("CALL_ESTABLISHED")
        self.carrier.expect("CALL_ESTABLISHED")
        return desk


@pytest.fixture(scope="module")
def line(serve_module, redis_server, trusted, tmp_path_factory) -> Iterator[Line]:
    needs_program("baresip", "baresip-core")
    folder = tmp_path_factory.mktemp("baresip")
    tls = (trusted.both, trusted.authority)
    carrier = Baresip(folder / "carrier", PROVIDER, LONDON, "sip:127.0.0.1:9", tls=tls, media_port=23_000)
    phones = [carrier]
    try:
        host, port = carrier.address
        ways = {"udp": (host, port), "tcp": (host, port), "tls": (host, port + 1)}
        # Over a stream it calls from whatever address the system chooses.
        config = three_transports(folder, redis_server.url, [DESK, "127.0.0.1"], ways, trusted, "baresip")
        proxy = serve_module(config)
        desks = {}
        for transport in TRANSPORTS:
            outbound = f"sip:127.0.0.1:{proxy.sockets[transport][1]};transport={transport}"
            desk = Baresip(
                folder / transport, DESK, CLI, outbound, tls=tls, media_port=21_000 + 500 * len(phones)
            )
            phones.append(desk)
            desks[transport] = desk
        yield Line(proxy, desks, carrier)
    finally:
        for phone in phones:
            phone.stop()


@pytest.fixture(autouse=True)
def _nothing_is_left(line: Line) -> Iterator[None]:
    yield
    for phone in (*line.desks.values(), line.carrier):
        phone.end_calls()
    line.proxy.wait_until_idle()


def packets_heard(phone: Baresip) -> int:
    """RTP packets that the telephone has received in its call."""
    found = re.search(r"rcvd=(\d+)", phone.command("audio_debug"))
    return 0 if found is None else int(found[1])


def hears(phone: Baresip) -> None:
    """Audio arrives."""
    before = packets_heard(phone)
    eventually(lambda: packets_heard(phone) >= before + PACKETS, 10.0, "the audio")


def direction(phone: Baresip) -> str:
    """Of the audio, as the telephone has negotiated it."""
    found = re.search(r"audio dir=(\w+)", phone.command("audio_debug"))
    return "" if found is None else found[1]


@OVER_ALL
def test_audio_flows_until_the_caller_hangs_up(line: Line, transport: str) -> None:
    desk = line.call(transport)
    hears(desk)
    hears(line.carrier)

    desk.command("hangup")

    line.carrier.expect("CALL_CLOSED")


@OVER_ALL
def test_callee_hangs_up(line: Line, transport: str) -> None:
    desk = line.call(transport)

    line.carrier.command("hangup")

    desk.expect("CALL_CLOSED")


@OVER_ALL
def test_we_hang_up(line: Line, transport: str) -> None:
    """The panic button: both telephones accept our BYE."""
    desk = line.call(transport)
    trunk = f"baresip-{transport}"

    line.proxy.http.request("DELETE", "/v1/calls", params={"trunk": trunk})

    desk.expect("CALL_CLOSED")
    line.carrier.expect("CALL_CLOSED")
    line.proxy.wait_until_idle(trunk)


def test_cut_off_when_the_money_ends(line: Line) -> None:
    desk = line.call(prefix=POOR)
    hears(line.carrier)

    desk.expect("CALL_CLOSED", CUT_OFF_SECONDS)
    line.carrier.expect("CALL_CLOSED", CUT_OFF_SECONDS)

    line.proxy.wait_until_idle("baresip-poor")
    assert Decimal("0.052") <= Decimal(line.proxy.usage("baresip-poor")["spent_amount"]) <= Decimal("0.053")


@OVER_ALL
def test_hold_and_resume(line: Line, transport: str) -> None:
    desk = line.call(transport)
    hears(line.carrier)

    desk.command("hold")
    eventually(lambda: direction(line.carrier) != "sendrecv", what="the hold at the far end")
    desk.command("resume")
    eventually(lambda: direction(line.carrier) == "sendrecv", what="the far end off hold")
    hears(desk)


def test_callee_holds(line: Line) -> None:
    desk = line.call()
    hears(desk)

    line.carrier.command("hold")
    eventually(lambda: direction(desk) != "sendrecv", what="the hold at the desk")
    line.carrier.command("resume")
    eventually(lambda: direction(desk) == "sendrecv", what="the desk off hold")


def test_digits_in_the_audio(line: Line) -> None:
    """RFC 4733."""
    desk = line.call()
    hears(line.carrier)

    desk.command("sndcode", "5")

    assert line.carrier.expect("CALL_DTMF_START")["param"] == "5"


def test_caller_gives_up(line: Line) -> None:
    desk = line.dial(LONDON)
    desk.expect("CALL_RINGING")

    desk.command("hangup")

    line.carrier.expect("CALL_CLOSED")


@OVER_ALL
def test_callee_declines(line: Line, transport: str) -> None:
    desk = line.dial(LONDON, transport)
    line.carrier.expect("CALL_INCOMING")

    line.carrier.command("hangup")

    assert "486" in desk.expect("CALL_CLOSED")["param"]


@OVER_ALL
def test_refusal_is_shown(line: Line, transport: str) -> None:
    desk = line.dial(PARIS, transport)

    assert desk.expect("CALL_CLOSED")["param"] == "403 Destination Country Not Whitelisted"


def test_transfer_is_refused(line: Line) -> None:
    """baresip itself hangs up then."""
    desk = line.call()

    desk.command("transfer", "sip:+19005550123@127.0.0.1")

    assert desk.expect("TRANSFER_FAILED")["param"] == "403 Transfer Not Allowed"
    line.carrier.expect("CALL_CLOSED")
