"""What a refused caller sees, to the letter, and that nobody else sees anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER, STRANGER, free_udp_port
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, fence, incoming
from tests.e2e.waiting import eventually

PREMIUM = "+19005550123"
TRIES = 8


@dataclass(frozen=True)
class Refusal:
    """One way to be refused, and the answer that the contract promises."""

    code: str
    source: str
    called: str
    status: str
    cause: int
    retry_after: str | None = None


CASES = [
    Refusal("SOURCE", STRANGER, WASHINGTON, "403 Source Not Authorized", 21),
    Refusal("DISABLED", "127.0.0.12", WASHINGTON, "403 Outbound Calling Is Disabled", 21),
    Refusal("NUMBER", "127.0.0.11", "12", "484 Address Incomplete", 28),
    Refusal("COUNTRY", "127.0.0.11", PARIS, "403 Destination Country Not Whitelisted", 21),
    Refusal("COUNTRY_UNKNOWN", "127.0.0.11", "+9991234567", "403 Destination Country Unknown", 21),
    Refusal("PREFIX", "127.0.0.11", PREMIUM, "403 Destination Prefix Rejected", 21),
    Refusal("RATE", "127.0.0.13", WASHINGTON, "403 Maximum Destination Rate Exceeded", 21),
    Refusal("NO_RATE", "127.0.0.14", "+493012345678", "403 No Rate Found", 21),
    Refusal("SPEND", "127.0.0.15", WASHINGTON, "403 Spend Limit Reached", 21),
    Refusal("CAPACITY", "127.0.0.16", WASHINGTON, "403 Channel Limit Exceeded", 34),
    Refusal("CPS", "127.0.0.17", WASHINGTON, "503 Calls Per Second Exceeded", 42, "1"),
    Refusal("ROUTE", "127.0.0.18", WASHINGTON, "404 No Route", 3),
]
by_code = pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    blocked = free_udp_port(PROVIDER)
    config = configuration(
        tmp_path_factory.mktemp("refusals"),
        redis_server.url,
        [
            provider_entry("carrier", provider.address),
            provider_entry("switched-off", (PROVIDER, blocked), status="blocked"),
        ],
        [
            trunk("plain", "127.0.0.11", dst_prefixes={"deny": ["+1900"]}),
            trunk("blocked", "127.0.0.12", status="blocked"),
            trunk("dear", "127.0.0.13", rate_deck="retail", max_destination_rate="0.09"),
            trunk(
                "unrated",
                "127.0.0.14",
                destination_whitelist=["de"],
                rate_deck="retail",
                threshold_amount="5.00",
            ),
            trunk("broke", "127.0.0.15", rate_deck="retail", threshold_amount="0.05"),
            trunk("full", "127.0.0.16", capacity_limit=0),
            trunk("slow", "127.0.0.17", cps_limit=1),
            trunk("nowhere", "127.0.0.18", provider="switched-off"),
        ],
    )
    return serve_module(config)


@contextmanager
def provoked(case: Refusal, proxy: Trunkwarden, provider: Peer, caller: Peer) -> Iterator[None]:
    """The trunk is where it refuses, from now on; most refuse anyhow."""
    if case.code != "CPS":
        yield
        return
    call = OutgoingCall(caller, proxy.address, case.called).send()
    yield
    incoming(provider, proxy.address, call).respond("486 Busy Here")
    call.final()


@by_code
def test_refusal_is_what_the_contract_says(proxy, provider, new_peer, case: Refusal) -> None:
    caller = new_peer(case.source)
    for _ in range(TRIES):
        with provoked(case, proxy, provider, caller):
            call = OutgoingCall(caller, proxy.address, case.called).send()
            response = call.final()
        if response.status != 408:  # else the second of CPS was over, and its call went to the provider
            break

    assert response.start == f"SIP/2.0 {case.status}"
    assert re.fullmatch(rf'Q\.850;cause={case.cause};text="[A-Za-z ]+"', response.one("reason"))
    assert re.fullmatch(rf'399 trunkwarden "{case.code} [A-Za-z ]+"', response.one("warning"))
    assert response.all("retry-after") == ([case.retry_after] if case.retry_after else [])
    assert response.tag("to")
    assert provider.requests("INVITE", call.call_id) == []


@by_code
def test_sipp_sees_the_same(proxy, provider, new_peer, sipp, case: Refusal) -> None:
    for _ in range(TRIES if case.code == "CPS" else 1):  # its second may be over before SIPp is there
        with provoked(case, proxy, provider, new_peer(case.source)):
            result = sipp(
                "uac_refused",
                (case.source, free_udp_port(case.source)),
                target=proxy.address,
                called=case.called,
                calls=3,
                rate=100,
                variables={
                    "expected_status": case.status, "expected_cause": str(case.cause),
                    "expected_code": case.code,
                },
            ).wait()  # fmt: skip
        if result.exit_code == 0:
            break

    result.assert_all_succeeded(3)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.code in ("PREFIX", "CAPACITY")], ids=lambda case: case.code
)
def test_known_source_is_told_until_it_acknowledges(proxy, provider, new_peer, case: Refusal) -> None:
    """§17.2.1: the refusal is sent again (Timer G) until the ACK, and no more after it."""
    caller = new_peer(case.source)
    call = OutgoingCall(caller, proxy.address, case.called).send()
    responses = [caller.expect_final(call_id=call.call_id) for _ in range(3)]

    call.acknowledge_failure(responses[0])

    assert len({response.raw for response in responses}) == 1
    fence(caller, proxy.address)  # what crossed the ACK has come
    caller.stays_quiet(1.0)


def test_refused_call_leaves_nothing_in_the_ledger(proxy, new_peer) -> None:
    def used() -> dict[str, Any]:
        return {name: value for name, value in proxy.usage("broke").items() if name != "window_starts_at"}

    caller = new_peer("127.0.0.15")
    before = used()

    OutgoingCall(caller, proxy.address, WASHINGTON).send().final()

    assert used() == before  # the window itself goes on by the minute
    assert (before["active_calls"], before["spent_amount"]) == (0, before["reserved_amount"])


def test_same_trunk_admits_what_it_may(proxy, provider, new_peer) -> None:
    caller = new_peer("127.0.0.11")
    call = OutgoingCall(caller, proxy.address, LONDON).send()

    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")

    assert call.final().start == "SIP/2.0 486 Busy Here"
    proxy.wait_until_idle("plain")


def test_decisions_are_counted_by_reason(proxy, new_peer) -> None:
    caller: Peer = new_peer("127.0.0.11")
    name, labels = "trunkwarden_admission_decisions_total", {"trunk": "plain", "reason": "PREFIX"}
    before = proxy.metric(name, decision="refused", **labels)

    OutgoingCall(caller, proxy.address, PREMIUM).send().final()

    eventually(lambda: proxy.metric(name, decision="refused", **labels) == before + 1, what="the count")
