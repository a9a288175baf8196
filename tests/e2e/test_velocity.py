"""How often and when somebody may be called, by the program itself: judged by what caller and carrier see."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from proxy.observe.clock import utc_now
from tests.e2e.configuration import LONDON, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.sip_text import Message
from tests.e2e.test_limits import answering
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

WINDOW = "403 Outside Calling Window"


def closed_now() -> dict[str, str]:
    """A window of an hour that opens in some six hours."""
    start = utc_now() + timedelta(hours=6)
    return {"start_time": f"{start:%H:%M}", "end_time": f"{start + timedelta(hours=1):%H:%M}"}


def open_now() -> dict[str, str]:
    """One of some twelve hours, which may go over midnight, with now in its middle."""
    now = utc_now()
    times = {"start_time": now - timedelta(hours=6), "end_time": now + timedelta(hours=6)}
    return {key: f"{time:%H:%M}" for key, time in times.items()}


@pytest.fixture(scope="module")
def far_end():
    peer = Peer("127.0.0.20")
    peer.reaction = answering(peer.host_port)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def settings(redis_server, far_end, tmp_path_factory):
    return configuration(
        tmp_path_factory.mktemp("velocity"),
        redis_server.url,
        [provider_entry("carrier", far_end.address)],
        [
            trunk("callee", "127.0.0.11", velocity={"calls_per_callee": {"soft": 1, "hard": 3}}),
            trunk("distinct", "127.0.0.12", velocity={"distinct_callees": {"hard": 2}}),
            trunk("run", "127.0.0.13", velocity={"sequential_numbers": {"hard": 2}}),
            trunk("closed", "127.0.0.14", calling_window=closed_now()),
            trunk("open", "127.0.0.15", calling_window={**open_now(), "calls_per_cld": 2}),
            trunk(
                "far",
                "127.0.0.16",
                destination_limits=[
                    {"name": "washington", "prefixes": ["+1202"], "capacity_limit": 1},
                    {"countries": ["us"], "capacity_limit": 2},
                    {"countries": ["gb"], "cps_limit": 1},
                    {"prefixes": ["+44161"], "threshold_amount": "0.01"},
                ],
                rate_deck="retail",
            ),
            trunk("shared", "127.0.0.17", velocity={"calls_per_callee": {"hard": 5}}),
        ],
        emergency={"numbers": ["112"], "providers": ["carrier"]},
    )


@pytest.fixture(scope="module")
def proxy(serve_module, settings) -> Trunkwarden:
    return serve_module(settings)


@pytest.fixture
def dial(new_peer):
    """Places calls from an address; its answer, and the call goes on if there is one."""
    peers: dict[str, Peer] = {}

    def run(at: Trunkwarden, source: str, called: str) -> Message:
        if source not in peers:
            peers[source] = new_peer(source)
        call = OutgoingCall(peers[source], at.address, called).send()
        final = call.final()
        if final.status == 200:
            peers[source].send(call.dialog(final).request("ACK"), at.address)
        else:
            call.acknowledge_failure(final)
        return final

    return run


def carried(far_end: Peer, number: str) -> int:
    """Calls to `number` that the carrier saw, each counted once."""
    messages = [datagram.message for datagram in far_end.received]
    uri = f"INVITE sip:{number}@"
    return len({message.one("call-id") for message in messages if message.start.startswith(uri)})


def test_calls_to_one_callee(proxy, dial, far_end) -> None:
    number = "+12025550199"
    finals = [dial(proxy, "127.0.0.11", number) for _ in range(5)]
    assert [final.status for final in finals] == [200, 200, 200, 403, 403]
    refused = finals[-1]
    assert refused.start == f"SIP/2.0 {WINDOW}"
    assert refused.one("reason").startswith("Q.850;cause=21")
    assert refused.one("warning").startswith('399 trunkwarden "WINDOW ')
    assert "3" not in refused.one("warning").partition('"')[2]  # what would be allowed is not told
    assert carried(far_end, number) == 3
    assert dial(proxy, "127.0.0.11", "+12025550170").status == 200
    assert proxy.metric("trunkwarden_velocity_events_total", trunk="callee", kind="calls_per_callee") == 4
    refusals = proxy.metric(
        "trunkwarden_admission_decisions_total", trunk="callee", decision="refused", reason="WINDOW"
    )
    assert refusals == 2

    def decided() -> list[dict[str, Any]]:
        found = proxy.get("/v1/decisions?limit=50")["decisions"]
        return [record for record in found if record["trunk"] == "callee"]

    decisions = eventually(lambda: found if len(found := decided()) >= 6 else None)
    soft = [check for record in decisions for check in record["checks"] if "soft 1" in check["detail"]
            and check["outcome"] == "pass"]  # fmt: skip
    assert len(soft) == 2
    assert '"a velocity threshold was passed"' in proxy.stderr()


def test_different_callees(proxy, dial, far_end) -> None:
    numbers = ["+12025550110", "+12025550130", "+12025550150"]
    assert [dial(proxy, "127.0.0.12", number).status for number in numbers] == [200, 200, 403]
    assert [carried(far_end, number) for number in numbers] == [1, 1, 0]
    assert dial(proxy, "127.0.0.12", LONDON).status == 200  # another country, counted for itself


def test_numbers_next_to_one_another(proxy, dial, far_end) -> None:
    numbers = ["+12025550180", "+12025550181", "+12025550182"]
    assert [dial(proxy, "127.0.0.13", number).status for number in numbers] == [200, 200, 403]
    assert carried(far_end, numbers[-1]) == 0
    assert dial(proxy, "127.0.0.13", "+12025550120").status == 200


def test_outside_the_calling_window(proxy, dial, far_end) -> None:
    before = carried(far_end, WASHINGTON)
    assert dial(proxy, "127.0.0.14", WASHINGTON).start == f"SIP/2.0 {WINDOW}"
    assert carried(far_end, WASHINGTON) == before


def test_tries_within_the_calling_window(proxy, dial) -> None:
    finals = [dial(proxy, "127.0.0.15", LONDON) for _ in range(3)]
    assert [final.status for final in finals] == [200, 200, 403]
    assert finals[-1].start == f"SIP/2.0 {WINDOW}"
    assert dial(proxy, "127.0.0.15", WASHINGTON).status == 200


@pytest.mark.parametrize("source", ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14", "127.0.0.15"])
def test_emergency_calls_are_neither_refused_nor_counted(proxy, dial, source) -> None:
    assert [dial(proxy, source, "112").status for _ in range(5)] == [200] * 5


def test_limits_of_destinations(proxy, dial) -> None:
    source = "127.0.0.16"
    assert dial(proxy, source, WASHINGTON).status == 200
    assert dial(proxy, source, "+12025550124").start == "SIP/2.0 403 Channel Limit Exceeded"
    assert dial(proxy, source, "+13125550124").status == 200  # not Washington, but the second in the country
    assert dial(proxy, source, "+13125550125").start == "SIP/2.0 403 Channel Limit Exceeded"
    assert dial(proxy, source, "+441614960123").start == "SIP/2.0 403 Spend Limit Reached"
    numbers = (f"+4420794601{number}" for number in range(10, 30))
    assert any(dial(proxy, source, number).status == 503 for number in numbers)  # one call a second
    asked = command("explain", "-c", str(proxy.file), "--source", source, "--to", WASHINGTON, "--json",
                    "--live")  # fmt: skip
    told = json.loads(asked.stdout)
    assert (asked.returncode, told["reason"]) == (3, "CAPACITY")
    rows = {row["scope"]: row for row in told["headroom"]}
    assert rows["destination:far/washington"]["capacity_left"] == 0
    assert rows["destination:far/us"]["active_calls"] == 2


def test_two_instances_count_together_and_a_new_one_goes_on(serve, settings, proxy, dial) -> None:
    other = serve(settings)
    source, number = "127.0.0.17", "+12025550160"
    statuses = [dial(at, source, number).status for at in (proxy, other, proxy, other)]
    assert statuses == [200] * 4
    other.kill()
    third = serve(settings)
    assert [dial(third, source, number).status for _ in range(2)] == [200, 403]
    assert dial(proxy, source, number).status == 403
    asked = command("explain", "-c", str(proxy.file), "--source", source, "--to", number, "--json",
                    "--live")  # fmt: skip
    told = json.loads(asked.stdout)
    assert (asked.returncode, told["reason"]) == (3, "WINDOW")
    assert told["checks"][-1]["detail"] == "calls_per_callee: 6 with this call; hard 5"
