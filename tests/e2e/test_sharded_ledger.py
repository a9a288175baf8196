"""A ledger with a part for each account, seen from the wire."""

from __future__ import annotations

from decimal import Decimal

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import Message, answer
from tests.e2e.user_agents import OutgoingCall, incoming

PBX, OTHER = "127.0.0.41", "127.0.0.42"


def polite(message: Message) -> list[bytes]:
    return [answer(message, "200 OK")] if message.method in ("BYE", "OPTIONS") else []


def test_calls_of_two_accounts_over_one_provider(serve, own_redis, tmp_path, new_peer) -> None:
    provider, pbx, other = new_peer(PROVIDER, polite), new_peer(PBX, polite), new_peer(OTHER, polite)

    def instance(name: str):
        config = configuration(
            tmp_path / name,
            own_redis.url,
            [provider_entry("carrier", provider.address, capacity_limit=3)],
            [
                trunk("office", PBX, rate_deck="retail", account="acme"),
                trunk("other", OTHER, rate_deck="retail", account="blue"),
            ],
            accounts=[{"name": "acme", "capacity_limit": 2}, {"name": "blue"}],
            ledger={"lease_seconds": 2, "shard_by": "account"},
            timers={"t1_ms": 50},
        )
        return serve(config)

    first, second = instance("first"), instance("second")

    def up(peer, proxy):
        call = OutgoingCall(peer, proxy.address, WASHINGTON).send()
        far = incoming(provider, proxy.address, call)
        far.accept()
        dialog = call.answered()
        far.expect("ACK")
        return call, dialog

    calls = [up(pbx, first), up(pbx, second), up(other, first)]
    assert OutgoingCall(pbx, first.address, WASHINGTON).send().final().status == 403  # the account is full
    assert OutgoingCall(other, second.address, WASHINGTON).send().final().status == 403  # the provider is
    assert [second.usage(name)["active_calls"] for name in ("office", "other")] == [2, 1]

    first.kill()
    for call, dialog in calls:  # each finds its way, wherever it began
        call.peer.send(dialog.request("BYE"), second.address)
        provider.expect_request("BYE", call_id=call.call_id)
        call.peer.expect_response(200, "BYE", call_id=call.call_id)
    second.wait_until_idle("office")
    second.wait_until_idle("other")
    spent = [Decimal(second.usage(name)["spent_amount"]) for name in ("office", "other")]
    assert spent == [Decimal("0.20"), Decimal("0.10")]
    call = OutgoingCall(pbx, second.address, WASHINGTON).send()
    incoming(provider, second.address, call).respond("486 Busy Here")
    assert call.final().status == 486
