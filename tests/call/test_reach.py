"""What calls remember of hosts, with time in the test's hand."""

from __future__ import annotations

from proxy.call.reach import LONGEST_REST_SECONDS, REST_SECONDS, STREAM_SECONDS, Hop, Reachability
from proxy.sip.message import HURRIED, Flow

LOCAL = ("127.0.0.1", 5060)


def flow(host: str, transport: str = "udp") -> Flow:
    return Flow(transport, LOCAL, (host, 5060), HURRIED if transport == "tcp" else 0)


A, B, C = (Hop(flow(host)) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"))


def test_hops_keep_their_order_while_nothing_is_known() -> None:
    hops = (A, B, C)
    assert Reachability().ordered(hops, 0.0) is hops


def test_what_failed_is_last_until_it_has_rested() -> None:
    reach = Reachability()
    reach.failed(A.flow, 10.0)
    assert list(reach.ordered((A, B, C), 10.0)) == [B, C, A]
    reach.failed(B.flow, 20.0)
    assert list(reach.ordered((A, B, C), 20.0)) == [C, A, B]
    assert list(reach.ordered((A, B, C), 10.0 + REST_SECONDS)) == [A, C, B]


def test_what_names_its_time_rests_for_that_long() -> None:
    reach = Reachability()
    reach.failed(A.flow, 10.0, 120)
    reach.failed(B.flow, 10.0, 5)
    assert list(reach.ordered((A, B, C), 10.0 + REST_SECONDS)) == [B, C, A]
    assert list(reach.ordered((A, B, C), 129.9)) == [B, C, A]
    assert list(reach.ordered((A, B, C), 130.0)) == [A, B, C]
    reach.failed(A.flow, 200.0, 999_999)
    assert list(reach.ordered((A, B), 200.0 + LONGEST_REST_SECONDS)) == [A, B]


def test_nothing_is_left_out_when_all_have_failed() -> None:
    reach = Reachability()
    for hop in (A, B, C):
        reach.failed(hop.flow, 10.0)
    assert list(reach.ordered((B, A, C), 10.0)) == [B, A, C]
    assert list(reach.ordered((A,), 10.0)) == [A]


def test_what_answers_has_its_place_at_once() -> None:
    reach = Reachability()
    reach.failed(A.flow, 10.0)
    reach.answered(A.flow)
    reach.answered(B.flow)
    assert list(reach.ordered((A, B), 10.0)) == [A, B]


def test_another_transport_of_the_same_host_is_another_hop() -> None:
    reach = Reachability()
    reach.failed(flow("192.0.2.1", "tcp"), 10.0)
    assert list(reach.ordered((A, B), 10.0)) == [A, B]


def test_whether_a_host_takes_tcp_is_remembered_for_some_minutes() -> None:
    reach, stream = Reachability(), flow("192.0.2.1", "tcp")
    assert (reach.may_stream(stream, 0.0), reach.streams(stream, 0.0)) == (True, False)
    reach.stream_found(stream, False, 10.0)
    assert (reach.may_stream(stream, 11.0), reach.streams(stream, 11.0)) == (False, False)
    later = 10.0 + STREAM_SECONDS
    assert (reach.may_stream(stream, later), reach.streams(stream, later)) == (True, False)
    reach.stream_found(stream, True, later)
    assert (reach.may_stream(stream, later), reach.streams(stream, later)) == (True, True)


def test_memory_is_bounded() -> None:
    reach = Reachability()
    for number in range(5000):
        reach.failed(flow(f"host{number}"), float(number))
        reach.stream_found(flow(f"host{number}", "tcp"), False, float(number))
    assert len(reach._resting) == len(reach._streams) == 1024
    assert not reach.may_stream(flow("host4999", "tcp"), 4999.0)
