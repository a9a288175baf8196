"""How much of the policy one account's own tokens may fill. Operators are not bound."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from proxy.objects.document import Document, PolicyObject

MOST_OBJECTS: Final = 200
"""Of each kind: so many may belong to an account for its tokens to make one more."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of all objects that belong to an account, as they are stored. The policy of all accounts has 32 MiB."""


def without_room(document: Document, account: str, old: PolicyObject | None, new: PolicyObject) -> str | None:
    """Why a token of `account` may not make `old` (None: there is none) `new` for want of room. None: it
    may."""
    others = [
        one
        for kind in ("trunks", "profiles", "outplans")
        for one in document.list(kind)
        if one.spec.get("account") == account and one.id != new.id
    ]
    if old is None and sum(one.kind == new.kind for one in others) >= MOST_OBJECTS:
        return f"the account has {MOST_OBJECTS} {new.kind}, and its own tokens make no more than that"
    if _bytes(() if old is None else (old,)) < _bytes((new,)) and _bytes((*others, new)) > MOST_BYTES:
        return f"the account's objects take {MOST_BYTES // 2**20} MiB, and its own tokens add nothing to that"
    return None


def _bytes(objects: Iterable[PolicyObject]) -> int:
    return sum(len(json.dumps([one.spec, one.extra])) for one in objects)
