"""The part of the HTTP process that tells others: from the SIP process's words to a receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from config.model import Config, WebhooksConfig
from policy.compiled import Scope
from proxy.ledger.hook_queue import HookQueue, open_hook_queue
from proxy.ledger.ledger import LedgerUnavailable, ScopeUsage
from proxy.routing.names import Names
from proxy.webhooks import service as module
from proxy.webhooks.service import Webhooks
from proxy.webhooks.settings import Recipient, section_of
from tests.ledger.servers import PATIENT, Server, until
from tests.webhooks.receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Deaf(Exception):
    """The SIP process does not answer."""


class Stage:
    def __init__(self, server: Server) -> None:
        self.version = "v1"
        self.recipients: list[Recipient] = []
        self.deaf = self.away = False
        self.opened = 0
        self.server = server

    async def ask(self, operation: str, args: dict[str, Any]) -> Any:
        if self.deaf:
            raise Deaf
        if operation == "happenings":
            names = {"stamp": self.version, "version": self.version, "number": None}
            return {**names, "providers": {}, "tallies": [], "short": {}}
        section = section_of(Config(webhooks=WebhooksConfig(allow_networks=("127.0.0.0/8",))))  # type: ignore[arg-type]
        section["endpoints"] = [[one.name, one.url, one.secret, one.events, None] for one in self.recipients]
        rows = [
            ["t", None, self.version != "v2", None, "rolling_24h", "", None, None, None],
            ["u", None, True, None, "rolling_24h", "", None, None, None],
        ]
        start = args["start"]
        return {"section": section, "trunks": rows[start : start + 1], "more": start == 0}

    async def usage(self, scopes: Sequence[Scope]) -> list[ScopeUsage]:
        return [ScopeUsage(0, 0, 0, 0) for _ in scopes]

    async def open(self) -> HookQueue:
        self.opened += 1
        if self.away:
            raise LedgerUnavailable("connection", "away")
        return await open_hook_queue(self.server.url, Path(), "one", deadline=PATIENT)


@pytest.fixture
async def stage(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "DELIVER_SECONDS", 0.02)
    server.client().flushall()
    made = Stage(server)
    webhooks = Webhooks(made.ask, made.usage, made.open, Names(), (Deaf,))
    running = asyncio.get_running_loop().create_task(webhooks.run())
    yield made
    running.cancel()
    await asyncio.wait([running])


async def test_ledger_is_not_asked_while_nobody_is_told(stage: Stage) -> None:
    await asyncio.sleep(0.2)
    assert stage.opened == 0


async def test_events_are_told_whatever_failed_before(stage: Stage, receiver: Receiver) -> None:
    stage.away = True
    stage.recipients.append(Recipient("ops", receiver.url(), SECRET, ("trunk.blocked",)))
    stage.version = "v1b"
    await until(lambda: stage.opened > 2)
    stage.away, stage.deaf = False, True
    await asyncio.sleep(0.1)
    stage.deaf = False
    await until(lambda: b"status:t" in stage.server.client().hgetall("{tw}:hooks:states"))
    stage.version = "v2"
    await until(lambda: len(receiver.received) == 1)
    assert receiver.received[0].event["data"] == {"trunk": "t", "account": None}
