"""The SIP stack: datagrams in, events out; it neither reads a clock nor touches a socket."""

from __future__ import annotations

from proxy.sip.counters import SipCounters
from proxy.sip.events import Event
from proxy.sip.message import Flow, SipRequest
from proxy.sip.serialize import OutgoingRequest
from proxy.sip.timers import Timers
from proxy.sip.transaction import ClientTransaction, ServerTransaction


class SipStack:
    """Transactions of one process. `now` is monotonic seconds, and never goes back. `outbox` is what is to be sent, in
    order; whoever pumps the stack empties it."""

    def __init__(self, timers: Timers, counters: SipCounters, *, server_name: bytes = b"Trunkwarden") -> None:
        self.timers = timers
        self.counters = counters
        self.server_name = server_name
        self.outbox: list[tuple[bytes, Flow]] = []

    def receive(self, data: bytes, flow: Flow, now: float) -> list[Event]:
        """Take one datagram, or one message of a stream. Never raises, whatever the bytes."""
        raise NotImplementedError

    def accept(self, request: SipRequest, now: float) -> ServerTransaction:
        """Make a server transaction: from now on retransmissions of the request are absorbed or answered again."""
        raise NotImplementedError

    def respond(self, transaction: ServerTransaction, data: bytes, status: int, now: float) -> None:
        """Send a response, `data` being the whole message and `status` its status code."""
        raise NotImplementedError

    def respond_stateless(self, request: SipRequest, data: bytes) -> None:
        """Send a response once, to where the request came from, and remember nothing."""
        raise NotImplementedError

    def send_request(
        self, request: OutgoingRequest, flow: Flow, now: float, *, owner: object, timeout: float | None = None
    ) -> ClientTransaction:
        """Send a request in a client transaction; `timeout` replaces Timer B or F, in seconds."""
        raise NotImplementedError

    def cancel(self, transaction: ClientTransaction, reason: bytes | None, now: float) -> None:
        """Cancel an INVITE: at once when a provisional response was received, else as soon as one is."""
        raise NotImplementedError

    def send(self, data: bytes, flow: Flow) -> None:
        """Send without a transaction: the ACK to a 2xx."""
        raise NotImplementedError

    def next_timer(self) -> float | None:
        """When `handle_timers` is due, or None."""
        raise NotImplementedError

    def handle_timers(self, now: float) -> list[Event]:
        """Do what is due at `now`."""
        raise NotImplementedError

    def transport_failed(self, flow: Flow, now: float) -> list[Event]:
        """Nothing can be sent over `flow` any more."""
        raise NotImplementedError
