"""The words that the SIP process and the HTTP process exchange: one JSON object a line over a Unix socket.

A request is `{"id": n, "op": "…", "args": {…}}`; its answer `{"id": n, "ok": true, "result": …}` or
`{"id": n, "ok": false, "kind": "…", "message": "…"}`. Answers may come in any order.
"""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

from policy.compiled import Scope, Window

MAX_LINE = 64 * 1024 * 1024
"""Longest line in bytes; a snapshot of the metrics of many thousand trunks stays far below."""

INVALID = "invalid"  # what was asked makes no sense: the asker's fault
LEDGER = "ledger"  # the ledger did not answer
INTERNAL = "internal"  # the SIP process failed; its log says why


class Heartbeat(TypedDict):
    """Which parts of the SIP process work. An instance is ready when all of them do.

    parts: at least `sockets`, `ledger` and `policy`; `accepting` is false while draining.
    detail: for a part that fails, why, in words for an operator.
    """

    parts: dict[str, bool]
    detail: dict[str, str]


class PolicyState(TypedDict):
    """version, loaded_at: of the policy in force (RFC 3339). problems: of the last attempt to load one,
    when it failed: `FILE:LINE: path: message` each. store_version: the number of its version in the store;
    None where the policy is in the file."""

    version: str
    loaded_at: str
    problems: list[str]
    store_version: NotRequired[int | None]


class ReloadOutcome(TypedDict):
    """version: of the policy now in force. problems: empty when the file was taken."""

    version: str
    problems: list[str]


class ScopeLimits(TypedDict):
    """A trunk's own scope, as `policy.compiled.Scope` has it; threshold in micro-units. `account` is the one
    that the trunk belongs to."""

    id: str
    name: str
    capacity_limit: int | None
    cps_limit: int | None
    threshold: int | None
    window: str
    shard: str
    account: str | None


def limits_of(scope: Scope, account: str | None) -> ScopeLimits:
    """What is sent of a trunk's own scope."""
    return {
        "id": scope.id,
        "name": scope.name,
        "capacity_limit": scope.capacity_limit,
        "cps_limit": scope.cps_limit,
        "threshold": scope.threshold,
        "window": scope.window.value,
        "shard": scope.shard,
        "account": account,
    }


def scope_of(limits: ScopeLimits) -> Scope:
    """The scope that they were sent of."""
    return Scope(
        id=limits["id"],
        kind="trunk",
        name=limits["name"],
        capacity_limit=limits["capacity_limit"],
        cps_limit=limits["cps_limit"],
        threshold=limits["threshold"],
        window=Window(limits["window"]),
        shard=limits["shard"],
    )


class ControlError(Exception):
    """The SIP process answered that it cannot: `kind` is INVALID, LEDGER or INTERNAL."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ControlLost(Exception):
    """The SIP process did not answer in time, or is gone."""


def encode(message: dict[str, Any]) -> bytes:
    """One line. A value that JSON cannot carry is a TypeError or ValueError."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object on a line; a ValueError when it is none."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message
