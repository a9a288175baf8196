"""The messages of RFC 4475 and RFC 5118 through the stack, when they are at hand.

TRUNKWARDEN_TORTURE_DIR names the folder that holds `rfc4475` and `rfc5118`, one message a file.
test_parse.py has a corpus in the same spirit.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.sip.counters import SipCounters
from proxy.sip.events import RequestReceived
from proxy.sip.message import SipRequest
from proxy.sip.serialize import serialize_message
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from tests.playbook import CALLER, flow_to

PASSED = (
    "esc01 escnull lwsdisp longreq transports mpart01 unksm2 invut regaut01 sdp01 cparam01 cparam02 regescrt"
)
# 416, 420 and 483 are the proxy core's answers: the stack has nothing against these messages
OF_THE_CORE = "unkscm novelsc bext01 zeromf"
# Tolerated: a proxy reads neither Date nor Contact
TOLERATED = "baddate regbadct"
REFUSED = "badinv01 clerr scalar02 ltgtruri lwsruri lwsstart mismatch01 mismatch02 insuf"
# Refused as well, decided once: see parse.py
DECIDED = "quotbal trws badaspec baddn"
IPV6_PASSED = (
    "ipv6-good ipv6-in-sdp mult-ip-in-sdp port-unambiguous ipv6-correct-abnf-2-colons "
    "ipv6-bug-abnf-3-colons via-received-param-no-delim via-received-param-with-delim"
)

CASES = [
    *(("rfc4475", f"{name}.dat", 0) for name in f"{PASSED} {OF_THE_CORE} {TOLERATED}".split()),
    *(("rfc4475", f"{name}.dat", 400) for name in f"{REFUSED} {DECIDED}".split()),
    ("rfc4475", "badvers.dat", 505),
    ("rfc4475", "scalarlg.dat", None),
    ("rfc4475", "bigcode.dat", None),
    *(("rfc5118", name, 0) for name in IPV6_PASSED.split()),
    ("rfc5118", "ipv6-bad", 400),
]


def message(folder: str, name: str) -> bytes:
    root = os.environ.get("TRUNKWARDEN_TORTURE_DIR")
    if root is None:
        pytest.skip("TRUNKWARDEN_TORTURE_DIR is not set")
    path = Path(root) / folder / name
    if not path.is_file():
        pytest.skip(f"{folder}/{name} is not in TRUNKWARDEN_TORTURE_DIR")
    return path.read_bytes()


@pytest.mark.parametrize(("folder", "name", "status"), CASES)
def test_message(folder: str, name: str, status: int | None) -> None:
    """0: passed up; None: dropped; else answered so."""
    data = message(folder, name)
    stack = SipStack(Timers(), SipCounters())
    events = stack.receive(data, flow_to(CALLER), 0.0)
    malformed = sum(stack.counters.malformed.values())
    if status == 0:
        assert malformed == 0
        assert len(events) == 1
        assert isinstance(events[0], RequestReceived)
        assert not stack.outbox
        passed_as_it_came(data, events[0].request)
        return
    assert events == []
    assert malformed == 1
    if status is None:
        assert not stack.outbox
    else:
        [(answer, _)] = stack.outbox
        assert answer.startswith(b"SIP/2.0 %d " % status)
        assert len(answer) <= 1.5 * len(data)


def passed_as_it_came(data: bytes, request: SipRequest) -> None:
    """All but the topmost Via, where our `received` goes, and bytes after the body."""
    out = serialize_message(request.start, request.headers, request.body)
    index = request.via_index + 1
    before, after = data.split(b"\r\n"), out.split(b"\r\n")
    assert before[:index] == after[:index]
    assert before[index + 1 : len(request.headers)] == after[index + 1 : len(request.headers)]
    assert b"\r\n".join(before).startswith(b"\r\n".join(before[:index]))
    assert data.partition(b"\r\n\r\n")[2].startswith(request.body)


def test_every_message_at_hand_has_its_case() -> None:
    root = os.environ.get("TRUNKWARDEN_TORTURE_DIR")
    if root is None:
        pytest.skip("TRUNKWARDEN_TORTURE_DIR is not set")
    at_hand = {(path.parent.name, path.name) for path in Path(root).glob("rfc*/*")}
    assert at_hand <= {(folder, name) for folder, name, _ in CASES}
