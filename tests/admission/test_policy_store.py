from __future__ import annotations

from policy.attempt import CallAttempt
from policy.reasons import ReasonCode
from proxy.admission.policy_store import PolicyStore
from tests.admission.bench import policy

CALL = CallAttempt("127.0.0.2", "udp", "sip", "+442071838750")


def test_judges_by_the_policy_in_force() -> None:
    store = PolicyStore(policy())
    assert store.judge(CALL).reason is None
    store.replace(policy("v2", trunk={"status": "blocked"}))
    assert store.policy.version == "v2"
    assert store.judge(CALL).reason is ReasonCode.DISABLED


def test_knows_the_sources_of_the_policy_in_force() -> None:
    store = PolicyStore(policy())
    assert store.knows("127.0.0.2")
    assert not store.knows("127.0.0.9")
    assert not store.knows("nonsense")
    store.replace(policy(trunk={"allowed_sip_ips": ["127.0.0.9"]}))
    assert (store.knows("127.0.0.2"), store.knows("127.0.0.9")) == (False, True)


def test_refusals_with_the_operators_own_status() -> None:
    store = PolicyStore(policy(refusals={"SPEND": "402"}))
    spend = store.refusal(ReasonCode.SPEND)
    assert (spend.status, spend.phrase, spend.cause) == (402, "Spend Limit Reached", 21)
    assert store.refusal(ReasonCode.CAPACITY).status == 403
