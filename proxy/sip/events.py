"""What the SIP stack tells its user (see stack.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.sip.message import SipRequest, SipResponse

if TYPE_CHECKING:
    from proxy.sip.transaction import ClientTransaction, ServerTransaction


class RequestReceived:
    """A request, other than ACK and CANCEL, that matches no transaction. No state exists for it yet: the user
    either accepts it (`SipStack.accept`) or answers it without state (`SipStack.respond_stateless`)."""

    __slots__ = ("request",)

    def __init__(self, request: SipRequest) -> None:
        self.request = request


class AckReceived:
    """An ACK that belongs to no INVITE server transaction with a failure response: the ACK to a 2xx."""

    __slots__ = ("request",)

    def __init__(self, request: SipRequest) -> None:
        self.request = request


class CancelReceived:
    """A CANCEL for the INVITE of `transaction`, which has no final response yet; the CANCEL itself is
    answered."""

    __slots__ = ("request", "transaction")

    def __init__(self, transaction: ServerTransaction, request: SipRequest) -> None:
        self.transaction = transaction
        self.request = request


class ResponseReceived:
    """A response for the user of a client transaction: each provisional one, one final one, and of an INVITE
    every 2xx, retransmitted ones included (RFC 6026)."""

    __slots__ = ("response", "transaction")

    def __init__(self, transaction: ClientTransaction, response: SipResponse) -> None:
        self.transaction = transaction
        self.response = response


class ClientTimedOut:
    """No (final) response came: Timer B of an INVITE, Timer F of anything else."""

    __slots__ = ("transaction",)

    def __init__(self, transaction: ClientTransaction) -> None:
        self.transaction = transaction


class TransportFailed:
    """The request could not be sent, or its connection broke before a response."""

    __slots__ = ("transaction",)

    def __init__(self, transaction: ClientTransaction) -> None:
        self.transaction = transaction


class ServerTerminated:
    """A server transaction of an INVITE is over. `acknowledged` is False when a failure response met no ACK
    within Timer H. Sent only for INVITEs."""

    __slots__ = ("acknowledged", "transaction")

    def __init__(self, transaction: ServerTransaction, acknowledged: bool) -> None:
        self.transaction = transaction
        self.acknowledged = acknowledged


Event = (
    RequestReceived
    | AckReceived
    | CancelReceived
    | ResponseReceived
    | ClientTimedOut
    | TransportFailed
    | ServerTerminated
)
