"""What the called side is told of the caller; each side goes on seeing the addresses that it knows."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proxy.call.memory import remember
from proxy.sip.headers import name_addr
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.call.test_memory import adopted

OWN, OTHER, FOREIGN = "+442071838750", "+442071838751", "+15551230001"  # the playbook's caller is FOREIGN
CALLERS_FROM = f'"Alice" <sip:{FOREIGN}@127.0.0.2>;tag=pbx1'.encode()
SHOWN_FROM = f"<sip:{OWN}@127.0.0.2>;tag=pbx1".encode()
REPLACE = {"dids": [OWN], "default_did": OWN, "on_cli_mismatch_action": "replace_cli"}
ANONYMOUS = b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=pbx1'


def book(trunk: dict[str, Any], **provider: Any) -> Playbook:
    return Playbook(policy(trunk=trunk, provider=provider))


def placed(trunk: dict[str, Any], *, extra: str = "", own: bytes = CALLERS_FROM, **provider: Any) -> Any:
    """The INVITE as the carrier gets it."""
    playbook = book(trunk, **provider)
    playbook.receive(invite(extra=extra).replace(CALLERS_FROM, own))
    return playbook.last(CARRIER)


def asserted(user: str, more: str = "") -> str:
    return f"P-Asserted-Identity: <sip:{user}@127.0.0.2>\r\n{more}"


def test_refused() -> None:
    playbook = book({"dids": [OWN], "on_cli_mismatch_action": "reject_call"})

    playbook.receive(invite())

    refusal = playbook.last(PBX)
    assert refusal.start == b"SIP/2.0 403 Caller Identity Not Allowed"
    assert b"CLI" in refusal.first(b"warning")
    assert playbook.take() == ["pbx <- 403 (INVITE)"]


def test_from_is_replaced_but_for_its_tag_and_host() -> None:
    assert placed(REPLACE).first(b"from") == SHOWN_FROM


def test_one_of_several_is_drawn() -> None:
    shown = placed({"dids": [OWN, OTHER], "on_cli_mismatch_action": "randomize_cli"}).first(b"from")

    assert shown in (SHOWN_FROM, SHOWN_FROM.replace(OWN.encode(), OTHER.encode()))


def test_own_number_leaves_as_it_came() -> None:
    own = CALLERS_FROM.replace(FOREIGN.encode(), OWN.encode())

    sent = placed(REPLACE, own=own, extra=asserted(OWN) + f"Remote-Party-ID: <sip:{OWN}@127.0.0.2>\r\n")

    assert sent.first(b"from") == own
    assert sent.first(b"p-asserted-identity") == f"<sip:{OWN}@127.0.0.2>".encode()
    assert sent.first(b"remote-party-id") is not None


@pytest.mark.parametrize("own", [b"<tel:+15551230001>;tag=pbx1", b"tel:+15551230001;tag=pbx1"])
def test_tel_uri(own: bytes) -> None:
    assert placed(REPLACE, own=own).first(b"from") == f"<tel:{OWN}>;tag=pbx1".encode()


@pytest.mark.parametrize(
    "own",
    [
        b'"+15551230001" <sip:+15551230001:secret@127.0.0.2:5070;user=phone?Subject=+15551230001>'
        b";tag=pbx1;isup-oli=+15551230001",
        b"sip:+15551230001@127.0.0.2;tag=pbx1;x=+15551230001",
        b"<sip:%2B15551230001@127.0.0.2>;tag=pbx1",
        b"<sip:+1-555-123-0001@127.0.0.2>;tag=pbx1",
    ],
)
def test_nothing_of_the_old_number_is_left(own: bytes) -> None:
    old = (
        f"P-Preferred-Identity: <sip:{FOREIGN}@127.0.0.2>\r\nRemote-Party-ID: <sip:{FOREIGN}@127.0.0.2>\r\n"
        f"Identity: abc;info=<https://x.example>\r\nP-Charge-Info: <sip:{FOREIGN}@x>\r\n"
        f"Diversion: <tel:+1-555-123-0001>;reason=unknown\r\nHistory-Info: <sip:{OTHER}@x>;index=1\r\n"
        f"Reply-To: <sip:{FOREIGN}@x>\r\n"
    )
    playbook = book(REPLACE)
    message = invite(extra=asserted(FOREIGN, old)).replace(CALLERS_FROM, own)
    contact = f'Contact: "{FOREIGN}" <sip:{FOREIGN}@127.0.0.2:5062>;+sip.ice'.encode()
    playbook.receive(re.sub(rb"Contact: [^\r]*", contact, message))
    sent = playbook.last(CARRIER)

    text = b"\r\n".join(line for name, line in sent.headers if name != b"via").replace(b"-", b"")
    assert b"5551230001" not in text
    assert OWN.encode() in name_addr(sent.first(b"from")).uri
    assert sent.first(b"p-asserted-identity") == f"<sip:{OWN}@127.0.0.1:5060>".encode()
    assert sent.first(b"identity") is None
    assert sent.first(b"contact") == f"<sip:{OWN}@127.0.0.2:5062>;+sip.ice".encode()


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:desk@127.0.0.2:5062>",
        "<sip:127.0.0.2:5062>",
        "sip:desk@127.0.0.2:5062",
        "*",
        "<sip:@>",
        "<",
        "<sip:0001@127.0.0.2:5062>",
    ],
)
def test_contact_that_does_not_have_the_number_is_left_alone(contact: str) -> None:
    playbook = book(REPLACE)
    playbook.receive(re.sub(rb"Contact: [^\r]*", f"Contact: {contact}".encode(), invite()))
    assert playbook.last(CARRIER).first(b"contact") == contact.encode()


@pytest.mark.parametrize("user", [FOREIGN, FOREIGN[1:], FOREIGN[2:], FOREIGN[5:], f"00{FOREIGN[1:]}"])
@pytest.mark.parametrize("name", ["Contact", "m"])
def test_contact_with_the_number_in_another_spelling(user: str, name: str) -> None:
    playbook = book(REPLACE)
    contact = f'{name}: "{user}" <sip:{user}@127.0.0.2:5062>'.encode()
    playbook.receive(re.sub(rb"Contact: [^\r]*", contact, invite()))
    assert playbook.last(CARRIER).first(b"contact") == f"<sip:{OWN}@127.0.0.2:5062>".encode()


def test_who_diverted_is_told_where_it_is_not_the_caller() -> None:
    extra = f"Diversion: <sip:{OWN}@x>;reason=no-answer\r\nHistory-Info: <sip:{OWN}@x>;index=1\r\n"
    sent = placed(REPLACE, extra=extra)
    assert sent.first(b"diversion") == f"<sip:{OWN}@x>;reason=no-answer".encode()
    assert sent.first(b"history-info") == f"<sip:{OWN}@x>;index=1".encode()


def test_who_pays_is_not_the_callers_to_say_where_its_number_is_judged() -> None:
    own = CALLERS_FROM.replace(FOREIGN.encode(), OWN.encode())
    charge = f"P-Charge-Info: <sip:{FOREIGN}@x>\r\n"
    assert placed(REPLACE, own=own, extra=charge).first(b"p-charge-info") is None
    assert placed({}, extra=charge).first(b"p-charge-info") is not None
    assert placed({}, extra=charge, trusted=False).first(b"p-charge-info") is None
    assert placed({"trust_identity": False}, extra=charge).first(b"p-charge-info") is None


def test_asserted_identity_alone_is_enough_to_be_replaced() -> None:
    own = CALLERS_FROM.replace(FOREIGN.encode(), OTHER.encode())

    sent = placed(REPLACE | {"dids": [OWN, OTHER]}, own=own, extra=asserted(FOREIGN))

    assert FOREIGN.encode() not in b"\r\n".join(line for _, line in sent.headers)


def test_anonymous_caller_stays_so_and_the_provider_learns_who_pays() -> None:
    sent = placed(REPLACE, own=ANONYMOUS, extra=asserted(FOREIGN, "Privacy: id\r\n"))

    assert sent.first(b"from") == ANONYMOUS
    assert sent.first(b"privacy") == b"id"
    assert sent.all(b"p-asserted-identity") == [f"<sip:{OWN}@127.0.0.1:5060>".encode()]


def test_anonymous_caller_is_not_named_to_a_provider_that_is_not_trusted() -> None:
    extra = asserted(FOREIGN, "Privacy: id\r\n")
    sent = placed(REPLACE, own=ANONYMOUS, extra=extra, trusted=False)

    assert sent.first(b"from") == ANONYMOUS
    assert sent.first(b"p-asserted-identity") is None


def test_operators_own_header_wins() -> None:
    sent = placed(REPLACE, extra=asserted(FOREIGN), tech_headers={"P-Asserted-Identity": "<sip:x@y>"})

    assert sent.all(b"p-asserted-identity") == [b"<sip:x@y>"]


@pytest.mark.parametrize(
    ("provider", "user"),
    [
        ({"cli_format": "e164"}, "442071838750"),
        ({"cli_format": "plus_e164"}, OWN),
        ({"cli_format": "national", "cli_country_code": "44", "cli_national_prefix": "0"}, "02071838750"),
    ],
)
@pytest.mark.parametrize("rules", [{}, {"dids": [OWN], "on_cli_mismatch_action": "reject_call"}])
def test_numbers_as_the_provider_wants_them(provider: dict[str, str], user: str, rules: dict) -> None:
    plan = {"dial_plan": {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}}
    own = CALLERS_FROM.replace(FOREIGN.encode(), b"00442071838750")
    extra = f'P-Asserted-Identity: "A, B" <sip:02071838750@127.0.0.2>, <tel:{OWN}>\r\n'

    sent = placed(plan | rules, own=own, extra=extra, **provider)

    assert sent.first(b"from") == f'"Alice" <sip:{user}@127.0.0.2>;tag=pbx1'.encode()
    assert sent.all(b"p-asserted-identity") == [
        f'"A, B" <sip:{user}@127.0.0.2>'.encode(), f"<tel:{OWN}>".encode(),
    ]  # fmt: skip


def test_what_is_no_number_is_not_formatted() -> None:
    own = CALLERS_FROM.replace(FOREIGN.encode(), b"alice")

    assert placed({}, own=own, cli_format="e164").first(b"from") == own


def test_without_rules_all_is_as_it_came() -> None:
    sent = placed({}, extra=asserted("x", "Identity: abc\r\n"))

    assert sent.first(b"from") == CALLERS_FROM
    assert sent.first(b"p-asserted-identity") == b"<sip:x@127.0.0.2>"
    assert sent.first(b"identity") == b"abc"


@pytest.fixture
def call() -> tuple[Playbook, Any]:
    """A call under a replaced number that both sides have taken up; the 200 as the PBX saw it."""
    playbook = book(REPLACE)
    return playbook, established(playbook)


def test_caller_sees_its_own_address_in_every_response() -> None:
    playbook = book(REPLACE)
    playbook.receive(invite())
    sent = playbook.last(CARRIER)
    for status in (180, 200, 200):
        playbook.receive(answer(sent, status), CARRIER)
        assert playbook.last(PBX).status == status
        assert playbook.last(PBX).first(b"from") == CALLERS_FROM


def test_failure_is_told_and_acknowledged_under_either_address() -> None:
    playbook = book(REPLACE)
    playbook.receive(invite())
    playbook.receive(answer(playbook.last(CARRIER), 486), CARRIER)

    assert playbook.last(PBX).first(b"from") == CALLERS_FROM
    assert playbook.last(CARRIER).method == b"ACK"
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM


def test_cancel_has_the_shown_address() -> None:
    playbook = book(REPLACE)
    playbook.receive(invite())
    playbook.receive(answer(playbook.last(CARRIER), 180), CARRIER)
    playbook.receive(invite(method="CANCEL", body=b""))

    assert playbook.last(CARRIER).method == b"CANCEL"
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM
    assert playbook.last(PBX).first(b"from") == CALLERS_FROM


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
def test_request_of_the_caller(call, method: str) -> None:
    playbook, ok = call
    extra = asserted(FOREIGN, "Identity: abc\r\n")
    playbook.receive(in_dialog(method, ok, cseq=2, extra=extra))
    sent = playbook.last(CARRIER)
    assert sent.first(b"from") == SHOWN_FROM
    assert sent.first(b"p-asserted-identity") is None
    assert sent.first(b"identity") is None

    playbook.receive(answer(sent, 200), CARRIER)

    assert playbook.last(PBX).first(b"from") == CALLERS_FROM


def test_caller_may_take_no_other_name_in_mid_call(call) -> None:
    """RFC 4916 lets From change within a dialog; here it would walk around the rule."""
    playbook, ok = call
    request = in_dialog("UPDATE", ok, cseq=2).replace(FOREIGN.encode(), b"+12025550100")
    playbook.receive(request)
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM

    playbook.receive(answer(playbook.last(CARRIER), 200), CARRIER)

    assert playbook.last(PBX).first(b"from") == CALLERS_FROM.replace(FOREIGN.encode(), b"+12025550100")


LATER = "+12025550100"


def renamed(method: str, ok: Any, contact: str = LATER, *, own: bool = True) -> bytes:
    """A request in mid-call whose From (if `own`), Contact and Diversion say another number."""
    extra = f"Diversion: <sip:{LATER}@x>;reason=unknown\r\nHistory-Info: <sip:{LATER}@x>;index=1\r\n"
    extra += f"Contact: <sip:{contact}@127.0.0.2:5062>\r\n"
    request = in_dialog(method, ok, cseq=2, extra=extra)
    return request.replace(FOREIGN.encode(), LATER.encode()) if own else request


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("trunk", [REPLACE, {"dids": [FOREIGN], "on_cli_mismatch_action": "reject_call"}])
def test_contact_and_diversion_take_no_other_number_in_mid_call(
    trunk: dict[str, Any], own: bool, method: str
) -> None:
    playbook = book(trunk)
    ok = established(playbook)
    shown = playbook.sessions[0].shown_from.partition(b":")[2].partition(b"@")[0]
    contact = b"<sip:" + shown + b"@127.0.0.2:5062>"

    playbook.receive(renamed(method, ok, own=own))

    assert LATER.encode() not in playbook.last_bytes(CARRIER)
    assert playbook.last(CARRIER).first(b"contact") == contact

    playbook.receive(answer(playbook.last(CARRIER), 200), CARRIER)
    request = in_dialog("UPDATE", ok, cseq=1, from_callee=True, branch="z9hG4bK-back")
    playbook.receive(request, CARRIER)
    assert playbook.last(PBX).uri == f"sip:{LATER}@127.0.0.2:5062".encode()  # as the caller has it
    reply = answer(playbook.last(PBX), 200, contact=f"sip:{LATER}@127.0.0.2:5062")
    playbook.receive(reply, PBX)
    assert LATER.encode() not in playbook.last_bytes(CARRIER)
    assert playbook.last(CARRIER).first(b"contact") == contact


def test_contact_that_is_no_number_may_change_in_mid_call(call) -> None:
    playbook, ok = call
    playbook.receive(renamed("INVITE", ok, "desk-2"))
    assert playbook.last(CARRIER).first(b"contact") == b"<sip:desk-2@127.0.0.2:5062>"


def test_own_number_cannot_become_another_in_mid_call() -> None:
    playbook = book({"dids": [FOREIGN], "on_cli_mismatch_action": "reject_call"})
    ok = established(playbook)

    playbook.receive(in_dialog("UPDATE", ok, cseq=2, extra=asserted("+12025550100")).replace(
        f"<sip:{FOREIGN}".encode(), b"<sip:+12025550100"))  # fmt: skip

    assert b"+12025550100" not in playbook.last_bytes(CARRIER)


@pytest.mark.parametrize("method", ["INVITE", "INFO", "BYE"])
def test_request_of_the_callee(call, method: str) -> None:
    playbook, ok = call
    request = in_dialog(method, ok, cseq=1, from_callee=True).replace(
        b"To: " + CALLERS_FROM, b"To: " + SHOWN_FROM
    )
    playbook.receive(request, CARRIER)
    sent = playbook.last(PBX)
    assert sent.method == method.encode()
    assert sent.first(b"to") == CALLERS_FROM

    reply = answer(sent, 200, extra=asserted(FOREIGN).strip())
    playbook.receive(reply, PBX)

    back = playbook.last(CARRIER)
    assert back.first(b"to") == SHOWN_FROM
    assert back.first(b"p-asserted-identity") is None


def test_ack_has_the_shown_address() -> None:
    playbook = book(REPLACE)
    playbook.receive(invite())
    playbook.receive(answer(playbook.last(CARRIER), 200), CARRIER)
    ok = playbook.last(PBX)
    playbook.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))

    assert playbook.last(CARRIER).method == b"ACK"
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM


def test_byes_of_our_own_have_either_address(call) -> None:
    playbook, _ = call
    playbook.sessions[0].hang_up(b"Q.850;cause=31", playbook.now)
    playbook.pump()

    assert playbook.last(CARRIER).method == playbook.last(PBX).method == b"BYE"
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM
    assert playbook.last(PBX).first(b"to") == CALLERS_FROM


def test_probes_have_either_address() -> None:
    playbook = book(REPLACE | {"call_probe_seconds": 60})
    established(playbook)
    playbook.pass_time(61)

    assert playbook.last(CARRIER).method == playbook.last(PBX).method == b"OPTIONS"
    assert playbook.last(CARRIER).first(b"from") == SHOWN_FROM
    assert playbook.last(PBX).first(b"to") == CALLERS_FROM


def test_another_instance_goes_on_under_either_address() -> None:
    first = book(REPLACE)
    established(first)
    second = Playbook(first.store.policy)
    session = adopted(second, remember(first.sessions[0], first.now))

    session.hang_up(b"Q.850;cause=31", second.now)
    second.pump()

    assert second.last(CARRIER).first(b"from") == SHOWN_FROM
    assert second.last(PBX).first(b"to") == CALLERS_FROM
