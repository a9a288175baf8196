"""Records of calls as a token of one account sees them."""

from __future__ import annotations

from typing import Any, Final

from proxy.admin.access.identity import Identity

_OPERATORS: Final = frozenset({"margin", "route"})
"""Checks that say what the operator pays, and whom."""


def as_seen(who: Identity, record: dict[str, Any]) -> dict[str, Any]:
    """The record; for who sees one account without its provider, and without checks that name one, a rate
    deck or what calls are bought for: the operator's own business, as on the trunks."""
    if who.account is None:
        return record
    seen = {name: value for name, value in record.items() if name not in ("provider", "provider_cost")}
    if "checks" in seen:
        seen["checks"] = [check for check in seen["checks"] if not _is_operators(check)]
    return seen


def _is_operators(check: dict[str, Any]) -> bool:
    scope = str(check.get("scope", ""))
    return check.get("name") in _OPERATORS or scope.startswith(("provider:", "deck:"))
