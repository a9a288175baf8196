"""Dialogs as the proxy records them: where each side is reached, whatever the other side's requests say."""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

from proxy.call.ways import Ways
from proxy.sip.errors import HeaderError, UriError
from proxy.sip.headers import name_addr, split_list
from proxy.sip.message import Flow, Header, SipMessage, SipRequest, SipResponse
from proxy.sip.parse import MAX_URI
from proxy.sip.uri import SipUri
from proxy.sip.via import response_flow

DEFAULT_PORT = 5060
_LEAP = 1 << 16


# What tells a loose router from a strict one (§19.1.1).
_LOOSE = re.compile(rb";lr(?=[;=?]|\Z)", re.IGNORECASE)
_METHOD = re.compile(rb";method=[^;?]*", re.IGNORECASE)
# Longer values are read each time: what a sender chooses shall not fill the memory.
_LONGEST_KEPT = 256


def is_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address rather than a name. Strict: what only looks like an address
    (`999.1.1.1`) would be looked up as a name when it is sent to, and that blocks."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def uri_of(value: bytes) -> bytes | None:
    """The URI of an address value, or None where it breaks the grammar."""
    return _kept_uri_of(value) if len(value) <= _LONGEST_KEPT else _uri_of(value)


def _uri_of(value: bytes) -> bytes | None:
    try:
        return name_addr(value).uri
    except HeaderError:
        return None


_kept_uri_of = lru_cache(maxsize=4096)(_uri_of)


def contact_uri(message: SipMessage) -> bytes | None:
    """The URI of the first Contact, fit to be a Request-URI, or None."""
    value = message.first(b"contact")
    if not value:
        return None
    return _kept_target(value) if len(value) <= _LONGEST_KEPT else _target(value)


def _target(value: bytes) -> bytes | None:
    uri = uri_of(split_list(value)[0])
    if uri is None or len(uri) > MAX_URI:  # we would not read such a request ourselves
        return None
    try:
        parsed = SipUri.parse(uri)
    except UriError:
        return None
    if not parsed.host:
        return None
    # What no Request-URI may have (RFC 3261 §19.1.1, Table 1).
    if parsed.headers:
        uri = uri[: -len(parsed.headers) - 1]
    if parsed.param(b"method") is not None:
        before, at, rest = uri.rpartition(b"@")
        uri = before + at + _METHOD.sub(b"", rest)
    return uri


_kept_target = lru_cache(maxsize=4096)(_target)


def leads_somewhere(route: bytes) -> bool:
    """Whether a Route value names a SIP URI, which a request may also go to (§12.2.1.1)."""
    return _kept_route(route) if len(route) <= _LONGEST_KEPT else _is_route(route)


def _is_route(route: bytes) -> bool:
    try:
        uri = uri_of(route) or b""
        # A strict router's becomes the Request-URI.
        return bool(SipUri.parse(uri).host) and len(uri) <= MAX_URI
    except UriError:
        return False


_kept_route = lru_cache(maxsize=4096)(_is_route)


def record_routes(message: SipMessage) -> list[bytes]:
    """All Record-Route values, one by one, in order."""
    return [value for line in message.all(b"record-route") for value in split_list(line)]


class Party:
    """One side of a dialog: its remote target, the route to it, the way its packets go, its highest CSeq.

    `request_uri` and `routes` are what a request to this side carries (RFC 3261 §12.2.1.1, strict routers
    included); `flow` is the way to the first hop. `cseq` is the highest number seen in requests that this
    side sent. `roams`: its packets go where its own last came from.
    """

    __slots__ = ("cseq", "flow", "request_uri", "roams", "route_set", "routes", "target")

    def __init__(self, target: bytes, route_set: list[bytes], flow: Flow, cseq: int) -> None:
        # A value that names no SIP URI cannot be followed.
        self.route_set = [value for value in route_set if leads_somewhere(value)]
        self.flow = flow
        self.cseq = cseq
        self.roams = False
        self.retarget(target)

    def retarget(self, target: bytes) -> None:
        """Set the remote target (a target refresh, RFC 3261 §12.2.1.2)."""
        self.target = target
        routes = self.route_set
        if not routes:
            self.request_uri = target
            self.routes: list[Header] = []
            return
        first = uri_of(routes[0]) or b""
        if _LOOSE.search(first) is not None:
            self.request_uri = target
            lines = routes
        else:
            # A strict router finds itself in the Request-URI and the target at the end of the route
            # (§12.2.1.1).
            self.request_uri = first
            lines = [*routes[1:], b"<" + target + b">"]
        self.routes = [(b"route", b"Route: " + value) for value in lines]

    def first_hop(self) -> bytes:
        """The URI of the host that packets for this side go to."""
        return (uri_of(self.route_set[0]) or b"") if self.route_set else self.target


class Dialog:
    """One dialog of a call: a call has several when its INVITE forked downstream.

    `tag` is the callee's. confirmed: from its 2xx to its end. over: a BYE ended it; a 2xx that is repeated
    after that does not revive it. unwanted: the caller never learned of it, so that it keeps no call alive.
    `expires_at` is when the session ends unless it is refreshed (RFC 4028), None when it does not.
    """

    __slots__ = (
        "_callee",
        "_cseq",
        "_inserted",
        "_leap",
        "_offsets",
        "_origin",
        "_target",
        "_way",
        "_ways",
        "acknowledged",
        "confirmed",
        "expires_at",
        "over",
        "tag",
        "unwanted",
    )

    def __init__(self, tag: bytes, origin: SipResponse, target: bytes, way: Flow, ways: Ways) -> None:
        """`target` is where requests go when the callee names no Contact of its own; `way` is the flow that
        the INVITE went, which a connection that breaks does not end."""
        self._way = way
        self._ways = ways
        self.tag = tag
        self._target = target
        self.confirmed = False
        self.over = False
        self.unwanted = False
        self.acknowledged = False
        self.expires_at: float | None = None
        # After which CSeq of the callee, and of the caller, there were requests of our own.
        self._inserted: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        self._offsets = (0, 0)
        self._leap = 0
        self._origin = origin
        self._callee: Party | None = None
        self._cseq = 0

    def refresh(self, origin: SipResponse) -> None:
        """Take the callee's target and route set from a later response that makes the same dialog."""
        if origin.status < 200 and contact_uri(origin) is None:
            return
        self._target = contact_uri(self._origin) or self._target
        self._origin = origin
        if self._callee is not None:
            self._cseq = self._callee.cseq
            self._callee = None

    def end(self) -> None:
        """The far end has accepted a BYE."""
        self.confirmed = False
        self.over = True

    def number(self, cseq: int, from_caller: bool) -> int:
        """The CSeq by which the other side knows a request that its sender numbered `cseq`: requests of our
        own that came before it have taken numbers."""
        inserted = self._inserted[from_caller]
        number = cseq + self._offsets[from_caller]
        return number + bisect_left(inserted, cseq) if inserted else number

    def last_number(self, sender: Party, from_caller: bool) -> int:
        """The highest CSeq that the other side has seen from `sender`, or from us in its place."""
        return sender.cseq + self._offsets[from_caller] + len(self._inserted[from_caller])

    def own_number(self, sender: Party, from_caller: bool) -> int:
        """The CSeq of a request of ours in the place of `sender`; what the sender itself sends after it is
        numbered one higher from now on."""
        if self._leap:
            self._offsets = (self._offsets[0] + self._leap, self._offsets[1] + self._leap)
            self._leap = 0
        number = self.last_number(sender, from_caller) + 1
        callees, callers = self._inserted
        if from_caller:
            self._inserted = (callees, (*callers, sender.cseq))
        else:
            self._inserted = ((*callees, sender.cseq), callers)
        return number

    def raise_caller(self, by: int) -> None:
        """The called side knows the caller's requests by numbers that are `by` higher, from the INVITE on."""
        self._offsets = (self._offsets[0], self._offsets[1] + by)

    def step_aside(self, cseq: int) -> bool:
        """The caller's request `cseq` goes out once more, under the next number. False where a request of our
        own has taken that."""
        callees, callers = self._inserted
        if callers and callers[-1] >= cseq:
            return False
        self._inserted = (callees, (*callers, cseq - 1))
        return True

    def resume(self, offsets: tuple[int, int]) -> None:
        """Go on with a dialog that was recorded elsewhere. `offsets`: by how much the other side's count is
        ahead of the callee's own, and of the caller's.

        There may have been requests since that nobody recorded: the first request of our own leaps over
        them, and all that follow are as far ahead.
        """
        self._offsets = offsets
        self._leap = _LEAP

    def callee(self, token: bytes) -> Party:
        """The called side, read from the response when first needed; `token` marks our own Record-Route."""
        party = self._callee
        if party is None:
            party = self._callee = self._record(token)
        return party

    def to_header(self) -> bytes:
        """The value of the To header that names this dialog."""
        return self._origin.first(b"to") or b""

    def _record(self, token: bytes) -> Party:
        origin = self._origin
        below: list[bytes] = []
        for value in record_routes(origin):
            if token in value:
                break
            below.append(value)
        below.reverse()
        way = origin.flow if origin.flow.connection == 0 else self._way
        party = Party(contact_uri(origin) or self._target, below, way, self._cseq)
        party.flow = self._ways.towards(party.first_hop(), way) or way
        return party

    @property
    def origin(self) -> SipResponse:
        """The response which made the dialog."""
        return self._origin

    @property
    def way(self) -> Flow:
        """The flow that the INVITE went."""
        return self._way

    @property
    def came_from(self) -> str:
        """The address that sent the response which made the dialog."""
        return self._origin.flow.remote[0]


def calling_party(request: SipRequest, reach: Callable[[str], object] | None, ways: Ways) -> Party:
    """The calling side of the dialogs that `request`, an INVITE, may make.

    Packets for it go where responses go: that reaches a PBX behind NAT, and leaves the caller no way to name
    another host for packets of ours. The Record-Route of an upstream proxy is followed to an address for
    which `reach` is true, one of the trunk's own.
    """
    flow = response_flow(request)
    target = contact_uri(request)
    if target is None:
        host = flow.remote[0]
        target = b"sip:%s:%d" % ((f"[{host}]" if ":" in host else host).encode("ascii"), flow.remote[1])
    party = Party(target, record_routes(request), flow, request.cseq)
    party.roams = True
    if party.route_set and reach is not None:
        towards = ways.towards(party.first_hop(), flow)
        if towards is not None and reach(towards.remote[0]) and not _same_peer(towards, flow):
            party.flow = towards
            party.roams = False
    return party


def other_way(party: Party, flow: Flow, ways: Ways) -> Flow | None:
    """Where else the calling side is reached when its connection is gone: the first hop that it named, if
    that is at the address which the connection came from. Behind NAT it is not, and there is no other way."""
    if flow.connection <= 0:
        return None
    found = ways.towards(party.first_hop(), flow)
    return found if found is not None and found.remote[0] == flow.remote[0] else None


def _same_peer(towards: Flow, flow: Flow) -> bool:
    """Whether a connection from that host over that transport stands already: it is used again."""
    return flow.connection > 0 and towards.transport == flow.transport and towards.remote[0] == flow.remote[0]
