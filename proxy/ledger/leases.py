"""The verbs of leases: renewing them, taking calls over, taking calls back in, and counting anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from policy.compiled import Scope
from proxy.ledger.answers import adopted, discrepancy
from proxy.ledger.keys import Keys
from proxy.ledger.ledger import Adopted, Discrepancy, LedgerUnavailable, Registration, Renewal, Renewed
from proxy.ledger.link import Link
from proxy.ledger.membership import Membership
from proxy.ledger.packing import PackedScopes, micro
from proxy.ledger.requests import Requests, abandon

RENEWALS_AT_ONCE: Final = 64
SWEPT_AT_ONCE: Final = 64
REGISTERED_AT_ONCE: Final = 64
ADOPTED_AT_ONCE: Final = 32
WINDOWS_AT_ONCE: Final = 20
AUDIT_SECONDS: Final = 50
ADOPTION_LEASES: Final = 4  # leases for which a call that can be adopted is left alone after its own lapsed
_NEVER: Final = 1_000_000_000
_OUTCOMES: Final = (Renewed.GONE, Renewed.GRANTED, Renewed.NO_FUNDS, Renewed.FENCED)


class LeaseVerbs:
    """A part of `RedisLedger`: see `Ledger` for what each verb means."""

    _link: Link
    _requests: Requests
    _membership: Membership
    _lease_seconds: float
    _watching_since: float | None
    _unseen_until: float
    _keys: Keys
    _leasing: tuple[bytes, bytes]  # the keys that the verbs of leases take
    _lease_arguments: tuple[bytes, bytes]
    _pack: Callable[[tuple[Scope, ...]], PackedScopes]

    async def renew(self, renewals: Sequence[Renewal]) -> list[str]:
        chunks = [
            self._renewal_arguments(renewals[at : at + RENEWALS_AT_ONCE])
            for at in range(0, len(renewals), RENEWALS_AT_ONCE)
        ]
        # All chunks leave in one write; each is atomic by itself.
        sent = [self._requests.script("renew", self._leasing, arguments) for arguments in chunks]
        outcomes: list[str] = []
        try:
            for future in sent:
                outcomes += [_OUTCOMES[code] for code in cast("list[int]", await future)]
        finally:
            abandon(sent)
        if Renewed.GONE in outcomes:
            self._membership.look()
        return outcomes

    def _renewal_arguments(self, renewals: Sequence[Renewal]) -> list[bytes]:
        lists: dict[int, int] = {}
        limits: list[bytes] = []
        each: list[bytes] = []
        for renewal in renewals:
            scopes = renewal.scopes
            index = lists.get(id(scopes))
            if index is None:
                index = lists[id(scopes)] = len(lists) + 1
                limits += self._pack(scopes).limits
            spent, hold = micro(renewal.spent), micro(renewal.hold)
            each += [renewal.ref.encode(), b"%d" % renewal.epoch, b"%d" % spent, b"%d" % hold, b"%d" % index]
        return [*self._lease_arguments, b"%d" % len(lists), *limits, *each]

    async def sweep(self) -> int:
        """After a reconnection, or a look at what lapsed that failed, nothing is swept for one lease: those
        whose calls lapsed meanwhile renew them first. And who looks for the first time only now, however long
        its start took, adopts what can be adopted, however long ago it lapsed."""
        now = asyncio.get_running_loop().time()
        up = now - self._link.up_since
        if now < self._unseen_until or (self._link.connections_made > 1 and up < self._lease_seconds):
            return 0
        if self._watching_since is None:
            self._watching_since = now
        swept = 0
        there = min(up, now - self._watching_since)
        leases = ADOPTION_LEASES if there >= ADOPTION_LEASES * self._lease_seconds else _NEVER
        patience = b"%d" % int(self._lease_seconds * leases * 1000)
        while True:
            arguments = (b"%d" % SWEPT_AT_ONCE, patience)
            reply = await self._requests.script("sweep", self._leasing, arguments)
            lapsed = cast("tuple[int, list[bytes]]", reply)[0]
            swept += lapsed
            if lapsed < SWEPT_AT_ONCE:
                return swept

    async def lapsed(self, limit: int = 64) -> list[str]:
        """While the ledger answers nobody, nobody renews. So for one lease after a look that failed there are
        none: those who live come first, to renew, and to tell what ended meanwhile."""
        clock = asyncio.get_running_loop().time
        try:
            refs = await self._requests.script("lapsed", self._leasing, [b"%d" % limit])
        except LedgerUnavailable:
            self._unseen_until = clock() + self._lease_seconds
            raise
        return [] if clock() < self._unseen_until else [ref.decode() for ref in cast("list[bytes]", refs)]

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
