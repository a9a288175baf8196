from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.model import Config, ProviderConfig
from policy.compile_logins import compile_logins, provider_login
from policy.digest import ha1

HA1 = ha1("SHA-256", "pbx", "trunkwarden", "secret").decode()


def logins(*trunks: dict[str, Any], **whole: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    problems: list[tuple[str, str]] = []
    rows = [{"name": f"t{index}", "auth": "digest", **trunk} for index, trunk in enumerate(trunks)]
    found = compile_logins(Config.model_validate({"trunks": rows, **whole}), problems)
    return found, problems


def test_a_password_gives_every_algorithm_and_a_ha1_its_own() -> None:
    found, problems = logins(
        {"username": "a", "password": "secret"},
        {"username": "pbx", "ha1": HA1},
        {"username": "old", "ha1": "0" * 32},
        {"username": "new", "ha1": f"SHA-512-256:{HA1} {HA1}"},
        {"name": "open", "auth": "ip", "username": "x", "password": "y"},
    )
    assert problems == []
    assert {name: set(login.ha1s) for name, login in found.items()} == {
        "a": {"SHA-256", "SHA-512-256", "MD5"},
        "pbx": {"SHA-256"},
        "old": {"MD5"},
        "new": {"SHA-256", "SHA-512-256"},
    }
    assert found["pbx"].ha1s["SHA-256"].decode() == HA1


@pytest.mark.parametrize(
    ("ha1", "text"),
    [
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        ("SHA-512-256:" + "0" * 32, "must be the 32"),
        ("MD5:" + "0" * 64, "must be the 32"),
        ("SHA-1:" + "0" * 32, "must be the 32"),
        ("sha-256:" + "0" * 64, "must be the 32"),
        (HA1.upper(), "must be the 32"),
        (f"{HA1} SHA-256:{'0' * 64}", "two hashes of SHA-256"),
    ],
)
def test_what_is_no_ha1(ha1: str, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        logins({"username": "a", "ha1": ha1})


def test_the_realm_is_the_configured_one() -> None:
    found, _ = logins({"username": "a", "password": "secret"}, digest={"realm": "example.org"})
    assert found["a"].ha1s["MD5"] == ha1("MD5", "a", "example.org", "secret")


def test_one_user_name_has_one_password() -> None:
    _, problems = logins({"username": "a", "password": "one"}, {"username": "a", "password": "two"})
    assert problems == [
        ("trunks[1].username", "`a` is the user name of another trunk, with another password")
    ]
    assert logins({"username": "a", "password": "one"}, {"username": "a", "password": "one"})[1] == []


def test_credentials_are_never_missing() -> None:
    for trunk in ({"username": "a"}, {"password": "p"}):
        assert [path for path, _ in logins(trunk)[1]] == ["trunks[0].auth"]


def test_a_providers_realm_is_its_host_unless_it_is_named() -> None:
    section = {"name": "c", "hostname": "sip.example.org:5070", "username": "u", "password": "p"}
    login = provider_login(ProviderConfig.model_validate(section))
    assert login is not None
    assert login.realm == "sip.example.org"
    login = provider_login(ProviderConfig.model_validate({**section, "realm": "carrier"}))
    assert login is not None
    assert login.realm == "carrier"
    assert provider_login(ProviderConfig.model_validate({"name": "c", "hostname": "h"})) is None
