"""A caller under another number, between telephones (baresip) and through Kamailio: dialogs stay whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.configuration import LONDON, configuration, provider, trunk
from tests.e2e.interop.baresip import Baresip
from tests.e2e.interop.installed import needs_program
from tests.e2e.interop.kamailio import Kamailio
from tests.e2e.interop.test_baresip import direction, hears
from tests.e2e.ports import PROVIDER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.waiting import eventually

DESK, EDGE, FAR_EDGE = "127.0.0.10", "127.0.0.50", "127.0.0.60"
CLI, SHOWN = "+12025550117", "+442079460500"


@dataclass
class Line:
    """Two telephones with us and Kamailio between them."""

    proxy: Trunkwarden
    desk: Baresip
    carrier: Baresip

    def call(self) -> None:
        """A call that the carrier has answered."""
        self.desk.forget()
        self.carrier.forget()
        self.desk.command("dial", f"sip:{LONDON}@127.0.0.1")
        incoming = self.carrier.expect("CALL_INCOMING")
        assert f"sip:{SHOWN}@" in incoming["peeruri"]
        assert CLI not in str(incoming)
        self.carrier.command("accept")
        self.desk.expect("CALL_ESTABLISHED")
        self.carrier.expect("CALL_ESTABLISHED")


@pytest.fixture(scope="module", params=["before", "behind"])
def line(request, serve_module, redis_server, tmp_path_factory) -> Iterator[Line]:
    needs_program("baresip", "baresip-core")
    needs_program("kamailio", "kamailio")
    folder = tmp_path_factory.mktemp("replaced")
    started: list[Baresip | Kamailio] = []
    try:
        carrier = Baresip(folder / "carrier", PROVIDER, LONDON, "sip:127.0.0.1:9", media_port=25_000)
        started.append(carrier)
        next_hop = carrier.address
        if request.param == "behind":
            behind = Kamailio(folder / "behind", FAR_EDGE, next_hop)
            started.append(behind)
            next_hop = behind.address
        proxy = serve_module(
            configuration(
                folder,
                redis_server.url,
                [provider("carrier", next_hop)],
                [
                    trunk(
                        f"replaced-{request.param}", DESK, allowed_sip_ips=[DESK, EDGE],
                        on_cli_mismatch_action="replace_cli", default_did=SHOWN,
                    )
                ],
                timers={"no_answer_seconds": 20, "t1_ms": 300, "provider_response_seconds": 5},
            )
        )  # fmt: skip
        entry = proxy.sockets["udp"]
        if request.param == "before":
            before = Kamailio(folder / "before", EDGE, entry)
            started.append(before)
            entry = before.address
        desk = Baresip(folder / "desk", DESK, CLI, f"sip:{entry[0]}:{entry[1]}", media_port=26_000)
        started.append(desk)
        yield Line(proxy, desk, carrier)
    finally:
        for one in started:
            one.stop()


@pytest.fixture(autouse=True)
def _nothing_is_left(line: Line) -> Iterator[None]:
    yield
    line.desk.end_calls()
    line.carrier.end_calls()
    line.proxy.wait_until_idle()


def test_each_side_knows_one_number(line: Line) -> None:
    """In all that the telephones print, which is every message: also the carrier's re-INVITE and BYE. What is
    said of media is between the telephones: baresip's has an `a=ssrc` line with its address."""
    line.call()
    line.carrier.command("hold")
    eventually(lambda: direction(line.desk) != "sendrecv", what="the hold at the desk")
    line.carrier.command("hangup")
    line.desk.expect("CALL_CLOSED")

    assert "BYE sip:" in line.desk.printed()
    assert SHOWN not in line.desk.printed()
    assert SHOWN in line.carrier.printed()
    messages = [each for each in line.carrier.printed().splitlines() if not each.startswith("a=")]
    assert not [each for each in messages if CLI in each]


def test_caller_hangs_up(line: Line) -> None:
    line.call()
    hears(line.carrier)

    line.desk.command("hangup")

    line.carrier.expect("CALL_CLOSED")


def test_callee_hangs_up(line: Line) -> None:
    line.call()

    line.carrier.command("hangup")

    line.desk.expect("CALL_CLOSED")


def test_either_side_renegotiates(line: Line) -> None:
    line.call()
    for one, other in ((line.desk, line.carrier), (line.carrier, line.desk)):
        one.command("hold")
        eventually(lambda other=other: direction(other) != "sendrecv", what="the hold at the far end")
        one.command("resume")
        eventually(lambda other=other: direction(other) == "sendrecv", what="the far end off hold")
    hears(line.desk)


def test_we_hang_up(line: Line) -> None:
    line.call()
    (call,) = line.proxy.calls()

    line.proxy.http.request("DELETE", f"/v1/calls/{call['ref']}")

    line.desk.expect("CALL_CLOSED")
    line.carrier.expect("CALL_CLOSED")
