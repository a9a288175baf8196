"""The SIP stack: datagrams in, events out; it neither reads a clock nor touches a socket."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from proxy.sip.counters import IN, METHOD_KINDS, OTHER, OUT, STATUS_KINDS, SipCounters
from proxy.sip.errors import ParseError
from proxy.sip.events import (
    AckReceived,
    CancelReceived,
    ClientTimedOut,
    Event,
    RequestReceived,
    ResponseReceived,
    ServerTerminated,
    TransportFailed,
)
from proxy.sip.headers import parse_via
from proxy.sip.malformed import amplifies, error_response
from proxy.sip.message import Flow, SipRequest, SipResponse, unfold
from proxy.sip.parse import ServerKey, parse_message
from proxy.sip.serialize import (
    OutgoingRequest,
    build_ack,
    build_cancel,
    build_response,
    has_another_via,
    serialize_request,
)
from proxy.sip.timers import Timers
from proxy.sip.transaction import NEVER, ClientTransaction, ServerTransaction, Transaction
from proxy.sip.transaction_tables import (
    ACCEPTED,
    ACK,
    ACKNOWLEDGE,
    CANCEL,
    ENDED,
    FAILED,
    INPUT_OF_CLASS,
    OVERDUE,
    PASS_UP,
    PROCEEDING,
    REMEMBER_CANCEL,
    REQUEST,
    RESEND,
    SEND,
    SEND_CANCEL,
    TERMINATED,
    TIMED_OUT,
    TRANSPORT_ERROR,
)
from proxy.sip.via import mark_source, response_flow

_TOO_LATE = b'SIP;cause=408;text="Request Timeout"'

_SPENT: Final = OutgoingRequest(b"", b"", [], b"")


class SipStack:
    """Transactions of one process. `now` is monotonic seconds, and never goes back. `outbox` is what is to be
    sent, in order; whoever pumps the stack empties it. `answers` says which addresses are told that a request
    cannot be read, or a CANCEL matched: all of them unless it is set."""

    def __init__(self, timers: Timers, counters: SipCounters, *, server_name: bytes = b"Trunkwarden") -> None:
        self.timers = timers
        self.counters = counters
        self.server_name = server_name
        self.outbox: list[tuple[bytes, Flow]] = []
        self.answers: Callable[[str], bool] | None = None
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._clients: dict[tuple[bytes, bytes], ClientTransaction] = {}
        self._by_flow: dict[Flow, dict[ClientTransaction, None]] = {}
        self._heap: list[tuple[float, int, Transaction]] = []
        self._sequence = 0
        self._sent_by: dict[bytes, tuple[bytes, int | None]] = {}

    @property
    def transactions(self) -> int:
        """How many transactions are alive."""
        return len(self._servers) + len(self._clients)

    def serves(self, key: ServerKey) -> bool:
        """Whether a request is known already, and its copies are answered from here."""
        return key in self._servers

    # --- what comes in ----------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: float) -> list[Event]:
        """Take one datagram, or one message of a stream. Never raises, whatever the bytes: what cannot be
        read is counted by its cause, and answered where RFC 3261 lets it be."""
        try:
            message = parse_message(data, flow)
        except ParseError as error:
            self.counters.malformation(error.cause)
            answer = error_response(data, flow, error) if self.heeds(flow) else None
            if answer is not None:
                self.send(*answer)
            return []
        if isinstance(message, SipRequest):
            return self._request(message, now)
        if message is None:
            return []
        return self._response(message, now)

    def _request(self, request: SipRequest, now: float) -> list[Event]:
        method = request.method
        self.counters.message(IN, request.flow.transport, METHOD_KINDS.get(method, OTHER))
        mark_source(request)
        transaction = self._servers.get(request.key)
        if method == b"CANCEL":
            return self._cancelled(transaction, request, now)
        if method == b"ACK":
            if transaction is None:
                return [AckReceived(request)]
            effects = transaction.step(ACK, now, self.timers)
            self._schedule(transaction)
            return [AckReceived(request)] if PASS_UP in effects else []
        if transaction is None:
            return [RequestReceived(request)]
        self.counters.retransmissions[IN] += 1
        self._bring_about(transaction, transaction.step(REQUEST, now, self.timers), None, now, [])
        return []

    def _cancelled(
        self, transaction: ServerTransaction | None, request: SipRequest, now: float
    ) -> list[Event]:
        """RFC 3261 §9.2. The CANCEL needs no transaction of its own: the same one gets the same answer."""
        tag = b"%08x" % zlib.crc32(request.via.branch + request.call_id)
        if transaction is None:
            phrase = b"Call/Transaction Does Not Exist"
            answer = build_response(request, 481, phrase, to_tag=tag)
            if not amplifies(answer, request) and self.heeds(request.flow):
                self.respond_stateless(request, answer)
            return []
        name = (b"Server: " + self.server_name,) if self.server_name else ()
        self.respond_stateless(request, build_response(request, 200, b"OK", to_tag=tag, extra=name))
        if PASS_UP not in transaction.step(CANCEL, now, self.timers) or transaction.cancelled:
            return []
        transaction.cancelled = True
        return [CancelReceived(transaction, request)]

    def heeds(self, flow: Flow) -> bool:
        """Whether the peer of `flow` may be told what is wrong with its requests."""
        return self.answers is None or self.answers(flow.remote[0])

    def _response(self, response: SipResponse, now: float) -> list[Event]:
        status_class = response.status // 100
        self.counters.message(IN, response.flow.transport, STATUS_KINDS[status_class])
        via = response.via
        transaction = self._clients.get((via.branch, response.cseq_method))
        if transaction is None or transaction.sent_by != (via.host, via.port):
            self.counters.stray += 1
            return []
        if transaction.senders is not None and not transaction.senders(response.flow.remote[0]):
            self.counters.stray += 1
            return []
        # A response with our Via alone is for nobody upstream (§16.7 step 3). Only a 487 after our CANCEL is
        # taken all the same: some user agents copy its Vias from the CANCEL, which had ours alone.
        expected = transaction.cancel_sent and response.status == 487
        if not expected and _forwarded(transaction.request) and not has_another_via(response):
            self.counters.stray += 1
            return []
        if status_class == 1:
            transaction.provisional_received = True
        events: list[Event] = []
        before = transaction.state
        effects = transaction.step(INPUT_OF_CLASS[status_class], now, self.timers)
        if status_class > 1 and transaction.state == before:
            self.counters.retransmissions[IN] += 1
        self._bring_about(transaction, effects, response, now, events)
        if transaction.cancel_wanted and transaction.state == PROCEEDING:
            self.cancel(transaction, transaction.cancel_reason, now)
        return events

    # --- what the user wants ----------------------------------------------------------------------

    def accept(self, request: SipRequest, now: float) -> ServerTransaction:
        """Make a server transaction: from now on retransmissions of the request are absorbed or answered
        again.

        One that is not an INVITE and is not answered within 64*T1 is forgotten: its sender has given up, and
        no answer may be sent (RFC 4320 §4.2).
        """
        transaction = ServerTransaction(request, response_flow(request))
        self._servers[request.key] = transaction
        transaction.step(REQUEST, now, self.timers)
        self._schedule(transaction)
        return transaction

    def respond(self, transaction: ServerTransaction, data: bytes, status: int, now: float) -> None:
        """Send a response, `data` being the whole message and `status` its status code. What the
        transaction's state does not allow any more, such as a second final response, is not sent; every 2xx
        to an INVITE is."""
        effects = transaction.step(INPUT_OF_CLASS[status // 100], now, self.timers)
        if SEND in effects:
            transaction.data = b"" if transaction.state == ACCEPTED else data
            self.send(data, transaction.flow)
            self._schedule(transaction)

    def respond_stateless(self, request: SipRequest, data: bytes) -> None:
        """Send a response once, to where the request came from, and remember nothing."""
        self.send(data, response_flow(request))

    def send_request(
        self,
        request: OutgoingRequest,
        flow: Flow,
        now: float,
        *,
        owner: object,
        timeout: float | None = None,
        data: bytes | None = None,
    ) -> ClientTransaction:
        """Send a request in a client transaction; `timeout` replaces Timer B or F, in seconds; `data` are the
        request's bytes where they are known.

        An INVITE that timed out before 64*T1, or lost its connection, is listened for until 64*T1: a late
        provisional response is answered by CANCEL, and a late 2xx passed up.
        """
        transaction = ClientTransaction(request, flow, self._own_sent_by(request), timeout)
        transaction.owner = owner
        if data is None:
            data = serialize_request(request)
        transaction.data = data
        self._clients[(request.branch, request.method)] = transaction
        if transaction.reliable:
            self._by_flow.setdefault(flow, {})[transaction] = None
        transaction.step(REQUEST, now, self.timers)
        self.send(data, flow)
        self._schedule(transaction)
        return transaction

    def cancel(self, transaction: ClientTransaction, reason: bytes | None, now: float) -> None:
        """Cancel an INVITE: at once when a provisional response was received, else as soon as one is (RFC
        3261 §9.1); with a Reason header where `reason` is its value (RFC 3326). When no final response
        follows within 64*T1, the transaction times out. Nothing happens after a final response."""
        if transaction.cancel_sent:
            return
        effects = transaction.step(CANCEL, now, self.timers)
        if REMEMBER_CANCEL in effects:
            transaction.cancel_wanted = True
            transaction.cancel_reason = reason
        elif SEND_CANCEL in effects:
            transaction.cancel_wanted = False
            transaction.cancel_sent = True
            self._schedule(transaction)
            request = build_cancel(transaction.request, reason)
            self.send_request(request, transaction.flow, now, owner=None)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send without a transaction: the ACK to a 2xx."""
        if data.startswith(b"SIP/2.0 "):
            kind = STATUS_KINDS[data[8] - 48]
        else:
            kind = METHOD_KINDS.get(data[: data.find(b" ")], OTHER)
        self.counters.message(OUT, flow.transport, kind)
        self.outbox.append((data, flow))

    # --- what time and the network do -------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When `handle_timers` is due next, or None. May be earlier than there is something to do."""
        return self._heap[0][0] if self._heap else None

    def handle_timers(self, now: float) -> list[Event]:
        """Do what is due at `now`."""
        events: list[Event] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, _, transaction = heappop(heap)
            if due != transaction.queued_at:
                continue  # an earlier entry has taken this one's place
            transaction.queued_at = NEVER
            if transaction.state == TERMINATED:
                continue
            if transaction.expire_at <= now:
                timer = transaction.expire_timer
                transaction.expire_at = NEVER
            elif transaction.retransmit_at <= now:
                timer = transaction.retransmit_timer
                transaction.retransmit_at = NEVER
            else:
                self._schedule(transaction)
                continue
            self._bring_about(transaction, transaction.step(timer, now, self.timers), None, now, events)
        return events

    def transport_failed(self, flow: Flow, now: float) -> list[Event]:
        """Nothing can be sent over `flow` any more: its client transactions fail. Server transactions stay as
        they are (RFC 6026)."""
        events: list[Event] = []
        for transaction in list(self._by_flow.get(flow, ())):
            effects = transaction.step(TRANSPORT_ERROR, now, self.timers)
            self._bring_about(transaction, effects, None, now, events)
        return events

    def _bring_about(
        self,
        transaction: Transaction,
        effects: tuple[str, ...],
        response: SipResponse | None,
        now: float,
        events: list[Event],
    ) -> None:
        """Do what the table says has to be done, and keep the books after it."""
        for effect in effects:
            if effect == RESEND:
                if transaction.data:
                    self.counters.retransmissions[OUT] += 1
                    self.send(transaction.data, transaction.flow)
            elif isinstance(transaction, ClientTransaction):
                self._client_effect(transaction, effect, response, events)
            elif isinstance(transaction, ServerTransaction):
                events.append(ServerTerminated(transaction, effect == ENDED))
        if transaction.state == TERMINATED:
            self._forget(transaction)
            if not effects:
                transaction.owner = None  # nobody asks any more: no cycle is left for the collector
                if isinstance(transaction, ClientTransaction):
                    transaction.request = _SPENT  # a call that lives keeps its transaction, not what was sent
        else:
            self._schedule(transaction)

    def _client_effect(
        self, transaction: ClientTransaction, effect: str, response: SipResponse | None, events: list[Event]
    ) -> None:
        if effect == PASS_UP:
            if transaction.retransmit_at == NEVER:
                transaction.data = b""
            if response is not None and transaction.request.method != b"CANCEL":
                events.append(ResponseReceived(transaction, response))
        elif effect == ACKNOWLEDGE:
            if response is not None:
                self.send(build_ack(transaction.request, response), transaction.flow)
        elif transaction.request.method != b"CANCEL":
            if transaction.state == OVERDUE:
                transaction.data = b""
                if not transaction.cancel_wanted:
                    transaction.cancel_wanted = True
                    transaction.cancel_reason = _TOO_LATE
            if effect == TIMED_OUT:
                events.append(ClientTimedOut(transaction))
            elif effect == FAILED:
                events.append(TransportFailed(transaction))

    # --- books ------------------------------------------------------------------------------------

    def _schedule(self, transaction: Transaction) -> None:
        """One live heap entry a transaction. A deadline that moved back waits for the old entry; one that
        moved forward gets a new entry, and the old one is void."""
        due = transaction.retransmit_at
        if transaction.expire_at < due:
            due = transaction.expire_at
        if due < transaction.queued_at:
            transaction.queued_at = due
            self._sequence += 1
            heappush(self._heap, (due, self._sequence, transaction))

    def _forget(self, transaction: Transaction) -> None:
        transaction.data = b""
        if isinstance(transaction, ServerTransaction):
            key = transaction.request.key
            if self._servers.get(key) is transaction:
                del self._servers[key]
        elif isinstance(transaction, ClientTransaction):
            request = transaction.request
            client_key = (request.branch, request.method)
            if self._clients.get(client_key) is transaction:
                del self._clients[client_key]
            if transaction.reliable:
                others = self._by_flow.get(transaction.flow, {})
                others.pop(transaction, None)
                if not others:
                    self._by_flow.pop(transaction.flow, None)

    def _own_sent_by(self, request: OutgoingRequest) -> tuple[bytes, int | None]:
        """Host and port of our Via in the request: a response must come with the same (RFC 3261 §18.1.2).
        There are as many as listeners."""
        line = request.headers[0][1]
        prefix = line.partition(b";")[0]
        known = self._sent_by.get(prefix)
        if known is None:
            via = parse_via(unfold(line.partition(b":")[2]))
            known = self._sent_by[prefix] = (via.host, via.port)
        return known


def _forwarded(request: OutgoingRequest) -> bool:
    """Whether the request has another Via than ours."""
    headers = request.headers
    return len(headers) > 1 and headers[1][0] == b"via"
