"""Control: what the HTTP process may ask of the instance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from config.model import Config
from policy.compiled import Policy, Scope
from policy.reasons import ReasonCode
from proxy.admin.control_protocol import Heartbeat, PolicyState, ReloadOutcome
from proxy.admission.inquiry import add_headroom, inquire
from proxy.objects.document import Document
from proxy.objects.owners import ids_of, owners_of
from proxy.objects.yaml_file import id_by_name
from proxy.observe.clock import iso
from proxy.observe.exposition import Snapshot
from proxy.webhooks.settings import rows_of, section_of

if TYPE_CHECKING:
    from proxy.app import Application

_ROWS = 500  # of trunks in one answer, so that none takes long to encode


class Control:
    """The ControlTarget of an Application."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._hooked: list[list[Any]] = []

    async def heartbeat(self) -> Heartbeat:
        """Which parts work."""
        app = self._app
        draining = app.core.gate is ReasonCode.DRAINING
        parts = {
            "sockets": bool(app.server.endpoints or app.server.streams),
            "ledger": app.housekeeping.ledger_answers,
            "policy": True,
            "accepting": not draining,
        }
        detail = {}
        if not parts["ledger"]:
            detail["ledger"] = "does not answer"
        if draining:
            detail["accepting"] = "draining: new calls are refused"
        return {"parts": parts, "detail": detail}

    def metrics(self) -> Snapshot:
        """All values now."""
        return self._app.metrics.snapshot()

    def policy(self) -> PolicyState:
        """The policy in force, and what the last failed reload found."""
        policy, followed = self._app.store.policy, self._app.followed
        problems = list(self._app.problems)
        if followed is not None and followed.problem is not None:
            problems.append(followed.problem)
        return {
            "version": policy.version,
            "loaded_at": iso(policy.loaded_at),
            "problems": [str(problem) for problem in problems],
            "store_version": self._app.store_version,
        }

    def happenings(self) -> dict[str, Any]:
        """What others are to be told of."""
        policy, metrics = self._app.store.policy, self._app.metrics
        return {
            "stamp": f"{policy.version} {iso(policy.loaded_at)}",
            "version": policy.version,
            "number": self._app.store_version,
            "providers": metrics.provider_up,
            **metrics.happenings.take(),
        }

    async def webhooks(self, start: int) -> dict[str, Any]:
        """Who is told of what: the section, and the trunks from `start` on."""
        app = self._app
        if start == 0:
            document = None if app.followed is None else app.followed.version.document
            config, policy = app.in_force, app.store.policy
            self._hooked = await asyncio.to_thread(_rows, config, policy, document)
        rows = self._hooked[start : start + _ROWS]
        return {
            "section": section_of(app.in_force),
            "trunks": rows,
            "more": start + _ROWS < len(self._hooked),
        }

    def trunk_scopes(self) -> Mapping[str, Scope]:
        """Every trunk's own scope."""
        return {name: trunk.scope for name, trunk in self._app.store.policy.trunks.items()}

    def trunk_accounts(self) -> Mapping[str, str | None]:
        """Every trunk's account."""
        return {name: trunk.account for name, trunk in self._app.store.policy.trunks.items()}

    async def reload(self) -> ReloadOutcome:
        """Read the configuration file again."""
        compiled = await self._app.reload()
        return {
            "version": self._app.store.policy.version,
            "problems": [str(problem) for problem in compiled.problems],
        }

    async def explain(self, request: dict[str, Any]) -> dict[str, Any]:
        """Judge a call that nobody makes. A ValueError says what is wrong with the request."""
        policy = self._app.store.policy
        source, to = str(request["source"]), str(request.get("to") or "")
        verdict, fields = inquire(
            policy, source, to, request.get("from"), request.get("message"), request.get("user")
        )
        if request.get("live"):
            await add_headroom(policy, fields, verdict, self._app.ledger)
        return fields


def _rows(config: Config, policy: Policy, document: Document | None) -> list[list[Any]]:
    """`document`: of the store; None: the policy is in the file."""
    ids = {} if document is None else {trunk.name: trunk.id for trunk in document.list("trunks")}
    id_of = id_by_name if document is None else ids_of(document)
    return rows_of(config, policy, ids, owners_of(config.trunks, id_of))
