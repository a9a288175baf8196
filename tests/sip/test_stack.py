"""The stack's edges: matching, counting, flows, and bytes that nobody should send. For the protocol see
test_transaction.py."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sip.counters import SipCounters
from proxy.sip.errors import CAUSES
from proxy.sip.events import AckReceived, RequestReceived, ResponseReceived
from proxy.sip.message import Flow
from proxy.sip.serialize import build_response, serialize_request
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from tests.playbook import CALLEE, CALLER, PROXY, Ladder, flow_to, outgoing, request_bytes, response_to


@pytest.fixture
def stack() -> SipStack:
    return SipStack(Timers(), SipCounters())


def accepted(stack: SipStack, data: bytes, flow: Flow) -> None:
    [event] = stack.receive(data, flow, 0.0)
    assert isinstance(event, RequestReceived)
    stack.accept(event.request, 0.0)


def test_same_branch_from_another_sent_by_is_another_transaction(stack: SipStack) -> None:
    accepted(stack, request_bytes(), flow_to(CALLER))
    accepted(stack, request_bytes(via="SIP/2.0/UDP 192.0.2.11:5062"), flow_to(CALLER))
    assert stack.transactions == 2
    assert stack.receive(request_bytes(), flow_to(CALLER), 0.1) == []


def test_another_source_cancels_nothing(stack: SipStack) -> None:
    accepted(stack, request_bytes(), flow_to(CALLER))
    assert stack.receive(request_bytes("CANCEL"), flow_to(("203.0.113.66", 5062)), 0.1) == []
    [(answer, flow)] = stack.outbox
    assert answer.startswith(b"SIP/2.0 481 ")
    assert flow.remote[0] == "203.0.113.66"


def test_request_is_not_held_before_it_is_accepted(stack: SipStack) -> None:
    for _ in range(3):
        [event] = stack.receive(request_bytes(), flow_to(CALLER), 0.0)
        assert isinstance(event, RequestReceived)
        stack.respond_stateless(event.request, build_response(event.request, 403, b"No", to_tag=b"x"))
    assert stack.transactions == 0
    assert stack.next_timer() is None
    assert len(stack.outbox) == 3


def test_answers_leave_by_the_listener_that_the_request_came_to(stack: SipStack) -> None:
    flow = Flow("udp", ("192.0.2.99", 5080), ("192.0.2.10", 40000))
    data = request_bytes().replace(b";branch", b";rport;branch")
    [event] = stack.receive(data, flow, 0.0)
    assert isinstance(event, RequestReceived)
    transaction = stack.accept(event.request, 0.0)
    stack.respond(transaction, build_response(event.request, 100, b"Trying"), 100, 0.0)
    [(answer, back)] = stack.outbox
    assert back == flow
    assert b";rport=40000;branch=z9hG4bKcaller1;received=192.0.2.10\r\n" in answer


@pytest.mark.parametrize(
    "data",
    [
        request_bytes("CANCEL"),
        request_bytes(cseq="x"),
        request_bytes().replace(b"SIP/2.0\r\n", b"SIP/9.9\r\n"),
    ],
    ids=["CANCEL", "malformed", "version"],
)
def test_who_is_not_to_be_answered_is_not_told_what_is_wrong(stack: SipStack, data: bytes) -> None:
    stack.answers = {CALLER[0]}.__contains__
    assert stack.receive(data, flow_to(("203.0.113.66", 5062)), 0.0) == []
    assert stack.outbox == []
    assert stack.receive(data, flow_to(CALLER), 0.0) == []
    assert len(stack.outbox) == 1


STRAY = {
    "unknown branch": (b"z9hG4bKproxy1", b"z9hG4bKother"),
    "another sent-by": (b"UDP 192.0.2.1:5060", b"UDP 203.0.113.66:5060"),
    "another port": (b"UDP 192.0.2.1:5060", b"UDP 192.0.2.1:5061"),
    "another method": (b"7 INVITE", b"7 BYE"),
    "our Via below another": (b"Via: ", b"Via: SIP/2.0/UDP x;branch=y\r\nVia: "),
}


@pytest.mark.parametrize(("old", "new"), STRAY.values(), ids=STRAY.keys())
def test_response_that_is_not_ours_is_dropped_and_counted(stack: SipStack, old: bytes, new: bytes) -> None:
    request = outgoing()
    stack.send_request(request, flow_to(CALLEE), 0.0, owner=None)
    data = response_to(serialize_request(request), 200)
    assert old in data
    assert stack.receive(data.replace(old, new, 1), flow_to(CALLEE), 0.1) == []
    assert stack.counters.stray == 1
    [event] = stack.receive(data, flow_to(CALLEE), 0.2)
    assert isinstance(event, ResponseReceived)


def test_owner_comes_back_with_each_response(stack: SipStack) -> None:
    request, owner = outgoing(), object()
    client = stack.send_request(request, flow_to(CALLEE), 0.0, owner=owner)
    assert not client.provisional_received
    [event] = stack.receive(response_to(serialize_request(request), 100), flow_to(CALLEE), 0.1)
    assert isinstance(event, ResponseReceived)
    assert event.transaction is client
    assert event.transaction.owner is owner
    assert client.provisional_received


def test_owner_is_let_go_when_a_transaction_ends_in_silence_and_kept_for_its_last_event() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send BYE     : < BYE
        0.1   > 200        : ResponseReceived
        6     .            :
    """)
    assert ladder.client is not None
    assert ladder.client.owner is None
    ladder.play("""
        6     send OPTIONS : < OPTIONS
        38    .            : < OPTIONS, < OPTIONS, < OPTIONS, < OPTIONS, < OPTIONS, < OPTIONS, < OPTIONS, \
< OPTIONS, < OPTIONS, < OPTIONS, ClientTimedOut
    """)
    assert ladder.client.owner == "user"


def test_ack_without_cookie_finds_its_transaction(stack: SipStack) -> None:
    """RFC 2543 elements still get their refusals acknowledged."""
    data = request_bytes(branch="1")
    accepted_event = stack.receive(data, flow_to(CALLER), 0.0)[0]
    assert isinstance(accepted_event, RequestReceived)
    request = accepted_event.request
    transaction = stack.accept(request, 0.0)
    stack.respond(transaction, build_response(request, 486, b"Busy", to_tag=b"p1"), 486, 0.0)
    assert stack.receive(request_bytes("ACK", branch="1", to_tag="p1"), flow_to(CALLER), 0.1) == []
    assert transaction.state == "confirmed"
    [event] = stack.receive(request_bytes("ACK", branch="2", to_tag="p1"), flow_to(CALLER), 0.2)
    assert isinstance(event, AckReceived)


def test_messages_are_counted_by_kinds_that_no_sender_invents(stack: SipStack) -> None:
    stack.receive(request_bytes(), flow_to(CALLER), 0.0)
    stack.receive(request_bytes("FROBNICATE"), flow_to(CALLER), 0.0)
    stack.receive(request_bytes("FROB2"), flow_to(CALLER, "tcp"), 0.0)
    stack.receive(response_to(request_bytes(), 486), flow_to(CALLER), 0.0)
    stack.receive(request_bytes("CANCEL"), flow_to(CALLER), 0.0)
    stack.send(serialize_request(outgoing(b"FROB3")), flow_to(CALLEE))
    assert stack.counters.messages == {
        ("in", "udp", "INVITE"): 1,
        ("in", "udp", "other"): 1,
        ("in", "tcp", "other"): 1,
        ("in", "udp", "4xx"): 1,
        ("in", "udp", "CANCEL"): 1,
        ("out", "udp", "4xx"): 1,
        ("out", "udp", "other"): 1,
    }


def test_malformed_is_counted_by_cause_and_answered(stack: SipStack) -> None:
    data = request_bytes(body=b"v=0").replace(b"Length: 3", b"Length: 9999")
    assert stack.receive(data, flow_to(CALLER), 0.0) == []
    assert stack.receive(b"\x00" * 4, flow_to(CALLER), 0.0) == []
    assert stack.counters.malformed == {"body": 1, "not_sip": 1}
    [(answer, _)] = stack.outbox
    assert answer.startswith(b"SIP/2.0 400 ")


def test_keepalives_cost_nothing(stack: SipStack) -> None:
    assert stack.receive(b"\r\n\r\n", flow_to(CALLER), 0.0) == []
    assert stack.receive(b"\r\n", flow_to(CALLER), 0.0) == []
    assert not stack.outbox
    assert stack.counters.malformed == {}


def test_a_transaction_has_one_live_entry_among_the_timers() -> None:
    """Deadlines that move back do not pile up: a call that rings and is answered leaves one entry a side."""
    ladder = Ladder()
    ladder.play("""
        0     > INVITE     : RequestReceived
        0     accept       :
        0     send INVITE  : < INVITE
        0.1   > 180        : ResponseReceived
        0.2   > 180        : ResponseReceived
        0.3   > 200        : ResponseReceived
        0.3   reply 200    : < 200
    """)
    assert len(ladder.stack._heap) == 2
    ladder.play("40 . : ServerTerminated")
    assert ladder.stack.next_timer() is None


def test_a_deadline_that_moves_forward_voids_the_old_entry(stack: SipStack) -> None:
    client = stack.send_request(outgoing(b"BYE"), flow_to(CALLEE), 0.0, owner=None)
    client.retransmit_at = 0.25
    stack._schedule(client)
    assert stack.next_timer() == 0.25
    stack.handle_timers(0.25)
    stack.handle_timers(0.5)
    assert len(stack._heap) == 1
    assert stack.next_timer() == client.queued_at == client.retransmit_at == 1.25


def test_a_stalled_process_does_not_make_up_for_lost_retransmissions(stack: SipStack) -> None:
    stack.send_request(outgoing(), flow_to(CALLEE), 0.0, owner=None)
    stack.outbox.clear()
    stack.handle_timers(10.0)
    assert len(stack.outbox) == 1


# --- whatever the bytes, receive never raises ---

SEEDS = [
    request_bytes(body=b"v=0\r\n"),
    request_bytes("ACK"),
    request_bytes("CANCEL"),
    request_bytes("BYE", extra="Subject: a\r\n b\r\nX: \"\\\x00\"\r\n"),
    request_bytes().replace(b";branch", b";rport;received=1.2.3.4;x=\"q,\" ;branch"),
    response_to(serialize_request(outgoing()), 200),
    response_to(serialize_request(outgoing()), 180),
]  # fmt: skip
TOKENS = [
    b"\r\n", b"\r", b"\n", b"\x00", b" ", b"\t", b";", b",", b":", b'"', b"<", b">", b"=", b"%",
    b"@", b"[", b"]", b"\\", b"SIP/2.0", b"Via: ", b"\r\n ", b"\r\n\r\n", b"tag=", b";rport",
    b";received=", b"4294967296", b"-1", b"\xff",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + draw(st.sampled_from([0, 1, 2, 8, 60])))))
        piece = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)))
        data = data[:start] + piece + data[end:]
    return data


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(mutated(), st.binary(max_size=200)), min_size=1, max_size=4))
def test_no_bytes_raise(messages: list[bytes]) -> None:
    stack = SipStack(Timers(), SipCounters())
    stack.send_request(outgoing(), flow_to(CALLEE), 0.0, owner=None)
    stack.outbox.clear()
    now = 0.0
    for data in messages:
        now += 0.3
        for event in stack.receive(data, flow_to(CALLER), now):
            if isinstance(event, RequestReceived) and event.request.method != b"ACK":
                transaction = stack.accept(event.request, now)
                answer = build_response(event.request, 486, b"Busy", to_tag=b"p1")
                stack.respond(transaction, answer, 486, now)
        stack.handle_timers(now)
    assert set(stack.counters.malformed) <= CAUSES
    for answer, flow in stack.outbox:
        head, blank, _ = answer.partition(b"\r\n\r\n")
        assert blank
        assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
        assert flow.local == PROXY
        assert flow.remote[0] in (CALLER[0], CALLEE[0])
