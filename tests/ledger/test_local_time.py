"""Local time means nothing to the ledger: zones, daylight saving, and calls that talk across an edge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from policy.compiled import Window
from proxy.ledger.ledger import Refused, Renewal, Renewed, Reservation
from proxy.ledger.redis_ledger import RedisLedger
from proxy.observe.clock import utc_now
from tests.ledger.servers import Opener, Server, claim, need_faketime, scope, settled

ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe")
HALF_HOUR, HALF_MINUTE = timedelta(minutes=30), timedelta(seconds=30)


def next_changes(zone: str) -> list[datetime]:
    """Half a minute before the clocks of `zone` change, twice from tomorrow on: forward and back."""
    place = ZoneInfo(zone)
    moment = utc_now().replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
    found: list[datetime] = []
    while len(found) < 2:
        following = moment + HALF_HOUR
        if moment.astimezone(place).utcoffset() != following.astimezone(place).utcoffset():
            found.append(following - HALF_MINUTE)
        moment = following
    return found


TRUNK = scope(threshold=100)
DAILY = scope(threshold=100, window=Window.UTC_DAY)


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of the server's process, and of ours."""
    if not (Path("/usr/share/zoneinfo") / request.param).exists():
        pytest.skip("no time zones here: apt-get install tzdata")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=["redis", "valkey"])
def zoned_server(request: pytest.FixtureRequest, zone: str, folder: Path) -> Iterator[Server]:
    need_faketime()
    started = Server(request.param, folder, faketime=True)
    yield started
    started.kill()


async def sums(ledger: RedisLedger) -> tuple[int, int]:
    rolling, daily = await ledger.usage([TRUNK, DAILY])
    return rolling.spent, daily.spent


async def test_a_change_of_the_clocks_changes_nothing(
    zoned_server: Server, zone: str, opener: Opener
) -> None:
    """24 hours are 24 hours though the local day has 23, 24.5 or 25, and the day is UTC's."""
    ledger = await opener(zoned_server.url, lease_seconds=40)
    for number, change in enumerate(next_changes(zone)):
        start = (change - utc_now()).total_seconds()
        local = time.localtime(change.timestamp()).tm_gmtoff
        assert time.localtime(change.timestamp() + 60).tm_gmtoff != local  # they do change
        zoned_server.move_clock(start)
        before = await ledger.reserve(claim(f"lives{number}", TRUNK))
        await ledger.reserve(claim(f"r{number}", TRUNK))
        ledger.settle(f"r{number}", 70)
        await settled(ledger)
        assert await sums(ledger) == (70, 70)
        zoned_server.move_clock(start + 20)
        assert await ledger.renew([Renewal(f"lives{number}", 0, 0, (TRUNK,))]) == [Renewed.GRANTED]
        zoned_server.move_clock(start + 45)  # the clocks have changed; no lease lapsed over it
        after = await ledger.reserve(claim(f"after{number}", TRUNK))
        assert isinstance(before, Reservation)
        assert isinstance(after, Reservation)
        assert 44_000 < after.ledger_ms - before.ledger_ms < 60_000
        assert await ledger.sweep() == 0
        ledger.release(f"after{number}")
        ledger.release(f"lives{number}")
        midnight = 86_400 - change.timestamp() % 86_400
        moments = {midnight - 10: (70, 70), midnight + 10: (70, 0), 86_399: (70, 0), 86_400: (70, 0)}
        for later, expected in sorted((moments | {86_460: (0, 0)}).items()):
            zoned_server.move_clock(start + later)
            assert await sums(ledger) == expected, later


async def test_a_call_across_the_edge(timed_server: Server, opener: Opener) -> None:
    """What it cost before midnight is the old day's, the rest the new one's; each part leaves the rolling
    window a day after it was incurred."""
    ledger = await opener(timed_server.url, lease_seconds=1000)
    now = utc_now().timestamp()
    midnight = 2 * 86_400 - now % 86_400  # not the next one, which may be too near
    timed_server.move_clock(midnight - 50)
    assert isinstance(await ledger.reserve(claim("r1", TRUNK, hold=40)), Reservation)
    timed_server.move_clock(midnight - 10)
    assert await ledger.renew([Renewal("r1", 30, 40, (DAILY,))]) == [Renewed.GRANTED]
    assert await sums(ledger) == (30, 30)
    timed_server.move_clock(midnight + 10)
    assert await sums(ledger) == (30, 0)
    # The new day has room that the last 24 hours have not.
    assert await ledger.renew([Renewal("r1", 45, 60, (TRUNK,))]) == [Renewed.NO_FUNDS]
    assert await ledger.renew([Renewal("r1", 45, 60, (DAILY,))]) == [Renewed.GRANTED]
    assert await sums(ledger) == (45, 15)
    timed_server.move_clock(midnight + 70)
    ledger.settle("r1", 80, (TRUNK,))
    await settled(ledger)
    assert await sums(ledger) == (80, 50)
    for later, expected in ((86_380, 80), (86_401, 50), (86_462, 35), (86_540, 0)):
        timed_server.move_clock(midnight + later)
        assert (await sums(ledger))[0] == expected, later
        assert isinstance(await ledger.reserve(claim(f"p{later}", TRUNK, hold=101 - expected)), Refused)
