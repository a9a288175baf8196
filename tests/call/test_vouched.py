"""Calls leave with what the proxy vouches for, and only with that."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.model import StirConfig
from config.scopes import Report
from config.signing import StirFiles
from config.stir import read_stir
from policy.compiled import Policy
from proxy.admission.policy_store import PolicyStore
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.certificates import Authority
from tests.openssl import Passport

OWN, OTHER, FOREIGN = "+442071838750", "+442071838751", "+15551230001"  # the playbook's caller is FOREIGN
LONDON = "442071838750"  # whom the playbook calls
WASHINGTON = "sip:+12025550123@127.0.0.1"
X5U = "https://cert.example.org/shaken.pem"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return Authority(tmp_path_factory.mktemp("stir")).issue("shaken")


@pytest.fixture(scope="module")
def stir(files: dict[str, str]) -> dict[str, Any]:
    return {**files, "x5u": X5U, "trusted": [{"x5u": X5U, "certificate_file": files["certificate_file"]}]}


@pytest.fixture
def book(stir: dict[str, Any]):
    def make(trunk: dict[str, Any], provider: dict[str, Any] | None = None, **section: Any) -> Playbook:
        playbook = Playbook(compiled(trunk, provider or {}, stir | section))
        playbook.core.judge = playbook.store = PolicyStore(
            playbook.store.policy, lambda: int(NOW.timestamp() * 1000)
        )
        return playbook

    return make


def compiled(trunk: dict[str, Any], provider: dict[str, Any], section: dict[str, Any], **more: Any) -> Policy:
    report = Report()
    read: StirFiles = read_stir(StirConfig.model_validate(section), NOW, report)
    assert report.problems == []
    return policy(trunk=trunk, provider=provider, stir=section, stir_files=read, **more)


def leaves(playbook: Playbook, *, cli: str = OWN, extra: str = "", uri: str = WASHINGTON) -> Any:
    playbook.receive(invite(uri, extra=extra).replace(FOREIGN.encode(), cli.encode()))
    return playbook.last(CARRIER)


def passports(message: Any) -> list[Passport]:
    return [Passport.of(value.decode()) for value in message.all(b"identity")]


@pytest.mark.parametrize(
    ("trunk", "cli", "attest"),
    [
        ({"dids": [OWN]}, OWN, "A"),
        ({"dids": [OWN]}, FOREIGN, "B"),
        ({}, FOREIGN, "C"),
    ],
)
def test_attestation(book, files, tmp_path: Path, trunk: dict[str, Any], cli: str, attest: str) -> None:
    sent = leaves(book(trunk), cli=cli)

    (passport,) = passports(sent)
    assert passport.payload["attest"] == attest
    assert passport.payload["orig"] == {"tn": cli[1:]}
    assert passport.payload["dest"] == {"tn": ["12025550123"]}
    assert passport.payload["iat"] == int(NOW.timestamp())
    assert UUID(passport.payload["origid"]).version == 5
    assert passport.holds(files["certificate_file"], tmp_path)
    assert sent.first(b"date") == format_datetime(NOW, usegmt=True).encode()


def test_what_is_told_is_what_is_signed(book) -> None:
    trunk = {"dids": [OWN, OTHER], "on_cli_mismatch_action": "randomize_cli"}

    sent = leaves(book(trunk), cli=FOREIGN, extra="Identity: abc;info=<https://x.example>\r\n")

    (passport,) = passports(sent)
    assert f"sip:+{passport.payload['orig']['tn']}@".encode() in sent.first(b"from")
    assert passport.payload["attest"] == "A"


def test_origid_is_the_trunks(book) -> None:
    first, again = (passports(leaves(book({})))[0].payload["origid"] for _ in range(2))
    other = passports(leaves(book({"name": "other"})))[0].payload["origid"]

    assert first == again != other


def test_all_tries_of_a_call_have_one_identity(book) -> None:
    playbook = book({})
    playbook.more_hops = [("127.0.0.4", 5090)]
    first = leaves(playbook).all(b"identity")
    playbook.receive(answer(playbook.last(CARRIER), 503), CARRIER)

    assert playbook.last(("127.0.0.4", 5090)).all(b"identity") == first


def test_asserted_identity_is_the_one_that_is_signed(book) -> None:
    sent = leaves(book({}), cli="anonymous", extra=f"P-Asserted-Identity: <tel:{OTHER}>\r\nPrivacy: id\r\n")

    assert passports(sent)[0].payload["orig"] == {"tn": OTHER[1:]}


def test_no_number_no_signature(book) -> None:
    assert leaves(book({}), cli="alice").all(b"identity") == []
    assert leaves(book({}), cli="anonymous").all(b"identity") == []


def test_nobody_outside_is_told_who_wants_to_stay_unknown(book) -> None:
    extra = f"P-Asserted-Identity: <tel:{OTHER}>\r\nPrivacy: id\r\nIdentity: abc\r\n"
    sent = leaves(book({}, {"trusted": False}), cli="anonymous", extra=extra)

    assert sent.all(b"identity") == []
    assert sent.first(b"p-asserted-identity") is None


def test_emergency_call_is_left_alone(stir) -> None:
    emergency = {"numbers": ["112"], "providers": ["carrier"]}
    playbook = Playbook(compiled({"dids": [OWN]}, {}, stir, emergency=emergency))

    assert leaves(playbook, uri="sip:112@127.0.0.1").all(b"identity") == []


@pytest.mark.parametrize(
    "header",
    [
        "Diversion: <sip:{0}@pbx>;reason=unconditional",
        "History-Info: <sip:{0}@pbx>;index=1, <sip:+12025550123@pbx>;index=1.1;mp=1",
    ],
)
def test_diverted_call_is_signed_for_both_of_its_ways(book, header: str) -> None:
    sent = leaves(book({"dids": [OWN]}), cli=FOREIGN, extra=header.format(OWN) + "\r\n")

    first, div = passports(sent)
    assert (first.header["ppt"], div.header["ppt"]) == ("shaken", "div")
    assert (first.payload["attest"], first.payload["dest"]) == ("B", {"tn": [OWN[1:]]})
    assert div.payload["div"] == {"tn": OWN[1:]}
    assert div.payload["dest"] == {"tn": ["12025550123"]}
    assert first.payload["orig"] == div.payload["orig"] == {"tn": FOREIGN[1:]}


def test_diversion_by_a_foreign_number_is_not_signed(book) -> None:
    sent = leaves(book({"dids": [OWN]}), cli=FOREIGN, extra=f"Diversion: <sip:{OTHER}@pbx>\r\n")

    assert [one.header["ppt"] for one in passports(sent)] == ["shaken"]


def brought(book, **options: Any) -> str:
    """Identity headers that another, with the same certificate, signed for its call."""
    sent = leaves(book({"dids": [OWN]}), **options)
    return "".join(f"Identity: {value.decode()}\r\n" for value in sent.all(b"identity"))


def test_identity_that_holds_is_passed_on_and_not_signed_again(book) -> None:
    identity = brought(book, cli=FOREIGN)

    sent = leaves(book({"identity_header": "require"}), cli=FOREIGN, extra=identity)

    assert [f"Identity: {value.decode()}\r\n" for value in sent.all(b"identity")] == [identity]


def test_forwarded_call_keeps_its_identity_and_gets_div(book) -> None:
    """It was signed for a call to the trunk's number, which sends it on."""
    identity = brought(book, cli=FOREIGN, uri=f"sip:{OWN}@127.0.0.1")
    trunk = {"dids": [OWN], "identity_header": "verify"}

    sent = leaves(book(trunk), cli=FOREIGN, extra=f"{identity}Diversion: <sip:{OWN}@pbx>\r\n")

    assert [one.header["ppt"] for one in passports(sent)] == ["shaken", "div"]
    assert passports(sent)[0].payload["dest"] == {"tn": [OWN[1:]]}


@pytest.mark.parametrize(
    ("rule", "call", "refused"),
    [
        ("verify", {"cli": FOREIGN}, False),
        ("verify", {"cli": OTHER}, True),
        ("verify", {"cli": FOREIGN, "uri": "sip:+12025550199@127.0.0.1"}, True),
        ("require", {"cli": OTHER}, True),
        ("pass", {"cli": OTHER}, False),
        ("remove", {"cli": OTHER}, False),
    ],
)
def test_identity_of_another_call(book, rule: str, call: dict[str, str], refused: bool) -> None:
    playbook = book({"identity_header": rule})
    extra = brought(book, cli=FOREIGN)
    playbook.receive(
        invite(call.get("uri", WASHINGTON), extra=extra).replace(FOREIGN.encode(), call["cli"].encode())
    )

    if refused:
        assert playbook.last(PBX).start == b"SIP/2.0 403 Caller Identity Not Allowed"
        return
    assert len(playbook.last(CARRIER).all(b"identity")) == {"verify": 1, "pass": 2, "remove": 1}[rule]


@pytest.mark.parametrize("uri", [WASHINGTON, "sip:112@127.0.0.1"])
@pytest.mark.parametrize("rule", ["pass", "remove", "verify"])
def test_identity_of_a_request_within_a_call(stir, rule: str, uri: str) -> None:
    emergency = {"numbers": ["112"], "providers": ["carrier"]}
    playbook = Playbook(compiled({"identity_header": rule}, {}, stir, emergency=emergency))
    ok = established(playbook, uri=uri)
    extra = "Identity: made.up.by-somebody;info=<https://x.example>\r\n"
    for number, method in enumerate(("INVITE", "UPDATE", "INFO"), 2):
        playbook.receive(in_dialog(method, ok, cseq=number, extra=extra, branch=f"z9hG4bK-{method}"))
        sent = playbook.last(CARRIER)
        assert sent.method == method.encode()
        assert (sent.first(b"identity") is None) == (rule != "pass" and uri == WASHINGTON)
        playbook.receive(answer(sent, 200), CARRIER)


def test_call_without_identity(book) -> None:
    asked, wanted = book({"identity_header": "verify"}), book({"identity_header": "require"})
    asked.receive(invite(WASHINGTON))
    wanted.receive(invite(WASHINGTON))

    assert len(asked.last(CARRIER).all(b"identity")) == 1
    assert wanted.last(PBX).status == 403


def test_identity_of_yesterday(book) -> None:
    extra = brought(book, cli=FOREIGN)
    playbook = book({"identity_header": "verify"})
    playbook.store._clock = lambda: int((NOW.timestamp() + 90) * 1000)
    playbook.receive(invite(WASHINGTON, extra=extra))

    assert playbook.last(PBX).status == 403


@pytest.mark.parametrize(("seconds", "kept"), [(-30, True), (-300, False)])
def test_date_that_is_not_true_is_replaced(book, seconds: int, kept: bool) -> None:
    said = format_datetime(datetime.fromtimestamp(NOW.timestamp() + seconds, UTC), usegmt=True)

    sent = leaves(book({}), extra=f"Date: {said}\r\n")

    assert sent.all(b"date") == [said.encode() if kept else format_datetime(NOW, usegmt=True).encode()]


def test_without_a_key_nothing_is_signed(stir) -> None:
    section = {"trusted": stir["trusted"]}

    assert leaves(Playbook(compiled({"dids": [OWN]}, {}, section))).all(b"identity") == []
