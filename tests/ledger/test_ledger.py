from __future__ import annotations

import inspect

import pytest

from proxy.ledger.ledger import Ledger, LedgerUnavailable, Unobserved
from proxy.ledger.redis_ledger import RedisLedger

VERBS = [name for name, member in vars(Ledger).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_redis_ledger_has_every_verb(verb: str) -> None:
    promised, made = getattr(Ledger, verb), getattr(RedisLedger, verb)
    assert inspect.signature(made) == inspect.signature(promised)
    assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(promised)


def test_unavailable_says_whether_anything_was_sent() -> None:
    assert LedgerUnavailable("timeout", "late").sent
    assert not LedgerUnavailable("connection", "away", sent=False).sent


def test_nobody_needs_to_watch() -> None:
    Unobserved().ledger_seconds("reserve", 0.1)
    Unobserved().ledger_error("timeout")
