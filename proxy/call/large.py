"""Requests within a dialog that are too large for UDP (RFC 3261 §18.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.call.dialog import Dialog, Party
from proxy.call.forwarding import forward_in_dialog
from proxy.call.presented import show_party
from proxy.call.reach import LARGEST_DATAGRAM
from proxy.call.renumber import renumber
from proxy.sip.message import Flow, SipRequest
from proxy.sip.serialize import OutgoingRequest, serialize_request

if TYPE_CHECKING:
    from proxy.call.core import ProxyCore
    from proxy.call.session import CallSession
    from proxy.call.ways import Ways


def request_towards(
    session: CallSession,
    request: SipRequest,
    to: Party,
    drop: frozenset[bytes],
    now: float,
    dialog: Dialog,
    from_caller: bool,
    *,
    surely: bool = False,
) -> tuple[OutgoingRequest, bytes, Flow]:
    """The request as it leaves for the other side, its bytes, and the flow that they take.

    Over TCP where it is too large for UDP and nobody has found out lately that the far side takes none;
    `surely`: where it is known to, for what cannot be sent again.
    """
    core = session.core

    def towards(flow: Flow) -> OutgoingRequest:
        outgoing = forward_in_dialog(request, to, core.branch(), core.identity(flow), drop)
        renumber(outgoing, request, dialog, from_caller)
        show_party(outgoing.headers, session, from_caller)
        return outgoing

    return fitting(core, to, towards, now, surely=surely)


def fitting(
    core: ProxyCore,
    to: Party,
    towards: Callable[[Flow], OutgoingRequest],
    now: float,
    *,
    surely: bool = False,
) -> tuple[OutgoingRequest, bytes, Flow]:
    """What `towards` makes for a flow to that side, its bytes, and the flow: as request_towards has it."""
    flow = to.flow
    outgoing = towards(flow)
    data = serialize_request(outgoing)
    if len(data) > LARGEST_DATAGRAM and flow.transport == "udp":
        stream = _stream(to, core.ways)
        reach = core.reach
        if stream is not None and (reach.streams(stream, now) if surely else reach.may_stream(stream, now)):
            outgoing = towards(stream)
            return outgoing, serialize_request(outgoing), stream
    return outgoing, data, flow


def _stream(party: Party, ways: Ways) -> Flow | None:
    """Where this side would take connections: at the host and port that it named. Behind NAT it is not where
    its packets come from, and takes none."""
    named = ways.towards(party.first_hop(), party.flow)
    if named is None:
        return None if party.roams else ways.stream(party.flow.remote)
    return ways.stream(named.remote) if named.remote[0] == party.flow.remote[0] else None
