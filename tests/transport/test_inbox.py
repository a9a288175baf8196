"""Lanes: who is served first, who is served at all, and how much may wait."""

from __future__ import annotations

from proxy.sip.message import Flow
from proxy.transport.inbox import SLICE, Inbox

PROXY = ("127.0.0.1", 5060)
PBX = Flow("udp", PROXY, ("127.0.0.2", 5060))
STRANGER = Flow("udp", PROXY, ("127.0.0.9", 5060))


def inbox() -> Inbox:
    return Inbox({"127.0.0.2"}.__contains__)


def taken(made: Inbox) -> list[bytes]:
    return [data for _, data, _ in made.take(0.0)]


def test_calls_under_way_before_new_ones_before_strangers() -> None:
    made = inbox()
    for data, flow in (
        (b"OPTIONS a", STRANGER),
        (b"INVITE a", PBX),
        (b"BYE a", PBX),
        (b"SIP/2.0 200 OK", PBX),
    ):
        made.put(data, flow, 1.0)
    assert len(made) == 4
    assert made.urgent
    assert taken(made) == [b"BYE a", b"SIP/2.0 200 OK", b"INVITE a", b"OPTIONS a"]
    assert not made
    assert not made.urgent


def test_cancel_stays_behind_its_invite() -> None:
    made = inbox()
    for data in (b"INVITE a", b"CANCEL a", b"ACK b"):
        made.put(data, PBX, 1.0)
    assert taken(made) == [b"ACK b", b"INVITE a", b"CANCEL a"]


def test_times_and_flows_come_back() -> None:
    made = inbox()
    made.put(b"BYE a", PBX, 3.5)
    made.put(b"INVITE a", STRANGER, 3.0)
    assert made.take(0.0) == [(3.5, b"BYE a", PBX), (3.0, b"INVITE a", STRANGER)]


def test_no_lane_starves() -> None:
    made = inbox()
    for number in range(1000):
        made.put(b"BYE %d" % number, PBX, 1.0)
        made.put(b"INVITE %d" % number, PBX, 1.0)
        made.put(b"OPTIONS %d" % number, STRANGER, 1.0)
    first = taken(made)
    assert len(first) == SLICE
    shares = [sum(data.startswith(kind) for data in first) for kind in (b"BYE", b"INVITE", b"OPTIONS")]
    assert shares == [44, 16, 4]


def test_what_one_lane_leaves_the_next_takes() -> None:
    made = inbox()
    for number in range(1000):
        made.put(b"INVITE %d" % number, PBX, 1.0)
    assert taken(made) == [b"INVITE %d" % number for number in range(SLICE)]
    for number in range(1000):
        made.put(b"OPTIONS %d" % number, STRANGER, 1.0)
    first = taken(made)
    assert [data.startswith(b"INVITE") for data in first] == [True] * (SLICE - 4) + [False] * 4


def test_order_within_a_lane_is_that_of_arrival() -> None:
    made = inbox()
    for number in range(300):
        made.put(b"BYE %d" % number, PBX, 1.0)
    found: list[bytes] = []
    while made:
        found += taken(made)
    assert found == [b"BYE %d" % number for number in range(300)]


def test_every_lane_is_bounded_and_strangers_fill_only_their_own() -> None:
    made = inbox()
    large = b"X" * 60_000
    for _ in range(2000):
        made.put(b"INVITE " + large, STRANGER, 1.0)
    assert made.dropped[2] > 1900
    assert len(made) * len(large) < 600_000
    made.put(b"BYE a", PBX, 1.0)
    made.put(b"INVITE a", PBX, 1.0)
    assert made.dropped[:2] == [0, 0]
    for _ in range(2000):
        made.put(b"INVITE " + large, PBX, 1.0)
        made.put(b"BYE " + large, PBX, 1.0)
    assert min(made.dropped) > 1000
    assert len(made) * len(large) < 40_000_000
    waiting = len(made)
    while made:
        waiting -= len(made.take(0.0))
    assert waiting == 0
    dropped = made.dropped[0]
    made.put(b"BYE " + large, PBX, 1.0)  # the room is given back
    assert made.dropped[0] == dropped


def test_new_calls_can_be_held_back() -> None:
    made = inbox()
    for number in range(100):
        made.put(b"INVITE %d" % number, PBX, 1.0)
        made.put(b"OPTIONS %d" % number, STRANGER, 1.0)
    made.put(b"BYE", PBX, 1.0)
    first = [data for _, data, _ in made.take(0.0, 16)]
    assert [data.split()[0] for data in first] == [b"BYE"] + [b"INVITE"] * 16 + [b"OPTIONS"] * 47
    assert len(made) == 201 - 64
    assert not made.urgent


def test_stale_calls_take_no_room_of_fresh_ones() -> None:
    made = inbox()
    for number in range(1000):
        made.put(b"INVITE %d" % number, PBX, 1.0 if number < 300 else 2.0)
    sizes = []
    while made:
        times = [since for since, _, _ in made.take(1.5, 16)]
        sizes.append((times.count(1.0), times.count(2.0)))
    assert sizes[0] == (272, 0)  # 256 beside the slice, which is all stale as well
    assert sizes[1] == (28, 16)
    assert set(sizes[2:-1]) == {(0, 16)}
