"""Who may be shown as the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policy.attempt import AssertedIdentity, CallAttempt
from policy.cli import CliFormat
from policy.compiled import Policy
from policy.evaluate import evaluate
from policy.reasons import ReasonCode
from policy.verdict import Verdict

OWN, OTHER, FOREIGN = "+442071838750", "+442071838751", "+15551230001"
LONDON = "+442079460123"
BRITISH = {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}
PolicyOf = Callable[..., Policy]


@pytest.fixture
def call(policy_of: PolicyOf, new_trunk: Callable[..., dict[str, Any]]) -> Callable[..., Verdict]:
    def run(cli: str, *asserted: str, scheme: str = "sip", params: Any = (), **trunk: Any) -> Verdict:
        whole = trunk.pop("whole", {})
        fields = {"dids": [OWN, OTHER], "on_cli_mismatch_action": "reject_call"} | trunk
        policy = policy_of(trunks=[new_trunk(**fields)], **whole)
        identities = tuple(AssertedIdentity("p-asserted-identity", "sip", user, ()) for user in asserted)
        attempt = CallAttempt(
            "192.0.2.10", "udp", "sip", LONDON, cli=cli, cli_scheme=scheme, cli_params=params,
            asserted=identities,
        )  # fmt: skip
        return evaluate(policy, attempt)

    return run


def number(verdict: Verdict) -> str | None:
    assert verdict.cli is not None
    return verdict.cli.number


@pytest.mark.parametrize(
    ("cli", "trunk"),
    [
        (OWN, {}),
        ("%2B442071838750", {}),
        ("+44-20-7183.8750", {}),
        ("442071838750", {}),
        ("02071838750", {"dial_plan": BRITISH}),
        ("00442071838750", {"dial_plan": BRITISH}),
        ("+442071838750;npdi", {}),
    ],
)
def test_own_number_however_it_is_written(call, cli: str, trunk: dict[str, Any]) -> None:
    verdict = call(cli, **trunk)

    assert verdict.reason is None
    assert number(verdict) == OWN
    assert verdict.cli.attestation == "A"
    assert not verdict.cli.replaced


def test_own_number_as_tel_uri_with_its_context(call) -> None:
    verdict = call("71838750", scheme="tel", params=(("phone-context", "+4420"),))

    assert number(verdict) == OWN


@pytest.mark.parametrize(
    "cli", [FOREIGN, "alice", "%252B442071838750", "02071838750", "+4420718387501", "442071838750;ext=1", ""]
)
def test_other_caller_is_refused(call, cli: str) -> None:
    verdict = call(cli)

    assert verdict.reason is ReasonCode.CLI
    assert verdict.checks[-1].name == "cli"
    assert verdict.checks[-1].outcome == "refuse"


def test_what_the_dial_plan_reads_otherwise_is_no_owned_number(call) -> None:
    """To a plan that reads bare digits as national ones, these are another number."""
    plan = {"country_code": "1", "national_prefixes": [""]}

    assert call("442071838750", dial_plan=plan).reason is ReasonCode.CLI


@pytest.mark.parametrize(
    ("cli", "asserted", "reason"),
    [
        ("anonymous", [OWN], None),
        ("Anonymous", [OWN], None),
        ("anonymous", [FOREIGN], ReasonCode.CLI),
        ("anonymous", [], ReasonCode.CLI),
        (OWN, [OTHER], None),
        (OWN, [FOREIGN], ReasonCode.CLI),
        (OWN, [OWN, FOREIGN], ReasonCode.CLI),
        (FOREIGN, [OWN], ReasonCode.CLI),
    ],
)
def test_every_address_that_names_the_caller_is_looked_at(call, cli, asserted, reason) -> None:
    assert call(cli, *asserted).reason is reason


def test_identity_that_is_not_believed_speaks_for_nobody(call) -> None:
    assert call("anonymous", OWN, trust_identity=False).reason is ReasonCode.CLI
    assert call(OWN, FOREIGN, trust_identity=False).reason is None


def test_replaced(call) -> None:
    told = call(FOREIGN, on_cli_mismatch_action="replace_cli", default_did="+442071838799").cli

    assert told.replaced
    assert told.told("any") == "+442071838799"
    assert told.attestation == "A"


def test_default_number_is_an_own_one(call) -> None:
    verdict = call("+442071838799", on_cli_mismatch_action="replace_cli", default_did="+442071838799")

    assert not verdict.cli.replaced


def test_randomized_by_the_calls_token(call) -> None:
    told = call(FOREIGN, on_cli_mismatch_action="randomize_cli").cli
    drawn = [told.told(f"token{index}") for index in range(400)]

    assert set(drawn) == {OWN, OTHER}
    assert 140 < drawn.count(OWN) < 260
    assert told.told("token1") == told.told("token1")


def test_original_is_sent_and_not_vouched_for(call) -> None:
    verdict = call(FOREIGN, on_cli_mismatch_action="send_original_cli")

    assert verdict.reason is None
    assert not verdict.cli.replaced
    assert verdict.cli.attestation == "B"
    assert "sent as it came" in next(check.detail for check in verdict.checks if check.name == "cli")


def test_any_number_of_the_account(call) -> None:
    accounts = [{"name": "acme", "dids": [OTHER]}, {"name": "else", "dids": ["+442071838755"]}]
    fields = {"dids": [], "allow_any_did_as_cli": True, "account": "acme", "whole": {"accounts": accounts}}

    assert call(OTHER, **fields).reason is None
    assert call("+442071838755", **fields).reason is ReasonCode.CLI


def test_any_number_of_the_accounts_other_trunks(policy_of, new_trunk) -> None:
    policy = policy_of(
        trunks=[
            new_trunk(allow_any_did_as_cli=True, on_cli_mismatch_action="reject_call"),
            new_trunk(name="branch", allowed_sip_ips=["192.0.2.11"], dids=[OWN]),
        ]
    )
    attempt = CallAttempt("192.0.2.10", "udp", "sip", LONDON, cli=OWN)

    assert evaluate(policy, attempt).reason is None
    attempt.cli = FOREIGN
    assert evaluate(policy, attempt).reason is ReasonCode.CLI


def test_without_rules_nothing_is_read(call) -> None:
    verdict = call("alice", dids=[], on_cli_mismatch_action="send_original_cli")

    assert verdict.cli is None
    assert ("cli", "skip") in [(check.name, check.outcome) for check in verdict.checks]


def test_emergency_call_has_any_caller(policy_of, new_trunk) -> None:
    policy = policy_of(trunks=[new_trunk(dids=[OWN], on_cli_mismatch_action="reject_call")])

    verdict = evaluate(policy, CallAttempt("192.0.2.10", "udp", "sip", "112", cli="alice"))

    assert verdict.reason is None
    assert verdict.cli is None


def test_country_and_prefix_are_judged_before_the_caller(call) -> None:
    assert call(FOREIGN, dst_prefixes={"deny": ["+44"]}).reason is ReasonCode.PREFIX
    assert call(FOREIGN, max_destination_rate="0.001", rate_deck="retail").reason is ReasonCode.CLI


@pytest.mark.parametrize(
    ("kind", "code", "prefix", "expected"),
    [
        ("e164", "", "", "442071838750"),
        ("plus_e164", "", "", "+442071838750"),
        ("national", "44", "0", "02071838750"),
        ("national", "1", "", "+442071838750"),
    ],
)
def test_formats(kind: str, code: str, prefix: str, expected: str) -> None:
    assert CliFormat(kind, code, prefix).write(OWN) == expected
