"""Caller and callee, on top of Peer: each step of a call is one line of a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.e2e.peer import WAIT_SECONDS, Peer
from tests.e2e.sip_text import SDP, Dialog, Message, answer, fresh, host_port, text

CLI = "+12025550117"


@dataclass
class OutgoingCall:
    """A call that `peer` makes through the proxy. `send` puts its INVITE on the wire (again, and again).
    `contact` is the user part of its Contact."""

    peer: Peer
    proxy: tuple[str, int]
    called: str
    uri: str | None = None
    cli: str = CLI
    extra: tuple[tuple[str, str], ...] = ()
    to_tag: str | None = None
    call_id: str = field(default_factory=lambda: fresh("call"))
    branch: str = field(default_factory=lambda: fresh("z9hG4bK-e2e-"))
    body: bytes = SDP
    contact: str = "desk"

    def __post_init__(self) -> None:
        self.from_value = f'"Desk" <sip:{self.cli}@{self.peer.host_port}>;tag={fresh("from")}'
        self.to_value = f"<sip:{self.called}@{host_port(self.proxy)}>"
        if self.to_tag is not None:
            self.to_value += f";tag={self.to_tag}"
        if self.uri is None:
            self.uri = f"sip:{self.called}@{host_port(self.proxy)}"

    def _headers(self, method: str, to: str | None = None) -> list[tuple[str, str]]:
        return [
            ("Via", f"SIP/2.0/{self.peer.transport} {self.peer.host_port};rport;branch={self.branch}"),
            ("Max-Forwards", "70"),
            ("From", self.from_value),
            ("To", to or self.to_value),
            ("Call-ID", self.call_id),
            ("CSeq", f"1 {method}"),
        ]

    def invite(self) -> bytes:
        """The INVITE, the same bytes each time."""
        headers = [
            *self._headers("INVITE"),
            ("Contact", f"<sip:{self.contact}@{self.peer.host_port}>"),
            *self.extra,
        ]
        headers.append(("Content-Type", "application/sdp"))
        return text(f"INVITE {self.uri} SIP/2.0", headers, self.body)

    def send(self) -> OutgoingCall:
        """Put the INVITE on the wire."""
        self.peer.send(self.invite(), self.proxy)
        return self

    def provisional(self, status: int, limit: float = WAIT_SECONDS) -> Message:
        """The next provisional response of this status."""
        return self.peer.expect_response(status, "INVITE", limit, self.call_id)

    def final(self, limit: float = WAIT_SECONDS) -> Message:
        """The next final response to the INVITE; a failure is acknowledged."""
        response = self.peer.expect_final("INVITE", limit, self.call_id)
        if response.status >= 300:
            self.acknowledge_failure(response)
        return response

    def acknowledge_failure(self, response: Message) -> None:
        """The ACK of §17.1.1.3: same branch, the To of the response."""
        ack = text(f"ACK {self.uri} SIP/2.0", self._headers("ACK", response.one("to")))
        self.peer.send(ack, self.proxy)

    def cancel(self) -> None:
        """Give up."""
        self.peer.send(text(f"CANCEL {self.uri} SIP/2.0", self._headers("CANCEL")), self.proxy)

    def dialog(self, response: Message) -> Dialog:
        """The dialog that a 2xx made."""
        return Dialog(
            call_id=self.call_id,
            local=self.from_value,
            remote=response.one("to"),
            target=response.contact_uri(),
            routes=response.record_routes()[::-1],
            own_address=self.peer.host_port,
            transport=self.peer.transport,
        )

    def answered(self, limit: float = WAIT_SECONDS) -> Dialog:
        """Wait for the 200, acknowledge it; the dialog."""
        response = self.final(limit)
        assert response.status == 200, str(response)
        dialog = self.dialog(response)
        self.peer.send(dialog.request("ACK"), self.proxy)
        return dialog


@dataclass
class IncomingCall:
    """A call that arrived at the provider `peer` from the proxy."""

    peer: Peer
    proxy: tuple[str, int]
    invite: Message
    tag: str = field(default_factory=lambda: fresh("callee"))

    def respond(self, status: str, *, body: bytes = b"") -> None:
        """Answer the INVITE."""
        extra: tuple[tuple[str, str], ...] = (("Contact", f"<sip:carrier@{self.peer.host_port}>"),)
        if body:
            extra += (("Content-Type", "application/sdp"),)
        self.peer.send(answer(self.invite, status, tag=self.tag, extra=extra, body=body), self.proxy)

    def accept(self) -> None:
        """200 with a session description."""
        self.respond("200 OK", body=SDP)

    def dialog(self) -> Dialog:
        """The callee's side of the dialog."""
        return Dialog(
            call_id=self.invite.one("call-id"),
            local=f"{self.invite.one('to')};tag={self.tag}",
            remote=self.invite.one("from"),
            target=self.invite.contact_uri(),
            routes=self.invite.record_routes(),
            own_address=self.peer.host_port,
            cseq=100,
            transport=self.peer.transport,
        )

    def expect(self, method: str, limit: float = WAIT_SECONDS) -> Message:
        """The next request of this method in this call."""
        return self.peer.expect_request(method, limit, self.invite.one("call-id"))

    def reply(self, request: Message, status: str = "200 OK") -> None:
        """Answer an in-dialog request."""
        self.peer.send(answer(request, status), self.proxy)


def incoming(
    provider: Peer, proxy: tuple[str, int], call: OutgoingCall, limit: float = WAIT_SECONDS
) -> IncomingCall:
    """What `call` looks like at the provider."""
    return IncomingCall(provider, proxy, provider.expect_request("INVITE", limit, call.call_id))


def fence(peer: Peer, proxy: tuple[str, int], limit: float = WAIT_SECONDS) -> None:
    """What `peer` sent before has been worked on: an OPTIONS behind it is answered."""
    call_id = fresh("fence")
    headers = [
        ("Via", f"SIP/2.0/{peer.transport} {peer.host_port};rport;branch={fresh('z9hG4bK-fence')}"),
        ("Max-Forwards", "70"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:b@b>"), ("Call-ID", call_id),
        ("CSeq", "1 OPTIONS"),
    ]  # fmt: skip
    peer.send(text(f"OPTIONS sip:{peer.host_port} SIP/2.0", headers), proxy)
    peer.expect_final("OPTIONS", limit, call_id)


def hang_up(call: OutgoingCall, dialog: Dialog, far_end: IncomingCall) -> Message:
    """The caller's BYE, the provider's 200, the caller's 200; the BYE as the provider saw it."""
    call.peer.send(dialog.request("BYE"), call.proxy)
    bye = far_end.expect("BYE")
    far_end.reply(bye)
    call.peer.expect_response(200, "BYE", call_id=call.call_id)
    return bye
