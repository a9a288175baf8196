"""Nobody's callers, logins, numbers or countries are taken with a token of one account."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.admin.access.identity import Identity, everything
from proxy.admin.access.territory import own_numbers, taken_from_others, widened
from proxy.objects.document import Document, new_id

ACME = Identity("acme", frozenset({"write"}), "acme")
DOCUMENT = Document()
for name, account, fields in (
    ("own", "acme", {"allowed_sip_ips": ["192.0.2.0/24"], "dids": ["+12025550100"]}),
    ("theirs", "zenith", {"allowed_sip_ips": ["198.51.100.0/24", "2001:db8::/32", "${TW_OFFICE}"]}),
    ("nobody's", None, {"allowed_sip_ips": ["203.0.113.0/24"], "tech_prefix": "11"}),
    ("everywhere", None, {"allowed_sip_ips": ["0.0.0.0/0", "::/0"], "auth": "ip_and_digest"}),
    ("by login", "zenith", {"allowed_sip_ips": ["192.0.1.0/24"], "auth": "ip_and_digest", "username": "z"}),
):
    spec: dict[str, Any] = {**fields, **({} if account is None else {"account": account})}
    DOCUMENT = DOCUMENT.create("trunks", name, spec, id=new_id())

LOGIN = {"auth": "ip_and_digest", "username": "a"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"allowed_sip_ips": ["192.0.2.7/32"]}, None),
        ({"allowed_sip_ips": ["198.51.100.7/32"]}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["192.0.2.7", "2001:db8:1::/48"]}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["203.0.113.0/25"], **LOGIN}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["198.51.0.0/16"]}, None),  # the more specific one stays theirs
        ({"allowed_sip_ips": ["203.0.0.0/8"]}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["2000::/3"]}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["0.0.0.0/0"], **LOGIN}, None),
        ({"allowed_sip_ips": ["233.252.0.1/32", "${TW_ELSEWHERE}"]}, None),
        # The longest tech_prefix takes the calls of a network.
        ({"allowed_sip_ips": ["198.51.100.0/24"], "tech_prefix": "1"}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["203.0.113.0/24"], "tech_prefix": "112", **LOGIN}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["192.0.1.0/24"], "tech_prefix": "1"}, "allowed_sip_ips"),
        ({"allowed_sip_ips": ["192.0.1.0/24"], "tech_prefix": "1", **LOGIN}, None),
        ({"auth": "digest", "username": "z"}, "username"),
        ({"auth": "digest", "username": "a"}, None),
    ],
)
def test_who_sees_one_account(fields: dict[str, Any], field: str | None) -> None:
    taken = taken_from_others(DOCUMENT, ACME, {}, fields)
    assert (None if taken is None else taken[0]) == field
    assert taken_from_others(DOCUMENT, everything("ops"), {}, fields) is None


def test_a_user_name_that_was_idle() -> None:
    idle = {"allowed_sip_ips": ["192.0.2.7"], "username": "z"}
    assert taken_from_others(DOCUMENT, ACME, {}, idle) is None
    assert taken_from_others(DOCUMENT, ACME, idle, {**idle, "auth": "digest"}) is not None


def test_networks_that_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"allowed_sip_ips": ["100.64.7.7"]}
    assert taken_from_others(DOCUMENT, ACME, {}, wanted) is None
    monkeypatch.setenv("TW_OFFICE", "100.64.7.0/24")
    assert taken_from_others(DOCUMENT, ACME, {}, wanted) is not None


def test_what_the_operator_arranged_may_stay() -> None:
    arranged = {"allowed_sip_ips": ["203.0.113.0/24"], "tech_prefix": "22"}
    assert taken_from_others(DOCUMENT, ACME, arranged, {**arranged, "capacity_limit": 3}) is None
    assert taken_from_others(DOCUMENT, ACME, arranged, {**arranged, "tech_prefix": "112"}) is not None
    assert taken_from_others(DOCUMENT, ACME, arranged, {"allowed_sip_ips": ["203.0.113.0/24"]}) is not None


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        (None, ["FR"], True),
        (None, [], False),
        (["FR", "US"], ["FR"], False),
        (["FR"], ["FR", "CU"], True),
        (["FR"], None, True),
        (["us"], ["US"], False),
        (None, None, False),
    ],
)
def test_countries_where_the_account_has_none(old: Any, new: Any, wider: bool) -> None:
    specs = [{"destination_whitelist": countries} for countries in (old, new)]
    bare = Document().create("accounts", "acme", {}, id="a")
    bounded = Document().create("accounts", "acme", {"destination_whitelist": ["US"]}, id="a")
    for document in (Document(), bare):
        assert (widened(document, ACME, specs[0], specs[1]) is not None) == wider
        assert widened(document, everything("ops"), specs[0], specs[1]) is None
    assert widened(bounded, ACME, specs[0], specs[1]) is None


def test_numbers_of_an_account() -> None:
    document = DOCUMENT.create("accounts", "acme", {"dids": ["+1"], "default_did": "+2"}, id="a")
    assert set(own_numbers(document, "acme")) == {"+1", "+2", "+12025550100"}
    assert set(own_numbers(document, "zenith")) == set()
