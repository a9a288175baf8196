from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from policy.attempt import CallAttempt
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.explain import explain

FIELDS = [
    "decision", "reason", "sip_status", "sip_reason", "trunk", "provider", "called", "country", "kinds",
    "destination", "rate", "request_uri", "checks", "policy_version",
]  # fmt: skip


def explained(policy: Policy, user: str, source: str = "192.0.2.10") -> dict[str, Any]:
    fields = explain(policy, evaluate(policy, CallAttempt(source, "udp", "sip", user)))
    assert list(fields) == FIELDS
    return dict(json.loads(json.dumps(fields)))


def test_admitted(policy_of: Callable[..., Policy], new_trunk: Any) -> None:
    fields = explained(policy_of(trunks=[new_trunk(rate_deck="retail")]), "+442079460018")
    checks = fields.pop("checks")
    assert fields == {
        "decision": "admitted",
        "reason": None,
        "sip_status": None,
        "sip_reason": None,
        "trunk": "office-pbx",
        "provider": "carrier-a",
        "called": "+442079460018",
        "country": "GB",
        "kinds": [],
        "destination": "United Kingdom",
        "rate": "0.01",
        "request_uri": "sip:+442079460018@sip.carrier-a.example",
        "policy_version": "v1",
    }
    wanted = {"name": "gate", "scope": "", "outcome": "pass", "detail": "the instance takes new calls"}
    assert wanted in checks


def test_refused(policy_of: Callable[..., Policy]) -> None:
    fields = explained(policy_of(), "+18765550100")
    assert (fields["decision"], fields["reason"]) == ("refused", "COUNTRY")
    assert (fields["sip_status"], fields["sip_reason"]) == (403, "Destination Country Not Whitelisted")
    assert (fields["trunk"], fields["called"], fields["country"]) == ("office-pbx", "+18765550100", "JM")
    assert fields["provider"] is None
    assert fields["request_uri"] is None


def test_a_stranger(policy_of: Callable[..., Policy]) -> None:
    fields = explained(policy_of(), "+18765550100", "203.0.113.1")
    assert (fields["reason"], fields["trunk"], fields["called"]) == ("SOURCE", None, None)


def test_a_replaced_status(policy_of: Callable[..., Policy]) -> None:
    assert explained(policy_of(refusals={"COUNTRY": 603}), "+18765550100")["sip_status"] == 603


def test_kinds_of_the_number(policy_of: Callable[..., Policy], new_trunk: Any) -> None:
    fields = explained(policy_of(trunks=[new_trunk()]), "+19005550123")
    assert (fields["reason"], fields["kinds"]) == ("PREFIX", ["premium"])
