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

# What the caller and the provider say to probes, and why the call ends.
CASES: dict[int, tuple[str | None, str | None, str]] = {
    1: ("481 Gone", "200 OK", 'SIP;cause=481;text="Caller Has No Such Call"'),
    2: (None, "500 Invalid CSeq", 'SIP;cause=408;text="Caller Does Not Answer"'),
    3: ("200 OK", "481 Gone", 'SIP;cause=481;text="Provider Has No Such Call"'),
    4: ("405 No", None, 'SIP;cause=408;text="Provider Does Not Answer"'),
    5: ("200 OK", "500 Invalid CSeq", ""),
}
LIVING = 5


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
        trunk(f"desk{number}", source(number), call_probe_seconds=1, rate_deck="retail",
              threshold_amount="5.00")
        for number in CASES
    ]  # fmt: skip
    config = configuration(
        tmp_path_factory.mktemp("probes"),
        redis_server.url,
        [provider_entry("carrier", carrier[0].address)],
        trunks,
        # Two probes that are not answered take five seconds: silence, and not a machine that stood still.
        timers={"t1_ms": 40},
    )
    return serve_module(config)


def source(number: int) -> str:
    return f"127.0.0.{10 + number}"


@pytest.fixture(scope="module")
def placed(proxy, carrier) -> Iterator[dict[int, OutgoingCall]]:
    """A call for each case, all at once, so that silence is waited for only once."""
    provider, says = carrier
    calls: dict[int, OutgoingCall] = {}
    for number, (pbx, provider_says, _) in CASES.items():
        pbx_says: Says = {}
        call = OutgoingCall(Peer(source(number), saying(pbx_says)), proxy.address, WASHINGTON)
        pbx_says[call.call_id], says[call.call_id] = pbx, provider_says
        calls[number] = call.send()
        far_end = incoming(provider, proxy.address, call)
        far_end.accept()
        call.answered()
        far_end.expect("ACK")
    yield calls
    for call in calls.values():
        call.peer.close()


@pytest.mark.parametrize("number", [number for number, (*_, reason) in CASES.items() if reason])
def test_call_with_a_dead_side_ends(proxy, carrier, placed, number: int) -> None:
    call, reason = placed[number], CASES[number][2]

    bye = carrier[0].expect_request("BYE", WIRE_SECONDS, call.call_id)
    assert bye.one("reason") == reason
    assert call.peer.expect_request("BYE", WIRE_SECONDS).one("reason") == reason
    options = carrier[0].requests("OPTIONS", call.call_id)[0]
    assert options.one("cseq") == "0 OPTIONS"  # the INVITE had 1
    assert options.tag("from") == call.from_value.partition("tag=")[2]

    proxy.wait_until_idle(f"desk{number}")
    usage = proxy.usage(f"desk{number}")
    assert (usage["active_calls"], usage["reserved_amount"], usage["spent_amount"]) == (0, "0.00", "0.10")


def test_call_that_lives_is_left_alone(proxy, carrier, placed) -> None:
    call = placed[LIVING]
    probes = carrier[0].transactions
    eventually(lambda: len(probes("OPTIONS", call.call_id)) >= 3, WIRE_SECONDS, "three probes")
    assert not carrier[0].requests("BYE", call.call_id)
    assert proxy.usage(f"desk{LIVING}")["active_calls"] == 1
