"""Instances die with calls up: others go on with them, count them, charge them, and end them when they are
dead.

TRUNKWARDEN_ADOPTED_CALLS sets how many calls are up when instances are killed (X01, X02).
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.redis_server import RedisServer
from tests.e2e.sip_text import Dialog, Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden, record_lines
from tests.e2e.user_agents import IncomingCall, OutgoingCall, incoming
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.long

PBX = "127.0.0.41"
RESCUE = "112"
LEASE_SECONDS = 2
T1_MS = 50
TIMEOUT_SECONDS = 64 * T1_MS / 1000
# A lease, two probes that nobody answers, and a BYE that nobody answers; and time to look.
FREED_SECONDS = LEASE_SECONDS + 3 * TIMEOUT_SECONDS + 8
CALLS = int(os.environ.get("TRUNKWARDEN_ADOPTED_CALLS", "30"))
WAIT_SECONDS = 20.0 + CALLS / 3
ONE_CALL = Decimal("0.10")  # Washington, a minute begun


@dataclass
class LiveCall:
    """Both ends of an answered call."""

    caller: OutgoingCall
    near: Dialog
    far: IncomingCall

    def hang_up_through(self, proxy: Trunkwarden, limit: float = 15.0) -> None:
        """The caller's BYE by way of this instance; its 200."""
        provider = self.far.peer
        self.caller.peer.send(self.near.request("BYE"), proxy.address)
        provider.expect_request("BYE", limit, self.caller.call_id)
        self.caller.peer.expect_response(200, "BYE", limit, self.caller.call_id)


def polite(message: Message) -> list[bytes]:
    """A user agent that answers what it is asked within its calls."""
    return [answer(message, "200 OK")] if message.method in ("BYE", "OPTIONS") else []


def gone(message: Message) -> list[bytes]:
    """A user agent that knows of no call."""
    if message.method in ("BYE", "OPTIONS"):
        return [answer(message, "481 Call/Transaction Does Not Exist")]
    return []


class Site:
    """Instances on one ledger, a PBX and a provider."""

    def __init__(self, serve, redis_server: RedisServer, folder, new_peer, **fields) -> None:
        self.provider: Peer = new_peer(PROVIDER, polite)
        self.pbx: Peer = new_peer(PBX, polite)
        self.lease_seconds = LEASE_SECONDS
        self._ledger = redis_server
        self._serve = serve
        self._folder = folder
        self._config = lambda name: configuration(
            folder / name,
            redis_server.url,
            [provider_entry("carrier", self.provider.address)],
            [trunk("office", PBX, **{"rate_deck": "retail", "reserve_seconds": 10, **fields})],
            ledger={"lease_seconds": self.lease_seconds},
            timers={"t1_ms": T1_MS},
            emergency={"numbers": [RESCUE], "providers": ["carrier"]},
        )
        self._count = 0

    def start(self) -> Trunkwarden:
        self._count += 1
        return self._serve(self._config(f"instance-{self._count}"))

    def lease_left(self) -> float:
        """Seconds until the lease of the only call lapses."""
        ((_, lapses_ms),) = self._ledger.client.zrange("{tw}:leases", 0, -1, withscores=True)
        seconds, microseconds = self._ledger.client.time()
        return lapses_ms / 1e3 - seconds - microseconds / 1e6

    def states(self) -> set[bytes]:
        """What others need to go on with calls that are answered: it is told a moment after the answer."""
        return set(self._ledger.client.keys("{tw}:d:*"))

    def call_records(self, number: int) -> list[dict]:
        """What the instance of this number, from 1, recorded of calls that ended."""
        records = record_lines(self._folder / f"instance-{number}" / "records.jsonl")
        return [record for record in records if record["record"] == "call"]

    def call(self, proxy: Trunkwarden, called: str = WASHINGTON) -> LiveCall:
        others = self.states()
        caller = OutgoingCall(self.pbx, proxy.address, called).send()
        far = incoming(self.provider, proxy.address, caller)
        far.accept()
        live = LiveCall(caller, caller.answered(), far)
        far.expect("ACK")
        eventually(lambda: self.states() - others, what="the answer in the ledger")
        return live


@pytest.fixture
def site(serve, own_redis, tmp_path, new_peer) -> Iterator[Site]:
    return Site(serve, own_redis, tmp_path, new_peer)


def minutes(since: float) -> int:
    """Increments begun since then."""
    return 1 + int((time.monotonic() - since) // 60)


@pytest.mark.timeout(120 + 2 * CALLS)
def test_calls_of_a_killed_instance_end_through_the_others(site) -> None:
    """X01: one of three instances is killed."""
    first, *others = [site.start() for _ in range(3)]
    begun = time.monotonic()
    calls = [site.call(first) for _ in range(CALLS)]
    first.kill()
    for number, live in enumerate(calls):
        live.hang_up_through(others[number % 2])
    for one in others:
        one.wait_until_idle("office")
    usage = others[0].usage("office")
    assert (usage["active_calls"], Decimal(usage["reserved_amount"])) == (0, 0)
    assert CALLS * ONE_CALL <= Decimal(usage["spent_amount"]) <= minutes(begun) * CALLS * ONE_CALL
    eventually(
        lambda: len(site.call_records(2)) + len(site.call_records(3)) == CALLS, WAIT_SECONDS, "all records"
    )
    records = site.call_records(2) + site.call_records(3)
    # To the last unit: no increment is lost or charged twice, whoever ended the call.
    assert sum(Decimal(record["cost"]) for record in records) == Decimal(usage["spent_amount"])
    for record in records:
        assert Decimal(record["cost"]) == ONE_CALL * -(-max(record["duration_ms"], 1) // 60_000)
    assert {record["ended_by"] for record in records} == {"caller"}


def test_a_call_that_lives_is_adopted_counted_and_left_alone(site) -> None:
    first, second = site.start(), site.start()
    live = site.call(first)
    first.kill()
    live.far.peer.expect_request("OPTIONS", FREED_SECONDS, live.caller.call_id)
    live.caller.peer.expect_request("OPTIONS", FREED_SECONDS, live.caller.call_id)
    assert second.usage("office")["active_calls"] == 1
    assert live.far.peer.requests("BYE", live.caller.call_id) == []
    # The provider's hang-up finds its way, too.
    far = live.far.dialog()
    site.provider.send(far.request("BYE"), second.address)
    live.caller.peer.expect_request("BYE", WAIT_SECONDS, live.caller.call_id)
    site.provider.expect_response(200, "BYE", WAIT_SECONDS, live.caller.call_id)
    second.wait_until_idle("office")
    assert Decimal(second.usage("office")["spent_amount"]) == Decimal("0.10")


def test_when_one_side_of_an_adopted_call_is_gone_the_other_gets_bye(site) -> None:
    first, second = site.start(), site.start()
    live = site.call(first)
    site.provider.reaction = gone
    first.kill()
    bye = live.caller.peer.expect_request("BYE", FREED_SECONDS, live.caller.call_id)
    assert 'text="Provider Has No Such Call"' in bye.one("reason")
    second.wait_until_idle("office", FREED_SECONDS)
    assert Decimal(second.usage("office")["spent_amount"]) == Decimal("0.10")


def test_a_call_that_both_sides_have_left_is_freed_in_the_stated_time(site) -> None:
    first, second = site.start(), site.start()
    site.call(first)
    site.provider.reaction = site.pbx.reaction = None
    first.kill()
    killed = time.monotonic()
    lease = site.lease_left()
    eventually(lambda: second.usage("office")["active_calls"] == 0, FREED_SECONDS, "the place")
    assert time.monotonic() - killed >= lease + 2 * TIMEOUT_SECONDS - 0.05
    assert Decimal(second.usage("office")["reserved_amount"]) == 0


@pytest.mark.timeout(120 + 2 * CALLS)
def test_all_instances_are_killed_and_one_comes_back(site) -> None:
    """X02."""
    site.lease_seconds = 4  # what nobody takes over for five of them is settled: a busy machine starts slowly
    instances = [site.start() for _ in range(3)]
    begun = time.monotonic()
    calls = [site.call(instances[number % 3]) for number in range(CALLS)]
    for one in instances:
        one.kill()
    again = site.start()
    assert again.usage("office")["active_calls"] == len(calls)
    at_once = CALLS // 2
    for live in calls[:at_once]:
        live.hang_up_through(again)
    for live in calls[at_once:]:
        live.caller.peer.expect_request("OPTIONS", WAIT_SECONDS, live.caller.call_id)
        live.hang_up_through(again)
    again.wait_until_idle("office")
    spent = Decimal(again.usage("office")["spent_amount"])
    assert len(calls) * ONE_CALL <= spent <= minutes(begun) * len(calls) * ONE_CALL


def test_an_instance_that_slept_past_its_lease_neither_charges_nor_frees(site) -> None:
    first, second = site.start(), site.start()
    live = site.call(first)
    first.process.send_signal(signal.SIGSTOP)
    try:
        live.caller.peer.expect_request("OPTIONS", FREED_SECONDS, live.caller.call_id)
    finally:
        first.process.send_signal(signal.SIGCONT)
    eventually(
        lambda: first.metric("trunkwarden_calls_active", trunk="office") == 0, WAIT_SECONDS, "it to know"
    )
    assert second.usage("office")["active_calls"] == 1
    live.hang_up_through(second)
    second.wait_until_idle("office")
    assert Decimal(second.usage("office")["spent_amount"]) == Decimal("0.10")
    assert site.call_records(1) == []


def test_a_request_that_comes_to_another_instance_takes_its_call_there(site) -> None:
    first, second = site.start(), site.start()
    live = site.call(first)
    info = live.near.request("INFO")
    live.caller.peer.send(info, second.address)
    request = site.provider.expect_request("INFO", WAIT_SECONDS, live.caller.call_id)
    site.provider.send(answer(request, "200 OK"), second.address)
    live.caller.peer.expect_response(200, "INFO", WAIT_SECONDS, live.caller.call_id)
    # From there it may go back again.
    eventually(
        lambda: first.metric("trunkwarden_calls_active", trunk="office") == 0, WAIT_SECONDS, "it to be gone"
    )
    live.hang_up_through(first)
    first.wait_until_idle("office")
    assert Decimal(first.usage("office")["spent_amount"]) == Decimal("0.10")


def test_a_forged_token_takes_no_call_anywhere(site) -> None:
    site.lease_seconds = 60  # nor does it lapse meanwhile
    first, second = site.start(), site.start()
    live = site.call(first)
    others_call = (re.compile(";tw="), ";tw=A")
    others_signature = (re.compile(r"(;tw=[^.]+\.)(.)"), lambda found: found[1] + found[2].swapcase() * 2)
    for pattern, forged in (others_call, others_signature):
        routes = [pattern.sub(forged, route) for route in live.near.routes]
        assert routes != live.near.routes
        live.caller.peer.send(live.near.request("BYE", routes=routes), second.address)
        live.caller.peer.expect_response(481, "BYE", WAIT_SECONDS, live.caller.call_id)
    assert site.provider.requests("BYE", live.caller.call_id) == []
    active = [one.metric("trunkwarden_calls_active", trunk="office") for one in (first, second)]
    assert active == [1, 0]
    live.hang_up_through(first)


def test_a_call_that_ended_where_it_was_taken_from_is_found_out(site) -> None:
    first, second = site.start(), site.start()
    live = site.call(first)
    live.caller.peer.send(live.near.request("INFO"), second.address)
    request = site.provider.expect_request("INFO", WAIT_SECONDS, live.caller.call_id)
    site.provider.send(answer(request, "200 OK"), second.address)
    live.caller.peer.expect_response(200, "INFO", WAIT_SECONDS, live.caller.call_id)
    # The first does not know yet that it has no call any more.
    live.hang_up_through(first)
    site.provider.reaction = site.pbx.reaction = gone
    second.wait_until_idle("office", FREED_SECONDS)
    assert Decimal(second.usage("office")["spent_amount"]) == Decimal("0.10")


def test_an_emergency_call_goes_on_through_another(site) -> None:
    """It has a lease like any other, though it counts nowhere: it is probed, a request within it is passed on
    and it is hung up; and both instances agree that it costs nothing of the window."""
    first, second = site.start(), site.start()
    live = site.call(first, RESCUE)
    eventually(
        lambda: [one for one in second.calls() if one["answered_at"]], what="its lease, and its answer"
    )
    assert second.usage("office")["active_calls"] == 0
    first.kill()
    live.far.peer.expect_request("OPTIONS", FREED_SECONDS, live.caller.call_id)
    live.caller.peer.send(live.near.request("INFO"), second.address)
    request = site.provider.expect_request("INFO", WAIT_SECONDS, live.caller.call_id)
    site.provider.send(answer(request, "200 OK"), second.address)
    live.caller.peer.expect_response(200, "INFO", WAIT_SECONDS, live.caller.call_id)
    live.hang_up_through(second)
    second.wait_until_idle("office")
    eventually(lambda: len(site.call_records(2)) == 1, WAIT_SECONDS, "its record")
    (record,) = site.call_records(2)
    assert (record["called"], record["ended_by"]) == (RESCUE, "caller")
    assert Decimal(second.usage("office")["spent_amount"]) == 0
