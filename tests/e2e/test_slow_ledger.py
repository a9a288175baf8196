"""The way to the ledger is slow, or cut for a while (K05, K07): judged by what the peers get, and when.

TRUNKWARDEN_PARTITION_SECONDS sets how long it is cut.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import Message, answer
from tests.e2e.slow_way import SlowWay
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, incoming
from tests.e2e.waiting import eventually

PARTITION_SECONDS = float(os.environ.get("TRUNKWARDEN_PARTITION_SECONDS", "5"))
REJECTING, ADMITTING = "127.0.0.13", "127.0.0.14"
LOCAL_CAPACITY = 3
LIMITS = {"rate_deck": "retail", "capacity_limit": 200, "threshold_amount": "500"}
LATENCY = 0.750
FAST = 0.050
ROUNDS, CALLS = 8, 40
RIGHT_AGAIN_SECONDS = 2.0
ONE_CALL = 0.10  # Washington, a minute begun


def polite(message: Message) -> list[bytes]:
    return [answer(message, "200 OK")] if message.method in ("BYE", "OPTIONS") else []


@pytest.fixture
def way(own_redis) -> Iterator[SlowWay]:
    made = SlowWay(own_redis.socket)
    yield made
    made.heal()
    made.close()


class Site:
    """An instance behind the way, a PBX and a provider."""

    def __init__(self, serve, way: SlowWay, folder, new_peer) -> None:
        self.provider: Peer = new_peer(PROVIDER, polite)
        self.desk: Peer = new_peer(REJECTING, polite)
        self.branch: Peer = new_peer(ADMITTING, polite)
        self.proxy: Trunkwarden = serve(
            configuration(
                folder,
                way.url,
                [provider_entry("carrier", self.provider.address)],
                [
                    trunk("desk", REJECTING, reserve_seconds=600, **LIMITS),
                    trunk(
                        "branch", ADMITTING, on_ledger_unavailable="admit",
                        local_capacity_limit=LOCAL_CAPACITY, **LIMITS,
                    ),
                ],
                timers={"t1_ms": 500, "provider_response_seconds": 6, "no_answer_seconds": 30},
            )
        )  # fmt: skip

    def place(self, peer: Peer) -> OutgoingCall:
        return OutgoingCall(peer, self.proxy.address, WASHINGTON).send()

    def call(self, peer: Peer) -> Live:
        """A call that is up. One that is refused because the machine stood still is placed again."""

        def admitted() -> OutgoingCall | None:
            call = self.place(peer)
            if self.outcome(call) == "arrives":
                return call
            assert call.final().status == 503
            return None

        return self.answer(eventually(admitted, what="an admitted call"))

    def answer(self, call: OutgoingCall) -> Live:
        """The provider takes a call that has arrived there."""
        far = incoming(self.provider, self.proxy.address, call)
        far.accept()
        ok = call.final()
        assert ok.status == 200
        return Live(call, ok, far)

    def passes(self) -> bool:
        """Whether a call, for which nobody pays, reaches the provider."""
        call = self.place(self.desk)
        if self.outcome(call) != "arrives":
            return False
        incoming(self.provider, self.proxy.address, call).respond("486 Busy Here")
        return call.final().status == 486

    def back_after(self, way: SlowWay) -> float:
        """Heal the way; how long until a call passes."""
        way.heal()
        healed = time.monotonic()
        eventually(self.passes, what="an admitted call")
        return time.monotonic() - healed

    def outcome(self, call: OutgoingCall, limit: float = 10.0) -> str:
        """`arrives` at the provider, or the status of its refusal."""

        def found() -> str:
            if self.provider.requests("INVITE", call.call_id):
                return "arrives"
            finals = [
                datagram.message
                for datagram in list(call.peer.received)
                if datagram.message.status >= 200 and datagram.message.one("call-id") == call.call_id
            ]
            return str(finals[0].status) if finals else ""

        return eventually(found, limit, "the INVITE or its refusal")


class Live:
    """Both ends of an answered call, its ACK not sent yet."""

    def __init__(self, call: OutgoingCall, ok: Message, far: IncomingCall) -> None:
        self.call, self.far = call, far
        self.dialog = call.dialog(ok)

    def timed(self, method: str) -> float:
        """How long a request of the caller's took to the provider and, but for an ACK, its answer back."""
        peer, call_id = self.call.peer, self.call.call_id
        began = time.monotonic()
        peer.send(self.dialog.request(method), self.call.proxy)
        arrived = self.far.peer.expect(
            lambda one: one.method == method and not one.is_response and one.one("call-id") == call_id, method
        )
        if method == "ACK":
            return arrived.at - began
        back = peer.expect(
            lambda one: one.status == 200 and one.method == method and one.one("call-id") == call_id,
            "its 200",
        )
        return back.at - began


@pytest.fixture
def site(serve, way, tmp_path, new_peer) -> Site:
    return Site(serve, way, tmp_path, new_peer)


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


class Round:
    """Calls begun and ended while the ledger is slow. `lives` were admitted; `refused`: some were not, since
    a machine that stands still for a quarter of a second makes 750 ms more than the ledger is waited for."""

    def __init__(self, site: Site) -> None:
        self.lives: list[Live] = []
        self.refused = False
        began = time.monotonic()
        for _ in range(2):
            self._admit(site, site.place(site.desk))
        self.two_took = time.monotonic() - began
        for call in [site.place(site.desk) for _ in range(CALLS)]:
            self._admit(site, call)
        self.acks = [live.timed("ACK") for live in self.lives]
        self.byes = [live.timed("BYE") for live in self.lives]

    def _admit(self, site: Site, call: OutgoingCall) -> None:
        if site.outcome(call) == "arrives":
            self.lives.append(site.answer(call))
        else:
            assert call.final().status == 503
            self.refused = True


def test_a_slow_ledger_delays_new_calls_alone(site, way) -> None:
    """750 ms: calls are admitted that much later; BYE and ACK take what they always take. The best of several
    rounds counts: what the machine does beside is not ours."""
    way.seconds = LATENCY / 2
    rounds: list[Round] = []
    good: list[Round] = []
    for _ in range(ROUNDS):
        rounds.append(Round(site))
        if rounds[-1].refused:
            eventually(site.passes, what="an admitted call")
            continue
        good.append(rounds[-1])
        assert good[-1].two_took > 2 * LATENCY
        if min(p99(one.acks) for one in good) < FAST and min(p99(one.byes) for one in good) < FAST:
            break
    assert good, "in no round were all calls admitted"
    assert min(p99(one.acks) for one in good) < FAST, [one.acks for one in good]
    assert min(p99(one.byes) for one in good) < FAST, [one.byes for one in good]
    eventually(lambda: way.held == 0, what="an empty queue")
    assert way.most_held < 1_000_000  # a few kB a call: nothing is sent again and again
    way.seconds = 0.0
    site.proxy.wait_until_idle()
    spent = float(site.proxy.usage("desk")["spent_amount"])
    assert spent == pytest.approx(sum(len(one.lives) for one in rounds) * ONE_CALL)
    timeouts = site.proxy.metric("trunkwarden_ledger_errors_total", kind="timeout")
    assert timeouts == 0 or any(one.refused for one in rounds)


@pytest.mark.timeout(PARTITION_SECONDS + 120)
def test_the_way_to_the_ledger_is_cut(site, way) -> None:
    """`reject`: 503 and nothing downstream. `admit`: so many as the local capacity. Calls that are up are
    acknowledged and hung up as ever. Whole again: right within two seconds, and exact, though what was sent
    into the cut arrives after all."""
    kept = [site.call(site.desk) for _ in range(2)]
    ends = [site.call(site.desk) for _ in range(20)]
    for live in kept:
        live.timed("ACK")
    way.cut()
    cut = time.monotonic()
    acks = [live.timed("ACK") for live in ends]
    refused = [site.place(site.desk) for _ in range(5)]
    admitted = [site.place(site.branch) for _ in range(LOCAL_CAPACITY + 3)]
    assert [site.outcome(call) for call in refused] == ["503"] * len(refused)
    outcomes = [site.outcome(call) for call in admitted]
    assert outcomes.count("arrives") == LOCAL_CAPACITY
    assert set(outcomes) <= {"arrives", "503", "403"}
    local = []
    for call, outcome in zip(admitted, outcomes, strict=True):
        if outcome == "arrives":
            local.append(site.answer(call))
    for live in local:
        live.timed("ACK")
    byes = [live.timed("BYE") for live in ends]
    local[0].timed("BYE")
    assert statistics.median(acks + byes) < FAST
    while time.monotonic() < cut + PARTITION_SECONDS:
        late = site.place(site.desk)
        assert site.outcome(late) == "503"
        time.sleep(min(1.0, PARTITION_SECONDS / 10))
    back = [site.back_after(way)]
    while back[-1] >= RIGHT_AGAIN_SECONDS and len(back) < ROUNDS:  # what the machine does beside is not ours
        way.cut()
        eventually(lambda: site.outcome(site.place(site.desk)) == "503", what="a refusal")
        back.append(site.back_after(way))
    assert back[-1] < RIGHT_AGAIN_SECONDS, back

    def counted() -> bool:
        desk, branch = site.proxy.usage("desk"), site.proxy.usage("branch")
        return (desk["active_calls"], branch["active_calls"]) == (len(kept), len(local) - 1)

    eventually(lambda: site.proxy.http.get("/v1/calls").status_code == 200, what="the HTTP side's ledger")
    eventually(counted, 10.0, "exact counts")
    for live in (*kept, *local[1:]):
        live.timed("BYE")
    site.proxy.wait_until_idle()
    minutes = 1 + int((time.monotonic() - cut) // 60)

    def charged() -> list[float]:
        return [float(site.proxy.usage(name)["spent_amount"]) for name in ("desk", "branch")]

    eventually(lambda: charged()[1] >= len(local) * ONE_CALL - 1e-9, what="the calls that were not counted")
    spent = charged()
    assert spent[0] >= len(ends) * ONE_CALL + len(kept) * ONE_CALL - 1e-9
    assert spent[0] <= (len(ends) + len(kept) * (minutes + 1)) * ONE_CALL + 1e-9
    records = [one for one in site.proxy.records() if one["record"] == "call"] or None
    assert site.proxy.usage("desk")["reserved_amount"] in ("0.00", "0", "0.000000"), records
