from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis

from proxy.ledger import tokens as module
from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.tokens import StoredToken, Tokens, TooManyTokens
from tests.ledger.servers import Opener, Server

TOKEN = StoredToken(
    "0102", "billing", "ab" * 32, ("read", "calls"), "acme", "2025-03-01T12:00:00Z", "me", "a1"
)


async def test_what_one_instance_does_the_others_see_at_once(
    ledger: RedisLedger, server: Server, opener: Opener
) -> None:
    here, there = Tokens(ledger.requests), Tokens((await opener(server.url, "two")).requests)
    assert await there.find("0102") is None
    await here.add(TOKEN)
    await here.add(replace(TOKEN, id="0304", name="a", account=None))
    assert await there.find("0102") == TOKEN
    assert [token.name for token in await there.every()] == ["a", "billing"]
    assert await here.remove("0102")
    assert not await here.remove("0102")
    assert await there.find("0102") is None


async def test_an_id_is_given_once(ledger: RedisLedger) -> None:
    tokens = Tokens(ledger.requests)
    await tokens.add(TOKEN)
    await tokens.add(replace(TOKEN, account=None, scopes=("admin",)))
    assert await tokens.find("0102") == TOKEN


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"name":"a","digest":"x","scopes":["read"],"account":1,"created_at":"","created_by":""}',
        b'{"name":"a","digest":"x","scopes":[1],"account":null,"created_at":"","created_by":""}',
        b'{"name":"a","digest":null,"scopes":[],"account":null,"created_at":"","created_by":""}',
        b'{"name":"a","digest":"x","scopes":[],"account":null,"created_at":"","created_by":"","id":"b"}',
        b'{"name":"a","digest":"x","scopes":[],"account":"b","created_at":"","created_by":"","account_id":1}',
    ],
)
async def test_what_somebody_else_wrote_opens_nothing(
    ledger: RedisLedger, server: Server, value: bytes
) -> None:
    with Redis.from_url(server.url) as other:
        other.hset("{tw}:tokens", "0102", value)
    assert await Tokens(ledger.requests).find("0102") is None
    assert await Tokens(ledger.requests).every() == []


async def test_there_are_not_endlessly_many(ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 1)
    tokens = Tokens(ledger.requests)
    await tokens.add(TOKEN)
    with pytest.raises(TooManyTokens):
        await tokens.add(replace(TOKEN, id="0304"))
