"""The harness: what the other tests lean on does what it says."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.configuration import configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer, refusing
from tests.e2e.ports import NOBODY, PROVIDER, STRANGER, free_udp_port
from tests.e2e.sip_text import Message, answer, fresh, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.waiting import eventually, socket_is_bound


def test_eventually_waits_for_the_condition() -> None:
    values = iter([0, 0, 7])

    assert eventually(lambda: next(values)) == 7


def test_eventually_fails_in_time() -> None:
    started = time.monotonic()

    with pytest.raises(AssertionError, match="the moon did not come within"):
        eventually(lambda: False, 0.1, "the moon")
    assert 0.1 <= time.monotonic() - started < 15.0  # it would wait 20 s unless told otherwise


def test_eventually_looks_once_more_when_the_time_is_over() -> None:
    """A machine that stood still must not be taken for a condition that did not come."""

    def late() -> bool:
        looks.append(time.monotonic())
        time.sleep(0.1)
        return len(looks) > 1

    looks: list[float] = []
    assert eventually(late, 0.05)


def test_bound_socket_is_seen(new_peer) -> None:
    peer = new_peer(PROVIDER)

    assert socket_is_bound("udp", *peer.address)
    assert not socket_is_bound("udp", NOBODY, free_udp_port(NOBODY))


def test_free_ports_are_none_that_the_system_hands_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_udp_port(NOBODY) for _ in range(100)]

    assert len(set(ports)) == 100
    assert max(ports) < lowest


def test_a_port_that_is_free_is_nobody_elses(new_peer) -> None:
    """Neither UDP's nor TCP's, nor is the next one; and it is given to one alone."""
    found = [free_udp_port(PROVIDER) for _ in range(20)]
    assert len({*found, *(port + 1 for port in found)}) == 40
    for port in found[:2]:
        new_peer(PROVIDER, port=port)
    with socket.create_server((PROVIDER, found[2])), socket.create_server((PROVIDER, found[3] + 1)):
        again = [free_udp_port(PROVIDER) for _ in range(400)]
    assert not set(found[:4]) & set(again)
    assert set(found[4:]) & set(again)


def test_message_is_read_as_it_came() -> None:
    message = Message.parse(
        b"SIP/2.0 180 Ringing\r\nv: one\r\nVia: two\r\nCSeq: 4 INVITE\r\nTo: <sip:a>;tag=9\r\n\r\nbody"
    )

    assert (message.status, message.method, message.body) == (180, "INVITE", b"body")
    assert message.all("via") == ["one", "two"]
    assert message.tag("to") == "9"
    with pytest.raises(AssertionError, match="2 headers via"):
        message.one("via")


def test_text_and_message_are_each_others_inverse() -> None:
    message = Message.parse(text("OPTIONS sip:a SIP/2.0", [("X-Odd", "caf\u00e9 \udcff")], b"\x00\xff"))

    assert (message.method, message.uri, message.one("x-odd")) == ("OPTIONS", "sip:a", "caf\u00e9 \udcff")
    assert message.one("content-length") == "2"


def test_answer_copies_what_it_must() -> None:
    headers = [("Via", "a"), ("Via", "b"), ("Record-Route", "r"), ("From", "f"), ("To", "t"),
               ("Call-ID", "c"), ("CSeq", "1 INVITE")]  # fmt: skip
    response = Message.parse(answer(Message.parse(text("INVITE sip:x SIP/2.0", headers)), "200 OK", tag="z"))

    assert response.all("via") == ["a", "b"]
    assert (response.one("record-route"), response.one("to")) == ("r", "t;tag=z")


def test_peers_keep_order_and_take_each_message_once(new_peer) -> None:
    near: Peer = new_peer(STRANGER)
    far: Peer = new_peer(PROVIDER, refusing("486 Busy Here"))
    for number in (1, 2):
        headers = [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", str(number)), ("CSeq", "1 INVITE")]
        near.send(text("INVITE sip:x SIP/2.0", headers), far.address)

    assert [far.expect_request("INVITE").one("call-id") for _ in range(2)] == ["1", "2"]
    assert near.expect_response(486, call_id="2").one("call-id") == "2"
    assert near.expect_response(486).one("call-id") == "1"
    with pytest.raises(AssertionError, match="got no 486 to INVITE within"):
        near.expect_response(486, limit=0.1)


def test_a_request_that_is_sent_again_is_had_once(new_peer) -> None:
    near, far = new_peer(STRANGER), new_peer(PROVIDER)
    for number in (1, 1, 2):
        headers = [("Via", f"v{number}"), ("Call-ID", "c"), ("CSeq", f"{number} INFO")]
        near.send(text("INFO sip:x SIP/2.0", headers), far.address)

    assert [far.expect_request("INFO").one("cseq") for _ in range(2)] == ["1 INFO", "2 INFO"]
    assert len(far.requests("INFO", "c")) == 3


def test_quiet_peer_notices_noise(new_peer) -> None:
    near = new_peer(STRANGER)
    far = new_peer(PROVIDER)
    far.stays_quiet(0.05)
    heard = threading.Event()

    def noise() -> None:
        while not heard.wait(0.1):
            near.send(text("INVITE sip:x SIP/2.0", [("CSeq", "1 INVITE")]), far.address)

    noisy = threading.Thread(target=noise)
    noisy.start()

    try:
        with pytest.raises(AssertionError, match="got what it should not get"):
            far.stays_quiet(10.0)
    finally:
        heard.set()
        noisy.join()


def test_fresh_is_fresh() -> None:
    assert len({fresh("a") for _ in range(100)}) == 100


def test_program_that_does_not_come_up_shows_why(tmp_path, redis_server) -> None:
    config = configuration(tmp_path, redis_server.url, [], [trunk("desk", STRANGER)], nonsense=1)

    with pytest.raises(AssertionError, match="nonsense"):
        Trunkwarden(config, tmp_path / "server")


def test_program_starts_answers_and_stops(serve, redis_server, tmp_path) -> None:
    config = configuration(
        tmp_path, redis_server.url, [provider_entry("carrier", (PROVIDER, 5060))], [trunk("desk", STRANGER)]
    )

    proxy = serve(config)

    assert proxy.get("/healthz")
    assert proxy.get("/readyz")
    assert proxy.policy_version() in proxy.ready
    assert socket_is_bound("udp", *proxy.address)
    proxy.stop()
    assert not socket_is_bound("udp", *proxy.address)


def test_second_program_on_the_same_socket_is_exit_4(serve, redis_server, tmp_path) -> None:
    config = configuration(
        tmp_path, redis_server.url, [provider_entry("carrier", (PROVIDER, 5060))], [trunk("desk", STRANGER)]
    )
    first = serve(config)

    with pytest.raises(AssertionError, match=r"ended with 4[\s\S]*cannot bind"):
        Trunkwarden(config | {"listen": [f"udp:{first.address[0]}:{first.address[1]}"]}, tmp_path / "second")
