"""The verbs that show what the ledger holds: usage, live calls, attempts, records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from policy.attempts import Tries
from policy.compiled import Scope
from proxy.ledger.answers import live_call
from proxy.ledger.keys import Keys
from proxy.ledger.ledger import LiveCall, ScopeUsage, TryCounts
from proxy.ledger.membership import Membership
from proxy.ledger.packing import packed_windows, window_code
from proxy.ledger.requests import Requests

CALLS_AT_ONCE: Final = 100
LEASES_AT_ONCE: Final = 200


class ShownVerbs:
    """A part of `RedisLedger`: see `Ledger` for what each verb means."""

    _requests: Requests
    _membership: Membership
    _keys: Keys
    _leasing: tuple[bytes, bytes]
    _lease_arguments: tuple[bytes, bytes]

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        arguments: list[bytes] = []
        for scope in scopes:
            arguments += [scope.id.encode(), window_code(scope)]
        reply = await self._requests.script("usage", (self._keys.clock,), arguments)
        usages = [ScopeUsage(*numbers) for numbers in cast("list[list[int]]", reply)]
        if self._membership.epoch is not None:
            for scope, usage in zip(scopes, usages, strict=True):
                self._membership.seen[scope.id.encode()] = (window_code(scope), usage.spent)
        return usages

    async def tries(self, tries: Tries) -> TryCounts:
        arguments = [tries.callee.encode(), tries.group.encode(), tries.scope_id.encode()]
        arguments += packed_windows(tries)
        reply = await self._requests.script("tries", (self._keys.clock,), arguments)
        callee, callees, run, *in_windows = cast("list[int]", reply)
        return TryCounts(callee, callees, run, tuple(in_windows))

    async def calls(self, limit: int = 1000) -> list[LiveCall]:
        if limit <= 0:
            return []
        reply = await self._requests.plain("calls", b"ZRANGE", self._keys.leases, b"0", b"%d" % (limit - 1))
        refs = cast("list[bytes]", reply)
        found: list[LiveCall] = []
        # In portions, so that a reservation never waits behind a long script.
        for at in range(0, len(refs), CALLS_AT_ONCE):
            rows = await self._requests.script("calls", (self._keys.clock,), refs[at : at + CALLS_AT_ONCE])
            found += [live_call(row) for row in cast("list[list[bytes | int]]", rows)]
        return found

    async def leases(self) -> int:
        owned, cursor = 0, b"0"
        # In portions, as above.
        while True:
            arguments = (self._lease_arguments[0], cursor, b"%d" % LEASES_AT_ONCE)
            reply = await self._requests.script("leases", self._leasing, arguments)
            cursor, found = cast("tuple[bytes, int]", reply)
            owned += found
            if cursor == b"0":
                return owned

    async def records(self, stream: str, limit: int) -> list[bytes]:
        if limit <= 0:
            return []
        reply = await self._requests.plain(
            "records", b"XREVRANGE", self._keys.records(stream), b"+", b"-", b"COUNT", b"%d" % limit
        )
        return [fields[1] for _, fields in cast("list[tuple[bytes, list[bytes]]]", reply)]
