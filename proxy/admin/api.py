"""The routes of the HTTP API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from policy.rating.money import amount
from proxy.admin import problems
from proxy.admin.access.identity import CALLS, READ, WRITE, Identity, need
from proxy.admin.access.records import as_seen
from proxy.admin.access.routes import access_routes
from proxy.admin.callback_secret import callback_routes
from proxy.admin.control_client import ControlClient, Shared
from proxy.admin.control_protocol import (
    ControlError,
    ControlLost,
    Heartbeat,
    PolicyState,
    ScopeLimits,
    scope_of,
)
from proxy.admin.dashboard import CONTENT_SECURITY_POLICY, page
from proxy.admin.documentation import documentation_routes
from proxy.admin.ledger_access import LedgerAccess
from proxy.admin.models import (
    Calls,
    Decisions,
    ExplainRequest,
    Health,
    HungUp,
    Policy,
    Readiness,
    Reloaded,
    Usage,
)
from proxy.admin.native.mounting import add_native
from proxy.admin.native.requests import query_of
from proxy.admin.problems import problem
from proxy.ledger.hangup import HangupResult
from proxy.ledger.ledger import LiveCall, ScopeUsage
from proxy.ledger.streams import NEWEST
from proxy.objects.editor import PolicyEditor
from proxy.observe.clock import iso_ms
from proxy.observe.exposition import CONTENT_TYPE, Snapshot, render
from proxy.observe.tasks import TaskKeeper
from proxy.webhooks.counts import Samples
from proxy.webhooks.settings import HookSettings

HEARTBEAT_SECONDS = 1.0
CONTROL_SECONDS = 5.0
RELOAD_SECONDS = 60.0

MOST_SEARCHED = 100_000
"""So many live calls are looked through for those of one account."""

_UNUSED = {
    "active_calls": 0,
    "spent_amount": amount(0),
    "reserved_amount": amount(0),
    "threshold_reached": False,
    "window_starts_at": None,
}

Limit = Annotated[int, Query(ge=1, le=1000)]
Reader = Annotated[Identity, Depends(need(READ))]
Caller = Annotated[Identity, Depends(need(CALLS))]


class Api:
    """The handlers, on the two places that they ask: the SIP process and the ledger. `counted` is what this
    process counts itself, `hooks` by what it tells others of events."""

    def __init__(self, control: ControlClient, ledger: LedgerAccess, tasks: TaskKeeper, sip_pid: int) -> None:
        self._control = control
        self.ledger = ledger
        self._sip_pid = sip_pid
        self.counted: Callable[[], Samples] = dict
        self.hooks: Callable[[], HookSettings | None] = lambda: None
        self._heartbeat: Shared[Heartbeat] = Shared(self._ask_heartbeat, tasks)
        self._metrics: Shared[bytes] = Shared(self._ask_metrics, tasks)

    async def _ask_heartbeat(self) -> Heartbeat:
        heartbeat: Heartbeat = await self._control.call("heartbeat", within=HEARTBEAT_SECONDS)
        return heartbeat

    async def _ask_metrics(self) -> bytes:
        snapshot: Snapshot = await self._control.call("metrics", within=CONTROL_SECONDS)
        snapshot["samples"].update(self.counted())
        # Thousands of trunks take tens of milliseconds to render.
        return await asyncio.to_thread(render, snapshot, pid=self._sip_pid)

    # Health.

    async def healthz(self) -> Health:
        """This process is alive."""
        return Health(status="ok")

    async def readyz(self) -> JSONResponse:
        """Whether calls can be taken: sockets bound, ledger answering, policy loaded. 503 names what
        fails."""
        try:
            heartbeat = await self._heartbeat.get()
            parts, detail = heartbeat["parts"], heartbeat["detail"]
        except (ControlLost, ControlError) as error:
            parts, detail = {"sip": False}, {"sip": str(error)}
        failing = [name for name, works in parts.items() if not works]
        body = Readiness(
            status="failing" if failing else "ready", parts=parts, failing=failing, detail=detail
        )
        return JSONResponse(body.model_dump(), 503 if failing else 200)

    async def metrics(self) -> Response:
        """Prometheus text of the SIP process; 503 when that does not answer."""
        return Response(await self._metrics.get(), media_type=CONTENT_TYPE)

    # Trunks.

    async def usage(self, name: str, who: Reader) -> Usage:
        """What one trunk uses and may use."""
        limits = await self._limits(name, who)
        (used,) = await self.ledger.usage([scope_of(limits)])
        return Usage(**_usage(limits, used))

    async def usages(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What trunks use and may use, by name: nothing yet, where they are not in force yet."""
        known: list[ScopeLimits] = await self._control.call("trunks", within=CONTROL_SECONDS)
        wanted = set(names)
        every = [limits for limits in known if limits["name"] in wanted]
        used = await self.ledger.usage([scope_of(limits) for limits in every]) if every else []
        found = {limits["name"]: _usage(limits, usage) for limits, usage in zip(every, used, strict=True)}
        return {name: found.get(name, _UNUSED) for name in names}

    async def _limits(self, name: str, who: Identity) -> ScopeLimits:
        limits: ScopeLimits | None = await self._control.call("trunk", {"name": name}, within=CONTROL_SECONDS)
        if limits is None or not who.sees(limits["account"]):
            raise HTTPException(404, f"no such trunk: {name}")
        return limits

    # Calls.

    async def calls(self, who: Reader, limit: Limit = 1000) -> Calls:
        """Live calls of all instances."""
        return Calls(calls=(await self._calls(who, limit))[:limit])

    async def _calls(self, who: Identity, limit: int) -> list[dict[str, Any]]:
        found = await self.ledger.calls(limit if who.account is None else MOST_SEARCHED)
        return [as_seen(who, shown) for shown in map(_call, found) if who.sees(shown.get("account"))]

    async def hang_up_call(self, ref: str, who: Caller) -> HungUp:
        """End one live call: BYE to both sides, by the instance that holds it."""
        if who.account is not None and ref not in {call["ref"] for call in await self._calls(who, 0)}:
            raise HTTPException(404, f"no such call: {ref}")
        found = _hung_up(await self.ledger.hang_up(ref=ref))
        if not found.calls and found.unanswered:
            raise HTTPException(503, "an instance did not answer: whether the call lives is not known")
        if not found.calls:
            raise HTTPException(404, f"no such call: {ref}")
        return found

    async def hang_up_trunk(self, request: Request, trunk: str, who: Caller) -> HungUp:
        """End all live calls of a trunk."""
        if len(request.query_params.multi_items()) != 1 or not trunk:
            raise HTTPException(422, "exactly one query parameter, trunk=NAME, says whose calls end")
        await self._limits(trunk, who)
        return _hung_up(await self.ledger.hang_up(trunk=trunk))

    async def decisions(self, who: Reader, limit: Limit = 100) -> Decisions:
        """The latest decisions of all instances, newest first."""
        if who.account is not None:
            return Decisions(decisions=await self._own_decisions(who, limit))
        lines = await self.ledger.records("decisions", limit)
        return Decisions(decisions=[record for line in lines if (record := _object(line)) is not None])

    async def _own_decisions(self, who: Identity, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before = NEWEST
        while page := await self.ledger.older("decisions", before):
            before = page[-1][0]
            records = (_object(line) for _, line in page)
            own = (one for one in records if one is not None and who.sees(one.get("account")))
            found += [as_seen(who, record) for record in own]
            if len(found) >= limit:
                break
        return found[:limit]

    # Policy.

    async def explain(self, request: ExplainRequest) -> JSONResponse:
        """Judge a call that nobody makes, with every check and what decided."""
        asked = request.model_dump(by_alias=True, exclude_none=True)
        return JSONResponse(await self._control.call("explain", asked, within=CONTROL_SECONDS))

    async def reload(self) -> Response:
        """Read the configuration again. 422 with the problems of a bad file, which leaves the old policy in
        force."""
        outcome = await self._control.call("reload", within=RELOAD_SECONDS)
        if outcome["problems"]:
            detail = "the configuration has problems; the old policy stays in force"
            return problem(422, detail, problems=outcome["problems"], version=outcome["version"])
        return JSONResponse(Reloaded(version=outcome["version"]).model_dump())

    async def policy(self, who: Reader) -> Policy:
        """The policy in force, and the problems of the last reload when it failed; a token for one account
        does not see those."""
        state: PolicyState = await self._control.call("policy", within=CONTROL_SECONDS)
        return Policy(**state if who.account is None else {**state, "problems": []})

    async def dashboard(self) -> HTMLResponse:
        return HTMLResponse(page(), headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


def _only(*known: str) -> Any:
    """A query parameter that is not one of these is a mistake that would otherwise pass in silence."""

    async def look(request: Request) -> None:
        query_of(request, known)

    return Depends(look)


def create_app(api: Api, version: str, editor: PolicyEditor) -> FastAPI:
    """The application, without the guard that stands before it (see security.py)."""
    # The interactive pages of FastAPI load their code from other hosts: ours are in documentation.py.
    app = FastAPI(title="Trunkwarden", version=version, docs_url=None, redoc_url=None, redirect_slashes=False)
    problems.install(app)
    app.add_api_route("/healthz", api.healthz, methods=["GET"])
    app.add_api_route("/readyz", api.readyz, methods=["GET"], response_model=Readiness)
    app.add_api_route("/metrics", api.metrics, methods=["GET"], response_class=PlainTextResponse)
    app.add_api_route("/v1/trunks/{name}/usage", api.usage, methods=["GET"], dependencies=[_only()])
    app.add_api_route("/v1/calls", api.calls, methods=["GET"], dependencies=[_only("limit")])
    app.add_api_route("/v1/calls", api.hang_up_trunk, methods=["DELETE"], status_code=202)
    app.add_api_route(
        "/v1/calls/{ref}",
        api.hang_up_call,
        methods=["DELETE"],
        status_code=202,
        dependencies=[_only()],
    )
    app.add_api_route("/v1/decisions", api.decisions, methods=["GET"], dependencies=[_only("limit")])
    app.add_api_route(
        "/v1/explain", api.explain, methods=["POST"], dependencies=[_only(), Depends(need(READ, whole=True))]
    )
    app.add_api_route(
        "/v1/reload",
        api.reload,
        methods=["POST"],
        response_model=Reloaded,
        dependencies=[_only(), Depends(need(WRITE, whole=True))],
    )
    app.add_api_route("/v1/policy", api.policy, methods=["GET"], dependencies=[_only()])
    app.include_router(access_routes(api.ledger, editor), dependencies=[_only("limit")])
    app.include_router(callback_routes(lambda: api.hooks(), editor), dependencies=[_only("account", "trunk")])
    add_native(app, editor, api.usages)
    app.include_router(documentation_routes())
    app.state.policy = editor
    app.add_api_route("/", api.dashboard, methods=["GET"], include_in_schema=False)
    return app


def _hung_up(result: HangupResult) -> HungUp:
    if result.asked == 0:
        raise HTTPException(503, "no instance hears the ledger at the moment: nothing was ended")
    return HungUp(calls=len(result.refs), unanswered=result.asked - result.instances)


def _usage(limits: ScopeLimits, used: ScopeUsage) -> dict[str, Any]:
    threshold = limits["threshold"]
    return {
        "active_calls": used.active_calls,
        "capacity_limit": limits["capacity_limit"],
        "spent_amount": amount(used.spent),
        "reserved_amount": amount(used.reserved),
        "threshold_amount": None if threshold is None else amount(threshold),
        "threshold_reached": threshold is not None and used.spent + used.reserved >= threshold,
        "window_starts_at": iso_ms(used.window_starts_at_ms),
    }


def _call(call: LiveCall) -> dict[str, Any]:
    return {
        **(_object(call.record) or {}),
        "ref": call.ref,
        "trunk": call.trunk,
        "instance": call.owner,
        "reserved_at": iso_ms(call.reserved_ms),
        "answered_at": None if call.answered_ms is None else iso_ms(call.answered_ms),
        "spent_amount": amount(call.spent),
        "reserved_amount": amount(call.hold),
    }


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
