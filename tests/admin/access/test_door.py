from __future__ import annotations

import pytest

from proxy.admin.access.door import CONFIGURED, LOCAL, Denied, Door
from proxy.admin.access.failures import BURST
from proxy.admin.access.tokens import issue
from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.tokens import StoredToken

TEXT, STORED = issue(
    "billing", ("read",), "acme", by="admin.token", at="now", token_id=b"\x01" * 6, secret=b"\xff" * 32
)
UNKNOWN = issue("x", ("read",), None, by="", at="", token_id=b"\x02" * 6, secret=b"\xee" * 32)[0]


class Kept:
    """The ledger's tokens."""

    def __init__(self) -> None:
        self.tokens = {STORED.id: STORED}
        self.asked = 0
        self.away = False

    async def find(self, token_id: str) -> StoredToken | None:
        self.asked += 1
        if self.away:
            raise LedgerUnavailable("timeout", "no answer")
        return self.tokens.get(token_id)


async def _refused(door: Door, token: str | None, now: float = 0.0, source: str = "192.0.2.1") -> Denied:
    with pytest.raises(Denied) as caught:
        await door.identify(token, source, now)
    return caught.value


async def test_the_configured_token_and_those_of_the_ledger() -> None:
    door = Door("secret", Kept().find)
    assert await door.identify("secret", "192.0.2.1", 0.0) is CONFIGURED
    assert (await door.identify(TEXT, "192.0.2.1", 0.0)).account == "acme"
    for wrong in ("", "Secret", "secret ", UNKNOWN, TEXT[:-1] + "4"):
        denied = await _refused(door, wrong)
        assert (denied.status, list(denied.headers)) == (401, ["WWW-Authenticate"])
    assert (await _refused(door, None)).status == 401


async def test_loopback_without_a_token_lets_everybody_in_but_who_shows_a_revoked_one() -> None:
    kept = Kept()
    door = Door(None, kept.find)
    for token in (None, "", "anything"):
        assert await door.identify(token, "127.0.0.1", 0.0) is LOCAL
    assert kept.asked == 0
    assert (await door.identify(TEXT, "127.0.0.1", 0.0)).name == "billing"
    kept.tokens.clear()
    assert (await _refused(door, TEXT, source="127.0.0.1")).status == 401


async def test_too_many_failures_wait_and_ask_the_ledger_nothing() -> None:
    kept = Kept()
    door = Door("secret", kept.find)
    for _ in range(BURST):
        assert (await _refused(door, UNKNOWN)).status == 401
    denied = await _refused(door, UNKNOWN)
    assert (denied.status, denied.headers) == (429, {"Retry-After": "6"})
    assert kept.asked == BURST
    assert (await _refused(door, "secret")).status == 429
    assert await door.identify("secret", "192.0.2.2", 0.0) is CONFIGURED
    assert await door.identify("secret", "192.0.2.1", 7.0) is CONFIGURED


async def test_no_token_is_no_failure() -> None:
    door = Door("secret", None)
    for _ in range(3 * BURST):
        assert (await _refused(door, None)).status == 401
    assert await door.identify("secret", "192.0.2.1", 0.0) is CONFIGURED


async def test_without_the_ledger_its_tokens_are_not_known_and_the_configured_one_is() -> None:
    kept = Kept()
    kept.away = True
    door = Door("secret", kept.find)
    with pytest.raises(LedgerUnavailable):
        await door.identify(TEXT, "192.0.2.1", 0.0)
    assert await door.identify("secret", "192.0.2.1", 0.0) is CONFIGURED
