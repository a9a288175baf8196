"""aiosipua: an independent user agent in Python, as caller over UDP and TCP, as callee over UDP.

Version 0.7.1 cannot do more behind a proxy: a caller keeps no route set (RFC 3261 §12.1.2), so that its ACK
and BYE name no dialog of ours, and a callee over TCP answers to the address in Via, not on the connection
that the request came by (§18.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from aiosipua import IncomingCall, OutgoingCall, SipUAC, SipUAS, build_sdp
from aiosipua.transport import SipTransport, TcpSipTransport, UdpSipTransport

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, provider, trunk
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.trunkwarden_process import Trunkwarden

DESK = "127.0.0.10"
CLI = "+12025550117"
LIMIT = 20.0
# What is repeated while it is slow it takes for something new.
NEVER_AGAIN = {"t1_ms": 4000, "provider_response_seconds": 20}
TRUNKS = {"udp": "aiosipua-udp", "tcp": "aiosipua-tcp"}
_TRANSPORTS = {"udp": UdpSipTransport, "tcp": TcpSipTransport}


class Phone:
    """Both sides of aiosipua on one socket; `said` is what happened, in order."""

    def __init__(self, transport: str, host: str, port: int = 0) -> None:
        self.transport: SipTransport = _TRANSPORTS[transport]()
        self.transport.local_addr = (host, port or free_udp_port(host))
        self.uac = SipUAC(self.transport)
        self.uas = SipUAS(self.transport, uac=self.uac)
        self.said: asyncio.Queue[tuple[str, IncomingCall | None]] = asyncio.Queue()
        self._called: set[str] = set()
        self.uas.on_invite = self._invited
        self.uas.on_bye = lambda call, *_: self.said.put_nowait(("bye", call))
        self.uas.on_cancel = lambda *_: self.said.put_nowait(("cancel", None))

    def _invited(self, call: IncomingCall) -> None:
        """It takes an INVITE that is sent again, because it was slow to answer, for another call."""
        if call.call_id not in self._called:
            self._called.add(call.call_id)
            self.said.put_nowait(("invite", call))

    @property
    def address(self) -> tuple[str, int]:
        return self.transport.local_addr

    async def hears(self, what: str) -> IncomingCall | None:
        """The next thing that happens, which must be this."""
        said, call = await asyncio.wait_for(self.said.get(), LIMIT)
        assert said == what
        return call


@dataclass
class Line:
    proxy: Trunkwarden
    desk: Phone
    carrier: Phone
    target: tuple[str, int]
    trunk: str

    def dial(self, number: str) -> OutgoingCall:
        return self.desk.uac.send_invite(
            f"sip:{CLI}@{DESK}", f"sip:{number}@{self.target[0]}:{self.target[1]}", self.target, sdp(DESK)
        )

    async def call(self) -> tuple[OutgoingCall, IncomingCall]:
        """A call that is up."""
        call = self.dial(WASHINGTON)
        far_end = await self.carrier.hears("invite")
        assert far_end is not None
        far_end.ringing()
        far_end.accept(sdp(PROVIDER))
        await call.wait_answered(LIMIT)
        return call, far_end


def sdp(host: str):
    """One PCMA stream."""
    return build_sdp(local_ip=host, rtp_port=30_000, payload_type=8, codec_name="PCMA")


@pytest.fixture(scope="module")
def place() -> tuple[str, int]:
    return PROVIDER, free_udp_port(PROVIDER)


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, tmp_path_factory, place) -> Trunkwarden:
    return serve_module(
        configuration(
            tmp_path_factory.mktemp("aiosipua"),
            redis_server.url,
            [provider("carrier", place)],
            # Over TCP it calls from the address that the system chooses.
            [trunk(TRUNKS["udp"], DESK), trunk(TRUNKS["tcp"], "127.0.0.1")],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
            timers=NEVER_AGAIN,
        )
    )


@pytest.fixture(params=["udp", "tcp"])
async def line(request, proxy: Trunkwarden, place: tuple[str, int]) -> AsyncIterator[Line]:
    desk, carrier = Phone(request.param, DESK), Phone("udp", *place)
    await desk.uas.start()
    await carrier.uas.start()
    target = proxy.sockets[request.param]
    if isinstance(desk.transport, TcpSipTransport):
        await desk.transport.connect(target)
    yield Line(proxy, desk, carrier, target, TRUNKS[request.param])
    await idle(proxy.wait_until_idle)
    await desk.uas.stop()
    await carrier.uas.stop()


async def idle(wait: Callable[[], None]) -> None:
    """Wait beside the telephones, which have answers to give meanwhile."""
    await asyncio.to_thread(wait)


async def test_callee_hangs_up(line: Line) -> None:
    _, far_end = await line.call()

    far_end.hangup()

    await line.desk.hears("bye")


async def test_we_hang_up(line: Line) -> None:
    await line.call()

    await asyncio.to_thread(line.proxy.http.request, "DELETE", "/v1/calls", params={"trunk": line.trunk})

    await line.desk.hears("bye")
    await line.carrier.hears("bye")


async def test_callee_declines(line: Line) -> None:
    call = line.dial(WASHINGTON)
    far_end = await line.carrier.hears("invite")
    assert far_end is not None

    far_end.reject(486, "Busy Here")

    with pytest.raises(RuntimeError, match="486 Busy Here"):
        await call.wait_answered(LIMIT)


async def test_caller_gives_up(line: Line) -> None:
    ringing = asyncio.Event()
    call = line.dial(WASHINGTON)
    call.on_ringing = lambda _: ringing.set()
    far_end = await line.carrier.hears("invite")
    assert far_end is not None
    far_end.ringing()
    await asyncio.wait_for(ringing.wait(), LIMIT)

    call.cancel(line.desk.uac)

    await line.carrier.hears("cancel")


async def test_refusal(line: Line) -> None:
    call = line.dial(PARIS)

    with pytest.raises(RuntimeError, match="403 Destination Country Not Whitelisted"):
        await call.wait_answered(LIMIT)
