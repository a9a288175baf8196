"""A caller that speaks to several instances at once: it can carry its call to and fro, and gains nothing by
it."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.e2e.configuration import LONDON, WASHINGTON
from tests.e2e.redis_server import RedisServer
from tests.e2e.sip_text import Message, answer
from tests.e2e.test_adoption import LEASE_SECONDS, Site
from tests.e2e.user_agents import OutgoingCall, incoming
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.long

MakeSite = Callable[..., Site]


def polite(message: Message) -> list[bytes]:
    """A user agent that answers whatever it is asked within its calls."""
    return [answer(message, "200 OK")] if message.method in ("BYE", "OPTIONS", "INFO") else []


@pytest.fixture
def site_with(serve, own_redis: RedisServer, tmp_path, new_peer) -> MakeSite:
    def make(**fields: object) -> Site:
        made = Site(serve, own_redis, tmp_path, new_peer, **fields)
        made.provider.reaction = polite
        return made

    return make


def test_a_ringing_call_stays_where_it_is_and_is_counted(site_with) -> None:
    site = site_with()
    first, second = site.start(), site.start()
    call = OutgoingCall(site.pbx, first.address, WASHINGTON).send()
    far = incoming(site.provider, first.address, call)
    far.respond("180 Ringing")
    early = call.dialog(call.provisional(180))
    site.pbx.send(early.request("INFO"), second.address)
    # No 481, which would end what lives.
    site.pbx.expect_response(500, "INFO", call_id=call.call_id)
    assert first.usage("office")["active_calls"] == 1
    far.accept()
    near = call.answered()
    far.expect("ACK")
    time.sleep(LEASE_SECONDS)  # all that renews it has had its turn
    assert first.usage("office")["active_calls"] == 1
    site.pbx.send(near.request("BYE"), first.address)
    far.expect("BYE")
    first.wait_until_idle("office")
    assert Decimal(first.usage("office")["spent_amount"]) == Decimal("0.10")


def test_a_call_with_the_longest_of_names_is_counted_wherever_it_is(site_with) -> None:
    site = site_with()
    first, second = site.start(), site.start()
    call = OutgoingCall(site.pbx, first.address, WASHINGTON)
    call.from_value = call.from_value.replace('"Desk"', '"' + "é" * 2500 + '"')
    call.send()
    far = incoming(site.provider, first.address, call)
    far.accept()
    near = call.answered()
    far.expect("ACK")
    eventually(site.states, what="the answer in the ledger")
    site.pbx.send(near.request("INFO"), second.address)
    far.expect("INFO")
    site.pbx.expect_response(200, "INFO", call_id=call.call_id)
    eventually(lambda: first.metric("trunkwarden_calls_active", trunk="office") == 0, what="it to be gone")
    assert second.usage("office")["active_calls"] == 1
    site.pbx.send(near.request("BYE"), second.address)
    far.expect("BYE")
    second.wait_until_idle("office")
    assert Decimal(second.usage("office")["spent_amount"]) == Decimal("0.10")


def test_a_call_that_is_carried_to_and_fro_pays_and_ends_with_its_money(site_with) -> None:
    # 0.05 to connect and 0.001 a second: three seconds.
    site = site_with(threshold_amount="0.0530", reserve_seconds=2)
    instances = [site.start(), site.start()]
    call = OutgoingCall(site.pbx, instances[0].address, LONDON).send()
    far = incoming(site.provider, instances[0].address, call)
    far.accept()
    near = call.answered()
    far.expect("ACK")
    begun = time.monotonic()
    while time.monotonic() - begun < 12 and not site.provider.requests("BYE", call.call_id):
        for one in instances:
            site.pbx.send(near.request("INFO"), one.address)
        time.sleep(0.004)
    # On a loaded machine the last of the paid seconds may be noticed late; carried on, it would not end.
    assert site.provider.requests("BYE", call.call_id)
    instances[0].wait_until_idle("office")
    assert Decimal(instances[0].usage("office")["spent_amount"]) <= Decimal("0.0530")
