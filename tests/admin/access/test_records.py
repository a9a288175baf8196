from __future__ import annotations

from typing import Any

from proxy.admin.access.identity import Identity, everything
from proxy.admin.access.records import as_seen


def check(name: str, scope: str) -> dict[str, Any]:
    return {"name": name, "scope": scope, "outcome": "pass", "detail": "+1 at 0.0100, bought at 0.0080"}


RECORD = {
    "trunk": "acme.office",
    "account": "acme",
    "provider": "carrier",
    "provider_cost": "0.0080",
    "checks": [
        check("country", "account:acme"),
        check("route", "trunk:acme.office"),
        check("margin", "trunk:acme.office"),
        check("rate", "deck:retail"),
        check("capacity", "provider:carrier"),
    ],
}


def test_what_the_operator_pays_whom_is_not_the_customers() -> None:
    seen = as_seen(Identity("portal", frozenset({"read"}), "acme"), RECORD)
    country = check("country", "account:acme")
    assert seen == {"trunk": "acme.office", "account": "acme", "checks": [country]}
    assert as_seen(everything("ops"), RECORD) is RECORD
