"""STIR/SHAKEN on the wire: openssl believes what the provider receives, a changed certificate's too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.observe.clock import now_ms
from tests.certificates import Authority
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.sip_text import Message
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import CLI, OutgoingCall, incoming
from tests.e2e.waiting import eventually
from tests.openssl import Passport

DESK, CHECKED = "127.0.0.10", "127.0.0.11"
OWN = "+442079460500"
X5U = "https://cert.example.org/shaken.pem"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, authority, tmp_path_factory) -> Iterator[Trunkwarden]:
    files = authority.issue("shaken")
    config = configuration(
        tmp_path_factory.mktemp("stir"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK, dids=[OWN]), trunk("checked", CHECKED, identity_header="require")],
        stir={**files, "x5u": X5U, "trusted": [{"x5u": X5U, "certificate_file": files["certificate_file"]}]},
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
        return final, provider.requests("INVITE", one.call_id)

    return place


@pytest.mark.parametrize(("cli", "attest"), [(OWN, "A"), (CLI, "B")])
def test_calls_are_signed(call, authority: Authority, tmp_path: Path, cli: str, attest: str) -> None:
    _, (invite,) = call(DESK, cli)

    passport = Passport.of(invite.one("identity"))
    assert passport.holds(authority.folder / "shaken.pem", tmp_path)
    assert passport.payload["attest"] == attest
    assert (passport.payload["orig"], passport.payload["dest"]) == ({"tn": cli[1:]}, {"tn": [WASHINGTON[1:]]})
    assert abs(passport.payload["iat"] - now_ms() / 1000) < 30
    assert invite.one("date").endswith(" GMT")


def test_forwarded_call_has_both_passports(call, authority: Authority, tmp_path: Path) -> None:
    _, (invite,) = call(DESK, CLI, ("Diversion", f"<sip:{OWN}@pbx>;reason=no-answer"))

    first, div = (Passport.of(value) for value in invite.all("identity"))
    assert first.holds(authority.folder / "shaken.pem", tmp_path)
    assert div.holds(authority.folder / "shaken.pem", tmp_path)
    assert div.payload["div"] == {"tn": OWN[1:]}


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


def test_certificate_is_read_again(call, proxy, authority: Authority, tmp_path: Path) -> None:
    old = tmp_path / "old.pem"
    old.write_bytes((authority.folder / "shaken.pem").read_bytes())
    before = proxy.metric("trunkwarden_policy_reloads_total", result="success")
    authority.issue("shaken")
    proxy.reload()
    eventually(
        lambda: proxy.metric("trunkwarden_policy_reloads_total", result="success") > before,
        10.0,
        "the reload",
    )

    _, (invite,) = call(DESK, OWN)

    passport = Passport.of(invite.one("identity"))
    assert passport.holds(authority.folder / "shaken.pem", tmp_path)
    assert not passport.holds(old, tmp_path)
