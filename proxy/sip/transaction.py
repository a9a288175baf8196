"""Transactions: what the stack keeps of a request that has been accepted or sent."""

from __future__ import annotations

from proxy.sip.message import Flow, SipRequest
from proxy.sip.serialize import OutgoingRequest


class ServerTransaction:
    """A request that the user accepted. `owner` is the user's own; `state` is a name from transaction_tables."""

    __slots__ = ("flow", "owner", "request", "state")

    owner: object
    request: SipRequest
    flow: Flow
    state: str


class ClientTransaction:
    """A request that was sent. `owner` is the user's own; `state` is a name from transaction_tables."""

    __slots__ = ("flow", "owner", "provisional_received", "request", "state")

    owner: object
    request: OutgoingRequest
    flow: Flow
    state: str
    provisional_received: bool
