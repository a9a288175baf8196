"""UserAgent: a SIP telephone of the demo, on a UDP socket of its own.

It speaks as any peer does: INVITE, ACK, CANCEL, BYE, with transactions, tags and route sets. There is no
audio.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from proxy.demo.call import IncomingCall, OutgoingCall
from proxy.demo.dialog import BRANCH_MARK, PeerDialog
from proxy.sip.counters import SipCounters
from proxy.sip.events import (
    AckReceived,
    CancelReceived,
    ClientTimedOut,
    Event,
    RequestReceived,
    ResponseReceived,
    TransportFailed,
)
from proxy.sip.headers import name_addr
from proxy.sip.message import Flow, Header, SipRequest
from proxy.sip.serialize import OutgoingRequest, build_response, via_header
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from proxy.sip.transaction import ClientTransaction
from proxy.transport.udp import Datagrams, UdpEndpoint

ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS"

Call = OutgoingCall | IncomingCall
_DialogKey = tuple[bytes, bytes, bytes]


class UserAgent:
    """One address, many calls. `on_call` is told of each call that comes in; without it they are refused with
    480."""

    def __init__(
        self,
        host: str,
        port: int = 0,
        *,
        on_call: Callable[[IncomingCall], None] | None = None,
        timers: Timers | None = None,
    ) -> None:
        """Bind at once; port 0 lets the system choose. Raises OSError."""
        self._endpoint = UdpEndpoint(host, port, self._on_datagrams)
        self.address = self._endpoint.local
        self.sent_by = b"%s:%d" % (host.encode(), self.address[1])
        self.contact = b"Contact: <sip:demo@" + self.sent_by + b">"
        self._stack = SipStack(timers or Timers(), SipCounters(), server_name=b"Trunkwarden demo")
        self.on_call = on_call
        self._dialogs: dict[_DialogKey, Call] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._repeats: dict[IncomingCall, asyncio.TimerHandle] = {}
        self._endpoint.start()

    def close(self) -> None:
        """Fall silent: no BYE, no answer."""
        self._endpoint.close()
        for handle in (self._timer, *self._repeats.values()):
            if handle is not None:
                handle.cancel()
        self._repeats.clear()

    # --- a call of ours -------------------------------------------------------------------------------------

    def call(self, number: str, proxy: tuple[str, int], *, caller: str = "+442071838750") -> OutgoingCall:
        """Place a call to `number` (the user part of the Request-URI) through the proxy at `proxy`."""
        host = proxy[0].encode()
        uri = b"sip:%s@%s:%d" % (number.encode("ascii"), host, proxy[1])
        call_id = secrets.token_hex(12)
        branch = self.branch()
        body = session_description(self.address[0])
        headers: list[Header] = [
            via_header(b"UDP", self.sent_by, branch + b";rport"),
            (b"max-forwards", b"Max-Forwards: 70"),
            (b"from", b"From: <sip:%s@%s>;tag=%s" % (caller.encode("ascii"), self.sent_by, self.token())),
            (b"to", b"To: <" + uri + b">"),
            (b"call-id", b"Call-ID: " + call_id.encode()),
            (b"cseq", b"CSeq: 1 INVITE"),
            (b"contact", self.contact),
            (b"allow", ALLOW),
            (b"content-type", b"Content-Type: application/sdp"),
            (b"content-length", b"Content-Length: %d" % len(body)),
        ]
        call = OutgoingCall(self, OutgoingRequest(b"INVITE", uri, headers, branch, body), call_id)
        call.client = self._send_request(call.invite, Flow("udp", self.address, proxy), call)
        return call

    def cancel(self, client: ClientTransaction) -> None:
        """CANCEL, as soon as it is allowed (§9.1)."""
        self._stack.cancel(client, None, self._loop.time())
        self._pump()

    async def bye(self, dialog: PeerDialog) -> int:
        """BYE in the dialog; the status of the answer, 408 when none came."""
        answer: asyncio.Future[int] = self._loop.create_future()
        self._send_request(dialog.request(b"BYE", self.sent_by, self.branch()), dialog.flow, answer)
        return await answer

    # --- what calls ask of their agent ----------------------------------------------------------------------

    def remember(self, dialog: PeerDialog, call: Call) -> None:
        """Requests of this dialog belong to `call`."""
        self._dialogs[_key(dialog)] = call

    def forget(self, dialog: PeerDialog) -> None:
        """Requests of this dialog get 481 from now on."""
        self._dialogs.pop(_key(dialog), None)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send without a transaction: the ACK to a 2xx."""
        self._stack.send(data, flow)
        self._pump()

    def respond(self, call: IncomingCall, status: int, phrase: bytes) -> None:
        """A response to the INVITE of `call`; a 200 carries the SDP answer."""
        extra: tuple[bytes, ...] = (self.contact,)
        body = b""
        if status == 200:
            body = session_description(self.address[0])
            extra = (self.contact, ALLOW, b"Content-Type: application/sdp")
        data = build_response(
            call.invite, status, phrase, to_tag=call.tag, extra=extra, body=body, record_route=status < 300
        )
        self._stack.respond(call.server, data, status, self._loop.time())
        self._pump()

    def await_acknowledgement(self, call: IncomingCall) -> None:
        """§13.3.1.4: the 200 again after T1, 2·T1, … at most T2; BYE when no ACK has come within 64·T1."""
        timers = self._stack.timers
        self._repeat_later(call, timers.t1, self._loop.time() + timers.timeout)

    def _repeat_later(self, call: IncomingCall, wait: float, until: float) -> None:
        self._repeats[call] = self._loop.call_later(wait, self._repeat, call, wait, until)

    def _repeat(self, call: IncomingCall, wait: float, until: float) -> None:
        del self._repeats[call]
        if call.acknowledged.is_set() or call.ended.is_set() or call.dialog is None:
            return
        if self._loop.time() >= until:
            self._send_request(
                call.dialog.request(b"BYE", self.sent_by, self.branch()), call.dialog.flow, None
            )
            call.over()
            return
        self.respond(call, 200, b"OK")
        self._repeat_later(call, min(2 * wait, self._stack.timers.t2), until)

    def branch(self) -> bytes:
        """A fresh one."""
        return BRANCH_MARK + self.token()

    @staticmethod
    def token() -> bytes:
        """A fresh tag."""
        return secrets.token_hex(8).encode()

    # --- the wire -------------------------------------------------------------------------------------------

    def _send_request(self, request: OutgoingRequest, flow: Flow, owner: object) -> ClientTransaction:
        client = self._stack.send_request(request, flow, self._loop.time(), owner=owner)
        self._pump()
        return client

    def _on_datagrams(self, batch: Datagrams) -> None:
        now = self._loop.time()
        for data, flow in batch:
            for event in self._stack.receive(data, flow, now):
                self._handle(event)
        self._pump()

    def _on_timer(self) -> None:
        self._timer = None
        for event in self._stack.handle_timers(self._loop.time()):
            self._handle(event)
        self._pump()

    def _pump(self) -> None:
        while self._stack.outbox:
            waiting, self._stack.outbox = self._stack.outbox, []
            for data, flow in waiting:
                self._endpoint.send(data, flow)
        if self._timer is not None:
            self._timer.cancel()
        at = self._stack.next_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._on_timer)

    def _handle(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            owner = event.transaction.owner
            if isinstance(owner, OutgoingCall):
                owner.response(event.response)
            elif isinstance(owner, asyncio.Future) and event.response.status >= 200 and not owner.done():
                owner.set_result(event.response.status)
        elif isinstance(event, (ClientTimedOut, TransportFailed)):
            owner = event.transaction.owner
            if isinstance(owner, OutgoingCall):
                owner.no_response()
            elif isinstance(owner, asyncio.Future) and not owner.done():
                owner.set_result(408)
        elif isinstance(event, CancelReceived):
            owner = event.transaction.owner
            if isinstance(owner, IncomingCall):
                owner.cancelled()
        elif isinstance(event, AckReceived):
            call = self._call_of(event.request)
            if isinstance(call, IncomingCall):
                call.acknowledged.set()
        elif isinstance(event, RequestReceived):
            self._request(event.request)

    def _request(self, request: SipRequest) -> None:
        if request.to_tag:
            self._in_dialog(request)
        elif request.method == b"INVITE":
            server = self._stack.accept(request, self._loop.time())
            call = IncomingCall(self, request, server)
            server.owner = call
            if self.on_call is None:
                call.refuse(480, b"Temporarily Unavailable")
            else:
                self.on_call(call)
        elif request.method == b"OPTIONS":
            self._answer(request, 200, b"OK")
        else:
            self._answer(request, 405, b"Method Not Allowed")

    def _in_dialog(self, request: SipRequest) -> None:
        call = self._call_of(request)
        if call is None or call.dialog is None:
            self._answer(request, 481, b"Call/Transaction Does Not Exist")
        elif not call.dialog.takes(request):
            self._answer(request, 500, b"Request Out Of Order")
        elif request.method == b"BYE":
            self._answer(request, 200, b"OK")
            call.over()
        elif request.method == b"OPTIONS":
            self._answer(request, 200, b"OK")
        elif request.method == b"INVITE":
            self._answer(request, 488, b"Not Acceptable Here")
        else:
            self._answer(request, 405, b"Method Not Allowed")

    def _answer(self, request: SipRequest, status: int, phrase: bytes) -> None:
        now = self._loop.time()
        data = build_response(request, status, phrase, to_tag=self.token(), extra=(ALLOW,))
        self._stack.respond(self._stack.accept(request, now), data, status, now)

    def _call_of(self, request: SipRequest) -> Call | None:
        return self._dialogs.get((request.call_id, request.to_tag, request.from_tag))


def _key(dialog: PeerDialog) -> _DialogKey:
    tags = [name_addr(value).param(b"tag") or b"" for value in (dialog.local, dialog.remote)]
    return (dialog.call_id, tags[0], tags[1])


def session_description(host: str) -> bytes:
    """SDP for one audio stream that is never sent (`inactive`)."""
    lines = (
        "v=0",
        f"o=demo 1 1 IN IP4 {host}",
        "s=demo",
        f"c=IN IP4 {host}",
        "t=0 0",
        "m=audio 9 RTP/AVP 0",
        "a=inactive",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
