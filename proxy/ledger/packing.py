"""Scopes and amounts as the scripts take them."""

from __future__ import annotations

from typing import Final

from policy.attempts import Tries
from policy.compiled import Scope, Window
from proxy.ledger.keys import WHOLE, Keys
from proxy.ledger.resp import bulk, bulks

MOST_MICRO: Final = 2**53 - 1  # what a Lua number holds exactly


class PackedScopes:
    """A claim's scopes as they are sent, made once for each tuple of the policy."""

    __slots__ = ("args", "count", "keys", "limits", "numkeys", "scopes")

    def __init__(self, scopes: tuple[Scope, ...], keys: Keys = WHOLE) -> None:
        self.scopes = scopes
        self.numkeys = b"$%d\r\n%d\r\n" % (len(b"%d" % (5 + 2 * len(scopes))), 5 + 2 * len(scopes))
        self.count = 3 + 5 + 2 * len(scopes) + 8 + 5 * len(scopes)
        self.keys = b"".join(bulk(keys.scope(scope.id)) + bulk(keys.admissions(scope.id)) for scope in scopes)
        self.args = bulk(b"%d" % len(scopes)) + b"".join(
            bulks(
                (
                    scope.id.encode(),
                    limit_text(scope.capacity_limit),
                    limit_text(scope.cps_limit),
                    limit_text(scope.threshold),
                    window_code(scope),
                )
            )
            for scope in scopes
        )
        self.limits = [b"%d" % len(scopes)]
        for scope in scopes:
            self.limits += [scope.id.encode(), limit_text(scope.threshold), window_code(scope)]


def packed_tries(tries: Tries) -> list[bytes]:
    """What the scripts count of an attempt."""
    parts = [tries.callee.encode(), tries.group.encode(), tries.scope_id.encode()]
    if tries.velocity is None:
        parts += [b""] * 6
    else:
        for threshold in tries.velocity.thresholds:
            parts += [limit_text(threshold.soft), limit_text(threshold.hard)]
    return parts + packed_windows(tries)


def packed_windows(tries: Tries) -> list[bytes]:
    parts: list[bytes] = []
    for window in tries.windows:
        parts += [window.scope_id.encode(), window.opened.encode(), b"%d" % window.limit]
    return parts


def limit_text(value: int | None) -> bytes:
    """A limit; nothing where there is none."""
    return b"" if value is None else b"%d" % value


def window_code(scope: Scope) -> bytes:
    """How a scope's threshold looks back: `r`olling or by the UTC `d`ay."""
    return b"d" if scope.window is Window.UTC_DAY else b"r"


def micro(value: int) -> int:
    """`value`, when it is an amount that the ledger can keep. Raises ValueError."""
    if not 0 <= value <= MOST_MICRO:
        raise ValueError(f"{value} micro-units cannot be kept: 0 to 2^53 - 1 can")
    return value
