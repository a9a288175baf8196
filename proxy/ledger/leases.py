"""The verbs of leases: taking calls over, taking calls back in, and counting anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from policy.compiled import Scope
from proxy.ledger.answers import adopted, discrepancy
from proxy.ledger.keys import Keys
from proxy.ledger.ledger import Adopted, Discrepancy, Registration, Renewed
from proxy.ledger.packing import micro
from proxy.ledger.requests import Requests, abandon

REGISTERED_AT_ONCE: Final = 64
ADOPTED_AT_ONCE: Final = 32
WINDOWS_AT_ONCE: Final = 20
AUDIT_SECONDS: Final = 50
_OUTCOMES: Final = {1: Renewed.GRANTED, 3: Renewed.FENCED}


class LeaseVerbs:
    """A part of `RedisLedger`: see `Ledger` for what each verb means."""

    _requests: Requests
    _keys: Keys
    _leasing: tuple[bytes, bytes]  # the keys that the verbs of leases take
    _lease_arguments: tuple[bytes, bytes]

    async def lapsed(self, limit: int = 64) -> list[str]:
        refs = await self._requests.script("lapsed", self._leasing, [b"%d" % limit])
        return [ref.decode() for ref in cast("list[bytes]", refs)]

    async def adopt(self, refs: Sequence[str], *, force: bool = False) -> list[Adopted]:
        found: list[Adopted] = []
        for at in range(0, len(refs), ADOPTED_AT_ONCE):
            names = [ref.encode() for ref in refs[at : at + ADOPTED_AT_ONCE]]
            arguments = (*self._lease_arguments, b"1" if force else b"0", *names)
            rows = await self._requests.script("adopt", self._leasing, arguments)
            found += [adopted(row) for row in cast("list[list[bytes | int]]", rows)]
        return found

    async def register(self, registrations: Sequence[Registration]) -> list[str]:
        sent: list[asyncio.Future[object]] = []
        outcomes: list[str] = []
        try:
            for at in range(0, len(registrations), REGISTERED_AT_ONCE):
                arguments = list(self._lease_arguments)
                for registration in registrations[at : at + REGISTERED_AT_ONCE]:
                    arguments += _registration(registration)
                sent.append(self._requests.script("register", self._leasing, arguments))
            for future in sent:
                outcomes += [_OUTCOMES[code] for code in cast("list[int]", await future)]
        finally:
            abandon(sent)
        return outcomes

    async def audit(self, scopes: Sequence[Scope]) -> list[Discrepancy]:
        owner = self._lease_arguments[0]
        first = await self._requests.plain(
            "audit", b"SET", self._keys.audit, owner, b"NX", b"EX", b"%d" % AUDIT_SECONDS
        )
        if first is None:
            return []
        rows = cast(
            "list[list[bytes | int]]", await self._requests.script("audit", self._leasing, [b"calls"])
        )
        for at in range(0, len(scopes), WINDOWS_AT_ONCE):
            # In portions, so that a reservation never waits behind a long script.
            ids = [scope.id.encode() for scope in scopes[at : at + WINDOWS_AT_ONCE]]
            found = await self._requests.script("audit", self._leasing, [b"windows", *ids])
            rows += cast("list[list[bytes | int]]", found)
        return [discrepancy(row) for row in rows]


def _registration(call: Registration) -> list[bytes]:
    return [
        call.ref.encode(),
        b"%d" % call.epoch,
        call.trunk.encode(),
        _milliseconds(call.reserved_age),
        b"" if call.answered_age is None else _milliseconds(call.answered_age),
        b"%d" % micro(call.moved),
        b"%d" % micro(max(call.spent, call.moved)),
        b"%d" % micro(call.hold),
        call.record,
        b"%d" % len(call.scopes),
        *[scope.id.encode() for scope in call.scopes],
    ]


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(0, int(seconds * 1000))
