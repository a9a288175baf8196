"""STIR/SHAKEN on the wire: openssl believes what the provider receives, a changed certificate's too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from proxy.observe.clock import now_ms
from tests.certificates import Authority
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import Message
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import CLI, OutgoingCall, incoming
from tests.e2e.waiting import eventually
from tests.openssl import Passport, passport_by

DESK, CHECKED, UNKNOWN, SHOWN = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13"
OWN, ENTRY = "+442079460500", "+442079460501"
X5U = "https://cert.example.org/shaken.pem"
PBX_X5U = "https://pbx.example.org/its.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, authority, tmp_path_factory) -> Iterator[Trunkwarden]:
    files, pbx = authority.issue("shaken"), authority.issue("pbx")
    config = configuration(
        tmp_path_factory.mktemp("stir"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [
            trunk("desk", DESK, dids=[OWN]),
            trunk("checked", CHECKED, identity_header="require"),
            trunk("unknown", UNKNOWN),
            trunk("shown", SHOWN, on_cli_mismatch_action="replace_cli", default_did=OWN),
        ],
        dids=[{"number": ENTRY, "trunk": "desk"}],
        stir={
            **files,
            "x5u": X5U,
            "trusted": [
                {"x5u": X5U, "certificate_file": files["certificate_file"]},
                {"x5u": PBX_X5U, "certificate_file": pbx["certificate_file"]},
            ],
        },
    )
    return serve_module(config)


@pytest.fixture
def call(proxy, provider, new_peer):
    """Places a call and lets it be refused as busy: the final answer, and the INVITEs at the provider."""

    def place(source: str, cli: str, *headers: tuple[str, str]) -> tuple[Message, list[Message]]:
        one = OutgoingCall(new_peer(source), proxy.address, WASHINGTON, cli=cli, extra=headers).send()
        response = one.peer.expect(lambda message: message.status >= 100, "a response").message
        if response.status == 100:
            incoming(provider, proxy.address, one).respond("486 Busy Here")
        final = one.final() if response.status == 100 else response
        return final, provider.transactions("INVITE", one.call_id)

    return place


@pytest.mark.parametrize(
    ("source", "cli", "attest", "orig"),
    [
        (DESK, OWN, "A", OWN),
        (DESK, ENTRY, "A", ENTRY),
        (DESK, CLI, "B", CLI),
        (UNKNOWN, CLI, "C", CLI),
        (SHOWN, CLI, "A", OWN),  # in place of what it said
    ],
)
def test_calls_are_signed(
    call, authority: Authority, tmp_path: Path, source: str, cli: str, attest: str, orig: str
) -> None:
    _, (invite,) = call(source, cli)

    passport = Passport.of(invite.one("identity"))
    assert passport.holds(authority.folder / "shaken.pem", tmp_path)
    assert passport.header == {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U}
    assert passport.parameters == {"info": f"<{X5U}>", "alg": "ES256", "ppt": "shaken"}
    assert set(passport.payload) == {"attest", "dest", "iat", "orig", "origid"}
    assert passport.payload["attest"] == attest
    assert passport.payload["orig"] == {"tn": orig[1:]}
    assert passport.payload["dest"] == {"tn": [WASHINGTON[1:]]}
    assert abs(passport.payload["iat"] - now_ms() / 1000) < 30
    assert invite.one("date").endswith(" GMT")


def test_forwarded_call_has_both_passports(call, authority: Authority, tmp_path: Path) -> None:
    _, (invite,) = call(DESK, CLI, ("Diversion", f"<sip:{OWN}@pbx>;reason=no-answer"))

    first, div = (Passport.of(value) for value in invite.all("identity"))
    assert first.holds(authority.folder / "shaken.pem", tmp_path)
    assert div.holds(authority.folder / "shaken.pem", tmp_path)
    assert div.payload["div"] == {"tn": OWN[1:]}
    assert (first.payload["dest"], div.payload["dest"]) == ({"tn": [OWN[1:]]}, {"tn": [WASHINGTON[1:]]})
    assert first.payload["orig"] == div.payload["orig"] == {"tn": CLI[1:]}
    assert div.header == {"alg": "ES256", "ppt": "div", "typ": "passport", "x5u": X5U}


def origid(invite: Message) -> str:
    return str(UUID(Passport.of(invite.one("identity")).payload["origid"]))


def test_origid_is_the_trunks(call) -> None:
    """RFC 8588 §5: one for all calls of a customer's connection, whoever calls."""
    desk = {origid(call(DESK, cli)[1][0]) for cli in (OWN, CLI, OWN)}
    others = {origid(call(source, CLI)[1][0]) for source in (UNKNOWN, SHOWN)}

    assert len(desk) == 1
    assert len(others) == 2
    assert desk.isdisjoint(others)


def test_a_caller_that_wants_to_be_unknown_is_vouched_for_to_the_trusted(call) -> None:
    """The provider is of the trust domain: it gets the number, and keeps it to itself."""
    identity = ("P-Asserted-Identity", f"<sip:{OWN}@127.0.0.10>")
    _, (invite,) = call(DESK, "anonymous", identity, ("Privacy", "id"))

    assert Passport.of(invite.one("identity")).payload["orig"] == {"tn": OWN[1:]}


def test_identity_of_a_pbx_is_verified(call) -> None:
    _, (signed,) = call(DESK, CLI)
    identity = ("Identity", signed.one("identity"))

    accepted, (passed_on,) = call(CHECKED, CLI, identity)
    stolen, nothing = call(CHECKED, OWN, identity)
    absent, nothing_either = call(CHECKED, CLI)

    assert accepted.status == 486
    assert passed_on.all("identity") == [identity[1]]
    assert (stolen.status, nothing) == (403, [])
    assert stolen.start == "SIP/2.0 403 Caller Identity Not Allowed"
    assert (absent.status, nothing_either) == (403, [])


@pytest.mark.parametrize(
    ("key", "x5u", "change", "status"),
    [
        ("pbx.key", PBX_X5U, {}, 486),
        ("shaken.key", PBX_X5U, {}, 403),  # somebody else's
        ("pbx.key", "https://nobody.example.org/its.pem", {}, 403),
        ("pbx.key", PBX_X5U, {"orig": {"tn": OWN[1:]}}, 403),
        ("pbx.key", PBX_X5U, {"dest": {"tn": [OWN[1:]]}}, 403),
        ("pbx.key", PBX_X5U, {"iat": -120}, 403),
    ],
)
def test_what_openssl_signed_is_verified(
    call, authority: Authority, tmp_path: Path, key: str, x5u: str, change: dict[str, object], status: int
) -> None:
    payload = {
        "attest": "A", "dest": {"tn": [WASHINGTON[1:]]}, "iat": now_ms() // 1000, "orig": {"tn": CLI[1:]},
        "origid": "123e4567-e89b-12d3-a456-426655440000",
    }  # fmt: skip
    for name, value in change.items():
        payload[name] = payload[name] + value if isinstance(value, int) else value
    identity = passport_by(authority.folder / key, x5u, payload, tmp_path)

    answered, invites = call(CHECKED, CLI, ("Identity", identity))

    assert answered.status == status
    assert [invite.all("identity") for invite in invites] == ([[identity]] if status == 486 else [])


def test_a_changed_signature_is_refused(call) -> None:
    _, (signed,) = call(DESK, CLI)
    token, _, rest = signed.one("identity").partition(";")
    head, payload, signature = token.split(".")
    other = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]

    answered, invites = call(CHECKED, CLI, ("Identity", f"{head}.{payload}.{other};{rest}"))

    assert (answered.status, invites) == (403, [])


def test_a_certificate_that_is_not_the_keys_changes_nothing(
    call, proxy, authority: Authority, tmp_path: Path
) -> None:
    """The file is refused whole, and calls go on being signed by the old ones."""
    file = authority.folder / "shaken.pem"
    good = file.read_bytes()
    file.write_bytes((authority.folder / "pbx.pem").read_bytes())
    refused = partial(proxy.metric, "trunkwarden_policy_reloads_total", result="failure")
    before = refused()
    try:
        proxy.reload()
        eventually(lambda: refused() > before, what="the refusal")
    finally:
        file.write_bytes(good)

    _, (invite,) = call(DESK, OWN)

    assert Passport.of(invite.one("identity")).holds(file, tmp_path)


def test_certificate_is_read_again(call, proxy, authority: Authority, tmp_path: Path) -> None:
    old = tmp_path / "old.pem"
    old.write_bytes((authority.folder / "shaken.pem").read_bytes())
    _, (first,) = call(DESK, OWN)
    authority.issue("shaken")
    proxy.reload_and_wait()

    _, (invite,) = call(DESK, OWN)

    assert origid(invite) == origid(first)
    passport = Passport.of(invite.one("identity"))
    assert passport.holds(authority.folder / "shaken.pem", tmp_path)
    assert not passport.holds(old, tmp_path)
