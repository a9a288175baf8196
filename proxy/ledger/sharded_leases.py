"""The verbs of leases over the parts of a ledger: the account's part decides, the provider's follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from policy.compiled import Scope
from proxy.ledger.ledger import (
    Adopted,
    Concerns,
    Discrepancy,
    LedgerUnavailable,
    Registration,
    Renewal,
    Renewed,
    Restore,
)
from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.shards import Place, Shards, by_shard, raise_if_none

T = TypeVar("T")


class ShardedLeases:
    """A part of `ShardedLedger`: see `Ledger` for what each verb means."""

    _shards: Shards
    _places: dict[str, Place]
    _lapsed_at: dict[str, str]

    async def renew(self, renewals: Sequence[Renewal]) -> list[str]:
        places = [self._place(renewal.ref, renewal.scopes) for renewal in renewals]
        at_home = [self._shards.parts(renewal.scopes).home_scopes for renewal in renewals]
        asked = [
            Renewal(renewal.ref, renewal.spent, renewal.hold, scopes, renewal.epoch)
            for renewal, scopes in zip(renewals, at_home, strict=True)
        ]
        outcomes = await self._by_part([place.home for place in places], asked, RedisLedger.renew)
        lives = [
            (place, renewal)
            for place, renewal, outcome in zip(places, renewals, outcomes, strict=True)
            if outcome in (Renewed.GRANTED, Renewed.NO_FUNDS) and place.provider
        ]
        await self._renew_at_provider(lives)
        self._forget_fenced([one.ref for one in renewals], outcomes)
        return outcomes

    async def _renew_at_provider(self, lives: Sequence[tuple[Place, Renewal]]) -> None:
        """The provider's part follows: what it lost is told again, what somebody else still has is taken."""
        told = [Renewal(one.ref, one.spent, 0, (), place.epoch) for place, one in lives]
        outcomes = await self._by_part([place.provider for place, _ in lives], told, RedisLedger.renew)
        for (place, one), outcome in zip(lives, outcomes, strict=True):
            if outcome == Renewed.FENCED:
                await self._take(place, one.ref)
            elif outcome == Renewed.GONE:
                parts = self._shards.parts(one.scopes)
                if parts.provider != place.provider:
                    continue  # the policy has another one for this trunk now; nobody counts at the old one
                told_again = Registration(
                    one.ref, "", parts.provider_scopes, place.epoch, 0.0, 0.0, one.spent, one.spent, 0, b""
                )
                await self._by_part([place.provider], [told_again], RedisLedger.register)

    async def _take(self, place: Place, ref: str) -> None:
        found = await self._shards.each([place.provider], lambda part: part.adopt([ref], force=True))
        for calls in found:
            if not isinstance(calls, LedgerUnavailable) and calls:
                place.epoch = calls[0].epoch

    async def register(self, registrations: Sequence[Registration]) -> list[str]:
        places = [self._place(one.ref, one.scopes) for one in registrations]
        told = [self._at_home(one) for one in registrations]
        outcomes = await self._by_part([place.home for place in places], told, RedisLedger.register)
        lives = [
            (place, self._at_provider(place, one))
            for place, one, outcome in zip(places, registrations, outcomes, strict=True)
            if outcome == Renewed.GRANTED and place.provider
        ]
        names = [place.provider for place, _ in lives]
        followed = await self._by_part(names, [one for _, one in lives], RedisLedger.register)
        for (place, at_provider), outcome in zip(lives, followed, strict=True):
            if outcome == Renewed.FENCED:
                await self._take(place, at_provider.ref)
        self._forget_fenced([one.ref for one in registrations], outcomes)
        return outcomes

    def _at_home(self, one: Registration) -> Registration:
        return self._part_of(one, self._shards.parts(one.scopes).home_scopes, one.epoch, one.hold, one.record)

    def _at_provider(self, place: Place, one: Registration) -> Registration:
        return self._part_of(one, self._shards.parts(one.scopes).provider_scopes, place.epoch, 0, b"")

    @staticmethod
    def _part_of(
        one: Registration, scopes: tuple[Scope, ...], epoch: int, hold: int, record: bytes
    ) -> Registration:
        return Registration(
            one.ref,
            one.trunk,
            scopes,
            epoch,
            one.reserved_age,
            one.answered_age,
            one.moved,
            one.spent,
            hold,
            record,
        )

    def _place(self, ref: str, scopes: tuple[Scope, ...]) -> Place:
        place = self._places.get(ref)
        if place is None:
            parts = self._shards.parts(scopes)
            place = self._places[ref] = Place(parts.home, parts.provider)
        return place

    def _forget_fenced(self, refs: Sequence[str], outcomes: Sequence[str]) -> None:
        for ref, outcome in zip(refs, outcomes, strict=True):
            if outcome == Renewed.FENCED:
                self._places.pop(ref, None)

    async def _by_part(
        self,
        names: Sequence[str],
        items: Sequence[T],
        verb: Callable[[RedisLedger, Sequence[T]], Awaitable[list[str]]],
    ) -> list[str]:
        """An outcome for each item, asked of the part that its name names; AWAY where that does not
        answer."""
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            groups.setdefault(name, []).append(index)

        async def one(name: str, indexes: list[int]) -> list[str]:
            try:
                return await verb(await self._shards.get(name), [items[index] for index in indexes])
            except LedgerUnavailable:
                return [Renewed.AWAY] * len(indexes)

        answers = await asyncio.gather(*[one(name, indexes) for name, indexes in groups.items()])
        outcomes = [Renewed.AWAY] * len(items)
        for indexes, answer in zip(groups.values(), answers, strict=True):
            for index, outcome in zip(indexes, answer, strict=True):
                outcomes[index] = outcome
        return outcomes

    def on_loss(self, restore: Restore) -> None:
        def of_part(name: str) -> Restore:
            def lies_there(ref: str) -> bool:
                place = self._places.get(ref)
                if place is None:
                    return True
                return name == place.home or (name != "" and name == place.provider)

            async def restore_part(remembered: bool, _: Concerns) -> None:
                await restore(remembered, lies_there)

            return restore_part

        self._shards.part_lost = of_part
        for name in (*self._shards.homes, *self._shards.providers):
            part = self._shards.ready(name)
            assert part is not None
            part.on_loss(of_part(name))

    async def lapsed(self, limit: int = 64) -> list[str]:
        homes = self._shards.homes
        found = await self._shards.each(homes, lambda part: part.lapsed(limit))
        raise_if_none(found)
        self._lapsed_at = {
            ref: name
            for name, refs in zip(homes, found, strict=True)
            if not isinstance(refs, LedgerUnavailable)
            for ref in refs
        }
        return list(self._lapsed_at)[:limit]

    async def adopt(self, refs: Sequence[str], *, force: bool = False) -> list[Adopted]:
        if any(ref not in self._lapsed_at for ref in refs):
            await self._shards.refresh(now=True)  # it may lie where only the others have been
        wanted: dict[str, list[str]] = {}
        for ref in refs:
            at = self._lapsed_at.get(ref)
            for name in self._shards.homes if at is None else [at]:
                wanted.setdefault(name, []).append(ref)
        taken: list[Adopted] = []
        away: LedgerUnavailable | None = None
        names = list(wanted)
        found = await asyncio.gather(*[self._adopt_at(name, wanted[name], force) for name in names])
        for name, calls in zip(names, found, strict=True):
            if isinstance(calls, LedgerUnavailable):
                away = calls
                continue
            for call in calls:
                self._places[call.ref] = Place(name, "")
            taken += calls
        if away is not None and not taken:
            raise away
        await self._adopt_at_providers([call.ref for call in taken])
        return taken

    async def _adopt_at(self, name: str, refs: list[str], force: bool) -> list[Adopted] | LedgerUnavailable:
        (found,) = await self._shards.each([name], lambda part: part.adopt(refs, force=force))
        return found

    async def _adopt_at_providers(self, refs: list[str]) -> None:
        """Whoever has a call in its account's part has it in its provider's, too."""
        if not refs:
            return
        names = self._shards.providers
        found = await self._shards.each(names, lambda part: part.adopt(refs, force=True))
        for name, calls in zip(names, found, strict=True):
            for call in () if isinstance(calls, LedgerUnavailable) else calls:
                place = self._places[call.ref]
                place.provider, place.epoch = name, call.epoch

    async def sweep(self) -> int:
        await self._shards.refresh()
        found = await self._shards.each(
            [*self._shards.homes, *self._shards.providers], lambda part: part.sweep()
        )
        raise_if_none(found)
        return sum(count for count in found if isinstance(count, int))

    async def audit(self, scopes: Sequence[Scope]) -> list[Discrepancy]:
        async def one(name: str, indexes: list[int]) -> list[Discrepancy]:
            try:
                return await (await self._shards.get(name)).audit([scopes[index] for index in indexes])
            except LedgerUnavailable:
                return []

        found = await asyncio.gather(*[one(name, indexes) for name, indexes in by_shard(scopes).items()])
        return [discrepancy for rows in found for discrepancy in rows]
