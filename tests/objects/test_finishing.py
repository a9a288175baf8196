from __future__ import annotations

from typing import Any

import pytest

from config.model import Digest
from policy.digest import ha1
from proxy.objects.document import Document
from proxy.objects.errors import Invalid
from proxy.objects.finishing import finish

OLD = Document().create("trunks", "t", {"username": "u", "ha1": "a" * 64, "dids": ["+441"]}, id="1")


def finished(changes: dict[str, Any], digest: Digest | None = None, operator: bool = False) -> dict[str, Any]:
    new = OLD.patch("trunks", "t", changes)
    return dict(finish(OLD, new, digest or Digest(), operator=operator).get("trunks", "t").spec)


def stored(username: str, realm: str, *algorithms: str) -> str:
    return " ".join(f"{one}:{ha1(one, username, realm, 'hunter2').decode()}" for one in algorithms)


def test_a_password_is_kept_as_its_ha1() -> None:
    for algorithms in (("SHA-256", "MD5"), ("MD5", "SHA-256"), ("SHA-512-256",)):
        spec = finished({"password": "hunter2"}, Digest(realm="here", algorithms=algorithms))
        assert spec["ha1"] == stored("u", "here", *algorithms)
        assert "password" not in spec
    spec = finished({"password": "${SECRET}"}, operator=True)
    assert spec["password"] == "${SECRET}"


def test_another_user_name_needs_another_secret() -> None:
    with pytest.raises(Invalid, match=r"trunks\[t\].username"):
        finished({"username": "v"})
    spec = finished({"username": "v", "password": "hunter2"})
    assert spec["ha1"] == stored("v", "trunkwarden", *Digest().algorithms)


def test_what_reads_the_machine_is_the_operators() -> None:
    for path, changes in (
        ("password_file", {"password_file": "/etc/passwd"}),
        ("dids[1]", {"dids": ["+441", "${HOME}"]}),
        ("dial_plan.country_code", {"dial_plan": {"country_code": "${HOME}"}}),
    ):
        with pytest.raises(Invalid, match=r"only the operator") as refused:
            finished(changes)
        assert refused.value.problems[0].path == f"trunks[t].{path}"
        assert finished(changes, operator=True)
    # What is there may stay, and `$${` is no reference.
    before = OLD.patch("trunks", "t", {"default_did": "${DID}"})
    after = before.patch("trunks", "t", {"cps_limit": 1, "realm": "$${x"})
    assert finish(before, after, Digest(), operator=False).get("trunks", "t").spec["default_did"] == "${DID}"
    with pytest.raises(Invalid, match="only the operator"):
        finish(before, before.patch("trunks", "t", {"username": "${DID}"}), Digest(), operator=False)


def test_the_form_is_canonical() -> None:
    spec = finished({"capacity_limit": "5", "destination_whitelist": ["us"], "trust_identity": "yes"})
    assert (spec["capacity_limit"], spec["destination_whitelist"], spec["trust_identity"]) == (
        5,
        ["US"],
        True,
    )
