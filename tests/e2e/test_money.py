"""What calls cost, as the ledger knows it: increments, connect fees, holds, and thresholds at every scope."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually, keep_clear_of_midnight

HOLD_SECONDS = 1.3  # two seconds begun: with 1/1 they are charged, with 30/6 and 60/60 the first increment is
A_SECOND = Decimal("0.001")  # to London
CUT_OFF_SECONDS = 12.0
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    money = {"rate_deck": "retail", "destination_whitelist": ["us", "gb", "fr"], "threshold_amount": "100.00"}
    config = configuration(
        tmp_path_factory.mktemp("money"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [
            trunk("minutes", "127.0.0.11", **money),
            trunk("seconds", "127.0.0.12", **money),
            trunk("sixes", "127.0.0.13", **money),
            trunk("hold", "127.0.0.14", **money, reserve_seconds=120),
            trunk("never-answered", "127.0.0.15", **money),
            trunk("first", "127.0.0.21", **(money | {"profile": "shared"})),
            trunk("second", "127.0.0.22", **(money | {"profile": "shared"})),
            trunk("cut", "127.0.0.31", **(money | {"threshold_amount": "0.0530"}), reserve_seconds=2),
        ],
        profiles=[
            {"name": "shared", "concurrent_call_limit": 10, "daily_spend_limit": "0.15",
             "daily_spend_limit_enabled": True}
        ],
        ledger={"lease_seconds": 2},
    )  # fmt: skip
    return serve_module(config)


def amount(proxy: Trunkwarden, name: str, field: str) -> Decimal:
    text = proxy.usage(name)[field]
    assert isinstance(text, str), f"{field} is no decimal string: {text!r}"
    return Decimal(text)


def place(proxy, provider, caller, called):
    call = OutgoingCall(caller, proxy.address, called).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    return call, call.answered(), far_end


@pytest.mark.parametrize(
    ("name", "source", "called", "cost"),
    [
        ("minutes", "127.0.0.11", WASHINGTON, "0.10"),  # 60/60: one minute at 0.10
        ("seconds", "127.0.0.12", LONDON, "0.052"),  # 1/1: 0.05 and two seconds at 0.001
        ("sixes", "127.0.0.13", PARIS, "0.06"),  # 30/6: half a minute at 0.12
    ],
)
def test_call_costs_what_its_increments_say(
    proxy, provider, new_peer, name: str, source: str, called: str, cost: str
) -> None:
    began = time.monotonic()
    call, dialog, far_end = place(proxy, provider, new_peer(source), called)
    time.sleep(HOLD_SECONDS)  # the length of the call is what is measured

    hang_up(call, dialog, far_end)
    lasted = time.monotonic() - began
    proxy.wait_until_idle(name)

    # A busy machine lets the call last longer than it was held, by seconds that are charged where they count.
    most = Decimal(cost) + (A_SECOND * max(0, math.ceil(lasted) - 2) if called == LONDON else 0)
    assert Decimal(cost) <= amount(proxy, name, "spent_amount") <= most
    assert amount(proxy, name, "reserved_amount") == 0


def test_live_call_holds_its_block_and_gives_it_back(proxy, provider, new_peer) -> None:
    call, dialog, far_end = place(proxy, provider, new_peer("127.0.0.14"), WASHINGTON)

    assert amount(proxy, "hold", "spent_amount") + amount(proxy, "hold", "reserved_amount") >= Decimal("0.20")
    hang_up(call, dialog, far_end)
    proxy.wait_until_idle("hold")

    assert amount(proxy, "hold", "spent_amount") == Decimal("0.10")
    assert amount(proxy, "hold", "reserved_amount") == 0


def test_call_that_was_never_answered_costs_nothing(proxy, provider, new_peer) -> None:
    call = OutgoingCall(new_peer("127.0.0.15"), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    assert amount(proxy, "never-answered", "reserved_amount") == Decimal("0.10")

    far_end.respond("486 Busy Here")
    call.final()
    proxy.wait_until_idle("never-answered")

    assert amount(proxy, "never-answered", "spent_amount") == 0
    assert amount(proxy, "never-answered", "reserved_amount") == 0


def test_profiles_limit_is_a_total_over_its_trunks(proxy, provider, new_peer) -> None:
    """0.15 holds one call of 0.10, whichever trunk makes it, and not a second."""
    keep_clear_of_midnight(20.0)
    call, dialog, far_end = place(proxy, provider, new_peer("127.0.0.21"), WASHINGTON)

    refused = OutgoingCall(new_peer("127.0.0.22"), proxy.address, WASHINGTON).send().final()

    assert refused.start == "SIP/2.0 403 Spend Limit Reached"
    hang_up(call, dialog, far_end)
    again = OutgoingCall(new_peer("127.0.0.22"), proxy.address, WASHINGTON).send().final()
    assert again.start == "SIP/2.0 403 Spend Limit Reached"
    proxy.wait_until_idle("first")


def test_call_is_cut_off_when_its_money_ends(proxy, provider, new_peer) -> None:
    """0.053 pays for the connect fee of 0.05 and three seconds; a call pays two seconds ahead."""
    caller = new_peer("127.0.0.31")
    began = time.monotonic()
    call, _, far_end = place(proxy, provider, caller, LONDON)

    for peer in (caller, far_end.peer):
        bye = peer.expect_request("BYE", PATIENCE_SECONDS, call.call_id)
        peer.send(answer(bye, "200 OK"), proxy.address)

    assert 1.5 <= time.monotonic() - began <= CUT_OFF_SECONDS
    proxy.wait_until_idle("cut")
    assert Decimal("0.052") <= amount(proxy, "cut", "spent_amount") <= Decimal("0.053")


def test_gauges_follow_the_ledger(proxy, provider, new_peer) -> None:
    spent = float(amount(proxy, "minutes", "spent_amount"))

    eventually(
        lambda: abs(proxy.metric("trunkwarden_spend_amount", trunk="minutes") - spent) < 1e-9,
        what="the metric of what was spent",
    )
    assert proxy.metric("trunkwarden_threshold_amount", trunk="minutes") == 100.0
