"""The scenarios themselves, caller against callee without a proxy: what they count can be trusted."""

from __future__ import annotations

import pytest

from tests.e2e.configuration import WASHINGTON
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sip_text import Message, answer
from tests.e2e.sipp import SCENARIOS

CALLER = "127.0.0.20"
CALLS = 3
PAIRS = [
    ("uac_admitted", "uas_answering", {}),
    ("uac_maybe_shed", "uas_patient", {}),
    ("uac_long_call", "uas_long_call", {}),
    ("uac_hung_up_on", "uas_hanging_up", {}),
    ("uac_cancelled", "uas_ringing", {}),
    ("uac_retransmitting", "uas_retransmitting", {}),
    ("uac_failed", "uas_busy", {"expected_status": "486 Busy Here"}),
    ("uac_failed", "uas_unavailable", {"expected_status": "503 Service Unavailable"}),
]
HOLD_MS = 900


@pytest.mark.parametrize(("caller", "callee", "variables"), PAIRS, ids=lambda value: value if value else None)
def test_pair(sipp, caller: str, callee: str, variables: dict[str, str]) -> None:
    address = (PROVIDER, free_udp_port(PROVIDER))
    far_end = sipp(callee, address, calls=CALLS, hold_ms=HOLD_MS)
    near_end = sipp(
        caller, (CALLER, free_udp_port(CALLER)), target=address, called=WASHINGTON, calls=CALLS, rate=50,
        hold_ms=HOLD_MS, variables=variables,
    )  # fmt: skip

    near_end.wait().assert_all_succeeded(CALLS)
    far_end.wait().assert_all_succeeded(CALLS)


def test_wrong_status_fails_the_call(sipp) -> None:
    address = (PROVIDER, free_udp_port(PROVIDER))
    sipp("uas_busy", address, calls=CALLS)
    near_end = sipp(
        "uac_failed", (CALLER, free_udp_port(CALLER)), target=address, called=WASHINGTON, calls=CALLS,
        variables={"expected_status": "480 Temporarily Unavailable"},
    )  # fmt: skip

    result = near_end.wait()

    assert (result.successful, result.failed, result.exit_code) == (0, CALLS, 1)


RIGHT = {"expected_status": "403 No Rate Found", "expected_cause": "21", "expected_code": "NO_RATE"}


@pytest.mark.parametrize(
    ("wrong", "passes"),
    [
        ({}, True),
        ({"expected_status": "404 No Rate Found"}, False),
        ({"expected_status": "403 No Rate"}, False),
        ({"expected_cause": "34"}, False),
        ({"expected_code": "RATE"}, False),
    ],
)
def test_refused_looks_at_everything(sipp, new_peer, wrong: dict[str, str], passes: bool) -> None:
    def refuse(message: Message) -> list[bytes]:
        told = (
            ("Reason", 'Q.850;cause=21;text="No Rate Found"'),
            ("Warning", '399 trunkwarden "NO_RATE No Rate Found"'),
        )
        return [] if message.method == "ACK" else [answer(message, "403 No Rate Found", tag="x", extra=told)]

    refuser: Peer = new_peer(PROVIDER, refuse)
    near_end = sipp(
        "uac_refused", (CALLER, free_udp_port(CALLER)), target=refuser.address, called=WASHINGTON,
        variables=RIGHT | wrong,
    )  # fmt: skip

    assert (near_end.wait().exit_code == 0) is passes


def test_every_scenario_is_in_the_readme_and_in_a_pair() -> None:
    names = {path.stem for path in SCENARIOS.glob("*.xml")}
    readme = (SCENARIOS / "README.md").read_text()

    assert {name for name in names if f"`{name}.xml`" not in readme} == set()
    paired = {name for pair in PAIRS for name in pair[:2]}
    # These need the proxy between them: to be refused, to be challenged, or to be given up.
    assert names - paired == {"uac_refused", "uac_digest", "uas_silent"}
