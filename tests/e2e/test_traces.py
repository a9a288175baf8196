"""What callers leave behind: series of metrics, secrets in texts, the cost of a scanner (O02, O03, O07)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.configuration import configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer, refusing
from tests.e2e.ports import STRANGER
from tests.e2e.sip_text import fresh, text
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
DISTINCT = 2_000
SCAN = int(os.environ.get("TRUNKWARDEN_SCAN", "20000"))  # the page's number is 100,000: some minutes more
WINDOW = 100
FIRST = 50 * WINDOW
LIMIT_SECONDS = 20.0
# The ledger's verbs are scripts. Housekeeping runs a few at any time, whatever arrives.
VERBS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_xadd", "cmdstat_hset", "cmdstat_set")
COMMANDS_A_SECOND = 10
GROWTH_MEGABYTES = 5.0
CANARIES = {
    "token": "canary-token-7f3a91",
    "secret": "canary-secret-5b1c04",
    "password": "canary-password-c2d8e6",
}


@pytest.fixture
def proxy(serve, redis_server, provider, tmp_path) -> Iterator[Trunkwarden]:
    provider.reaction = refusing("486 Busy Here")
    for name, value in CANARIES.items():
        (tmp_path / name).write_text(value)
    config = configuration(
        tmp_path, redis_server.url, [provider_entry("carrier", provider.address)],
        [
            trunk("desk", DESK),
            trunk("digest", "127.0.0.11", auth="ip_and_digest", username="u",
                  password_file=str(tmp_path / "password")),
        ],
        admin={"listen": "127.0.0.1:0", "token_file": str(tmp_path / "token")},
        ledger={"lease_seconds": 600, "secret_file": str(tmp_path / "secret")},
    )  # fmt: skip
    started = serve(config)
    started.folder = tmp_path
    started.http.headers["Authorization"] = f"Bearer {CANARIES['token']}"
    return started


def request(peer: Peer, method: str, number: str, agent: str) -> bytes:
    headers = [
        ("Via", f"SIP/2.0/UDP {peer.host_port};rport;branch={fresh('z9hG4bK-trace-')}"),
        ("Max-Forwards", "70"), ("From", f"<sip:{agent}@b>;tag=1"), ("To", "<sip:b@b>"),
        ("Call-ID", fresh(agent)), ("CSeq", f"1 {method}"), ("User-Agent", agent),
        ("Contact", f"<sip:x@{peer.host_port}>"),
    ]  # fmt: skip
    return text(f"{method} sip:{number}@127.0.0.1 SIP/2.0", headers)


def flood(peer: Peer, proxy: Trunkwarden, messages: Iterator[bytes]) -> int:
    """Send them, a window at a time, each answered by one message or more; the bytes that were sent."""
    sent = 0
    for count, message in enumerate(messages, 1):
        peer.send(message, proxy.address)
        sent += len(message)
        if count % WINDOW == 0:
            wanted = count
            eventually(lambda wanted=wanted: len(peer.received) >= wanted, LIMIT_SECONDS, "the answers")
    return sent


def series(proxy: Trunkwarden) -> set[str]:
    lines = proxy.http.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")}


def memory(process: int) -> float:
    """Resident megabytes."""
    fields = Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def test_what_callers_choose_makes_no_series(proxy, new_peer) -> None:
    desk, stranger = new_peer(DESK), new_peer(STRANGER)
    methods = ("INVITE", "OPTIONS", "MESSAGE")

    def messages(peer: Peer, begin: int, end: int) -> Iterator[bytes]:
        for number in range(begin, end):
            # Numbers that are refused, so that no call stays; a method that nobody knows now and then.
            method = f"M{number}" if number % 10 == 0 else methods[number % 3]
            yield request(peer, method, f"+1876{number:07d}", f"agent-{number}")

    flood(desk, proxy, messages(desk, 0, WINDOW))
    flood(stranger, proxy, messages(stranger, 0, WINDOW))
    # Of the ledger's verbs that of the records is the last to be used.
    eventually(lambda: [name for name in series(proxy) if 'verb="records"' in name], what="the records")
    before = series(proxy)
    flood(desk, proxy, messages(desk, WINDOW, DISTINCT // 2))
    flood(stranger, proxy, messages(stranger, WINDOW, DISTINCT // 2))

    new = series(proxy) - before
    assert len(new) <= 2, new  # a busy machine may have begun to answer 503
    assert not [name for name in before if "agent-" in name or "1876" in name]


def test_secrets_are_told_to_nobody(proxy, new_peer, tmp_path) -> None:
    """Not in logs, records, metrics, answers or errors, whatever goes wrong."""
    told: list[str] = []
    for source in (DESK, "127.0.0.11", STRANGER):
        peer = new_peer(source)
        call = OutgoingCall(peer, proxy.address, "+12025550123").send()
        told.append(str(call.final()))
        peer.send(call.invite().replace(b"CSeq: 1", b"CSeq: x"), proxy.address)
        peer.send(b"\x00\xff garbage", proxy.address)
    for path in ("/metrics", "/readyz", "/v1/policy", "/v1/calls", "/v1/decisions?limit=10", "/openapi.json"):
        told.append(proxy.http.get(path).text)
        told.append(proxy.http.get(path, headers={"Authorization": "Bearer wrong"}).text)
    told.append(proxy.http.post("/v1/explain", json={"source": DESK, "to": "\x00"}).text)
    told.append(proxy.http.post("/v1/explain", content=b"{").text)
    eventually(lambda: len(proxy.records()) >= 2, what="the records of the call that was admitted")
    good = proxy.file.read_text()
    broken = tmp_path / "broken.yaml"
    for spoilt in (good + "\ntrunks: 1", good.replace("auth: ip_and_digest", "auth: [x]"), good + "\n\t:"):
        broken.write_text(spoilt)
        done = command("check", "-c", str(broken))
        told += [done.stdout, done.stderr]
        proxy.write(spoilt)
        told.append(proxy.http.post("/v1/reload").text)
    proxy.write(good)
    done = command("explain", "-c", str(proxy.file), "--source", DESK, "--to", "+12025550123", "--json")
    told += [done.stdout, done.stderr, proxy.stdout(), proxy.stderr(), repr(proxy.records())]

    for name, canary in CANARIES.items():
        assert not [said for said in told if canary in said], name


def test_scanner_costs_an_answer_and_nothing_else(proxy, provider, redis_server, new_peer) -> None:
    """No word to the ledger, no state, no more bytes than one and a half times its own."""
    stranger = new_peer(STRANGER)
    arrived = provider.count("INVITE")
    prefixes = ("", "00", "011", "9", "900", "+", "0011", "*72")

    def scan(begin: int, end: int) -> Iterator[bytes]:
        for number in range(begin, end):
            called = f"{prefixes[number % len(prefixes)]}1202555{number:05d}"
            yield request(stranger, "INVITE", called, f"scanner{number}")

    flood(stranger, proxy, scan(0, FIRST))  # what is made once is made now
    stranger.received.clear()
    before, keys = redis_server.command_calls(), redis_server.keys()
    ledger, held = redis_server.client.info("memory")["used_memory"], memory(proxy.process.pid)
    asked = redis_server.client.info("server")["uptime_in_seconds"]

    sent = flood(stranger, proxy, scan(FIRST, FIRST + SCAN))

    took = redis_server.client.info("server")["uptime_in_seconds"] - asked + 1
    after = redis_server.command_calls()
    commands = sum(after.get(verb, 0) - before.get(verb, 0) for verb in VERBS)
    assert commands <= COMMANDS_A_SECOND * took
    assert redis_server.keys() <= keys  # what an earlier call left may go meanwhile
    assert redis_server.client.info("memory")["used_memory"] - ledger < 512 * 1024
    assert memory(proxy.process.pid) - held < GROWTH_MEGABYTES
    assert sum(len(datagram.message.raw) for datagram in stranger.received) <= 1.5 * sent
    assert {datagram.message.status for datagram in stranger.received} == {403}
    assert provider.count("INVITE") == arrived
