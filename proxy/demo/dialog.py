"""One side of a dialog (RFC 3261 §12), as a user agent keeps it.

Written apart from the proxy's own dialogs on purpose: peers that shared its code would share its mistakes.
"""

from __future__ import annotations

from proxy.sip.errors import HeaderError, UriError
from proxy.sip.headers import name_addr, split_list
from proxy.sip.message import Flow, Header, SipMessage, SipRequest, SipResponse
from proxy.sip.serialize import OutgoingRequest, via_header
from proxy.sip.uri import SipUri

DEFAULT_PORT = 5060
BRANCH_MARK = b"z9hG4bK"


class DialogError(ValueError):
    """A message that makes no dialog: it lacks a tag or a usable Contact or Record-Route."""


class PeerDialog:
    """A dialog of one user agent.

    `local` and `remote` are the values of From and To with their tags, as this side's requests carry them.
    `route_set` is in the order in which requests visit it; `flow` leads to its first host.
    """

    def __init__(
        self,
        *,
        call_id: bytes,
        local: bytes,
        remote: bytes,
        local_cseq: int,
        remote_cseq: int,
        target: bytes,
        route_set: list[bytes],
        flow: Flow,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.target = target
        self.route_set = route_set
        self.flow = _flow_to(uri_of(route_set[0]) if route_set else target, flow)

    @classmethod
    def of_caller(cls, invite: OutgoingRequest, response: SipResponse, flow: Flow) -> PeerDialog:
        """§12.1.2: from the response that makes the dialog. Raises DialogError."""
        if not response.to_tag:
            raise DialogError("the response has no To tag")
        return cls(
            call_id=response.call_id,
            local=_value_of(invite.headers, b"from"),
            remote=response.first(b"to") or b"",
            local_cseq=response.cseq,
            remote_cseq=0,
            target=_contact(response),
            route_set=_record_routes(response)[::-1],
            flow=flow,
        )

    @classmethod
    def of_callee(cls, invite: SipRequest, local_tag: bytes) -> PeerDialog:
        """§12.1.1: from the request that asks for the dialog. Raises DialogError."""
        return cls(
            call_id=invite.call_id,
            local=(invite.first(b"to") or b"") + b";tag=" + local_tag,
            remote=invite.first(b"from") or b"",
            local_cseq=0,
            remote_cseq=invite.cseq,
            target=_contact(invite),
            route_set=_record_routes(invite),
            flow=invite.flow,
        )

    def request(self, method: bytes, sent_by: bytes, branch: bytes) -> OutgoingRequest:
        """A request within the dialog (§12.2.1.1), with the next CSeq; an ACK has the INVITE's."""
        if method != b"ACK":
            self.local_cseq += 1
        uri, routes = self.target, self.route_set
        if routes and b";lr" not in uri_of(routes[0]).lower():
            uri, routes = uri_of(routes[0]), [*routes[1:], b"<" + self.target + b">"]
        headers: list[Header] = [
            via_header(b"UDP", sent_by, branch + b";rport"),
            *((b"route", b"Route: " + route) for route in routes),
            (b"max-forwards", b"Max-Forwards: 70"),
            (b"from", b"From: " + self.local),
            (b"to", b"To: " + self.remote),
            (b"call-id", b"Call-ID: " + self.call_id),
            (b"cseq", b"CSeq: %d %s" % (self.local_cseq, method)),
            (b"content-length", b"Content-Length: 0"),
        ]
        return OutgoingRequest(method, uri, headers, branch)

    def takes(self, request: SipRequest) -> bool:
        """Whether a request of the other side is in order (§12.2.2), which is then noted."""
        if request.cseq <= self.remote_cseq:
            return False
        self.remote_cseq = request.cseq
        return True


def uri_of(value: bytes) -> bytes:
    """The URI of an address value. Raises DialogError."""
    try:
        return name_addr(value).uri
    except HeaderError as error:
        raise DialogError(f"not an address: {error}") from error


def _value_of(headers: list[Header], name: bytes) -> bytes:
    line = next(line for key, line in headers if key == name)
    return line.partition(b":")[2].strip()


def _contact(message: SipMessage) -> bytes:
    value = message.first(b"contact")
    if not value:
        raise DialogError("no Contact")
    return uri_of(split_list(value)[0])


def _record_routes(message: SipMessage) -> list[bytes]:
    return [value for line in message.all(b"record-route") for value in split_list(line)]


def _flow_to(uri: bytes, base: Flow) -> Flow:
    try:
        parsed = SipUri.parse(uri)
    except UriError as error:
        raise DialogError(f"not a URI: {error}") from error
    host = parsed.host.strip(b"[]").decode("ascii")
    return Flow(base.transport, base.local, (host, parsed.port or DEFAULT_PORT))
