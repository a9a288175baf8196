"""Probes on the wire: calls with a side that is gone end. With telephones: interop/test_probes.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
WIRE_SECONDS = 20.0

Says = dict[str, str | None]


def saying(says: Says) -> Callable[[Message], list[bytes]]:
    """Answers BYE with 200, and OPTIONS as `says` has it for the Call-ID: None is silence."""

    def react(message: Message) -> list[bytes]:
        if message.method == "BYE":
            return [answer(message, "200 OK")]
        status = says.get(message.one("call-id"))
        return [answer(message, status)] if message.method == "OPTIONS" and status else []

    return react


@pytest.fixture(scope="module")
def carrier() -> Iterator[tuple[Peer, Says]]:
    """A provider, and what it says to the probes of each call."""
    says: Says = {}
    peer = Peer(PROVIDER, saying(says))
    yield peer, says
    peer.close()


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, carrier, tmp_path_factory) -> Trunkwarden:
    trunks = [
        trunk(f"desk{number}", f"127.0.0.{10 + number}", call_probe_seconds=1, rate_deck="retail",
              threshold_amount="5.00")
        for number in range(1, 6)
    ]  # fmt: skip
    config = configuration(
        tmp_path_factory.mktemp("probes"),
        redis_server.url,
        [provider_entry("carrier", carrier[0].address)],
        trunks,
        timers={"t1_ms": 20},
    )
    return serve_module(config)


@pytest.fixture
def place(proxy, carrier, new_peer):
    """Places a call whose sides answer probes with the given statuses."""

    def start(number: int, pbx: str | None, provider_says: str | None) -> OutgoingCall:
        provider, says = carrier
        pbx_says: Says = {}
        peer = new_peer(f"127.0.0.{10 + number}", saying(pbx_says))
        call = OutgoingCall(peer, proxy.address, WASHINGTON)
        pbx_says[call.call_id], says[call.call_id] = pbx, provider_says
        call.send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        call.answered()
        far_end.expect("ACK")
        return call

    return start


@pytest.mark.parametrize(
    ("number", "pbx", "provider_says", "reason"),
    [
        (1, "481 Gone", "200 OK", 'SIP;cause=481;text="Caller Has No Such Call"'),
        (2, None, "500 Invalid CSeq", 'SIP;cause=408;text="Caller Does Not Answer"'),
        (3, "200 OK", "481 Gone", 'SIP;cause=481;text="Provider Has No Such Call"'),
        (4, "405 No", None, 'SIP;cause=408;text="Provider Does Not Answer"'),
    ],
)
def test_call_with_a_dead_side_ends(proxy, carrier, place, number, pbx, provider_says, reason) -> None:
    call = place(number, pbx, provider_says)

    bye = carrier[0].expect_request("BYE", WIRE_SECONDS, call.call_id)
    assert bye.one("reason") == reason
    assert call.peer.expect_request("BYE", WIRE_SECONDS).one("reason") == reason
    options = carrier[0].requests("OPTIONS", call.call_id)[0]
    assert options.one("cseq") == "0 OPTIONS"  # the INVITE had 1
    assert options.tag("from") == call.from_value.partition("tag=")[2]

    proxy.wait_until_idle(f"desk{number}")
    usage = proxy.usage(f"desk{number}")
    assert (usage["active_calls"], usage["reserved_amount"], usage["spent_amount"]) == (0, "0.00", "0.10")


def test_call_that_lives_is_left_alone(proxy, carrier, place) -> None:
    call = place(5, "200 OK", "500 Invalid CSeq")
    eventually(lambda: len(carrier[0].requests("OPTIONS", call.call_id)) >= 3, WIRE_SECONDS, "three probes")
    assert not carrier[0].requests("BYE", call.call_id)
    assert proxy.usage("desk5")["active_calls"] == 1
