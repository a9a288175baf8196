"""The history of the policy: versions, what differs between them, and the way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from config.policy_source import KINDS
from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.native import schemas
from proxy.admin.native.objects import shown
from proxy.admin.native.refusals import refusal
from proxy.admin.native.requests import if_match, limit_of, query_of
from proxy.objects.changes import diff
from proxy.objects.editor import Entry, PolicyEditor, Version
from proxy.objects.errors import Conflict, EditError

_HIGHEST: Final = 2**53

# Versions are of all accounts at once.
Reader = Annotated[Identity, Depends(need(READ, whole=True))]
Writer = Annotated[Identity, Depends(need(WRITE, whole=True))]
Handler = Callable[..., Awaitable[Response]]
Number = Annotated[int, Field(ge=1, le=_HIGHEST)]


class ObjectChange(BaseModel):
    """`change` is `created`, `updated` or `deleted`; `fields` has what each was and is."""

    kind: str
    name: str
    id: str
    change: str
    fields: dict[str, list[Any]]


class VersionEntry(BaseModel):
    number: int
    etag: str
    at: str
    author: str
    comment: str
    changes: list[ObjectChange]


class VersionList(BaseModel):
    """Newest first."""

    versions: list[VersionEntry]
    next_cursor: str | None


class WholeVersion(VersionEntry):
    """`objects`: by kind, secrets masked."""

    objects: dict[str, list[dict[str, Any]]]


class Difference(BaseModel):
    changes: list[ObjectChange]


class Rollback(BaseModel):
    """`version` is the number of the version whose policy shall be in force again, as a new version."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"version": 41, "comment": "the new prices were wrong"}}
    )

    version: Number
    comment: str = Field(default="", max_length=500)


class History:
    """The handlers, on the versions that are kept."""

    def __init__(self, editor: PolicyEditor) -> None:
        self._editor = editor

    async def versions(self, request: Request, _: Reader) -> JSONResponse:
        """List versions, newest first."""
        query = query_of(request, {"limit", "cursor"})
        limit, before = limit_of(query, 50), _before(query.get("cursor"))
        found = await self._editor.history(before, limit)
        more = len(found) == limit and found[-1].number > 1
        cursor = str(found[-1].number) if more else None
        return JSONResponse({"versions": [_entry(one) for one in found], "next_cursor": cursor})

    async def version(self, request: Request, number: Number, who: Reader) -> JSONResponse:
        """One version with all its objects."""
        query_of(request, ())
        found = await self._known(number)
        objects = {kind: [shown(who, one) for one in found.document.list(kind)] for kind in KINDS}
        body = {**_entry(found.entry), "objects": objects}
        return JSONResponse(body, headers={"ETag": f'"{found.etag}"'})

    async def difference(self, request: Request, _: Reader) -> JSONResponse:
        """What differs between the versions `from` and `to`; without `to`: the one in force."""
        query = query_of(request, {"from", "to"})
        if "from" not in query:
            raise HTTPException(422, "from is required: the number of a version")
        old = await self._known(_number(query["from"], "from"))
        new = await self._known(_number(query["to"], "to")) if "to" in query else await self._editor.current()
        return JSONResponse({"changes": [one.to_json() for one in diff(old.document, new.document)]})

    async def rollback(self, request: Request, wanted: Rollback, who: Writer) -> Response:
        """Put the policy of an earlier version in force again. If-Match is of the version in force."""
        query_of(request, ())
        etags = if_match(request)
        try:
            expected = None
            if etags is not None:
                current = await self._editor.current()
                if current.etag not in etags:
                    raise Conflict(f"the policy is at version {current.number} by now")
                expected = current.etag
            made = await self._editor.roll_back(who.name, wanted.version, wanted.comment, expected)
        except EditError as error:
            return refusal(error)
        return JSONResponse(_entry(made.entry), headers={"ETag": f'"{made.etag}"'})

    async def _known(self, number: int) -> Version:
        version = await self._editor.version(number)
        if version is None:
            raise HTTPException(404, f"version {number} is not kept, or never was")
        return version


def version_routes(editor: PolicyEditor) -> APIRouter:
    """`/v1/policy/versions`, `/v1/policy/diff`, `/v1/policy/rollback`."""
    router, history = APIRouter(prefix="/v1/policy", tags=["policy"]), History(editor)
    pages = schemas.list_parameters("rate_decks")[:2]
    ends = [
        {"name": name, "in": "query", "required": name == "from",
         "schema": {"type": "integer", "minimum": 1, "maximum": _HIGHEST}}
        for name in ("from", "to")
    ]  # fmt: skip

    def add(
        method: str, path: str, handler: Handler, name: str, answer: type[BaseModel], **extra: Any
    ) -> None:
        router.add_api_route(
            path,
            handler,
            methods=[method],
            operation_id=name,
            openapi_extra=extra or None,
            response_model=answer,
        )

    add("GET", "/versions", history.versions, "list_policy_versions", VersionList, parameters=pages)
    add("GET", "/versions/{number}", history.version, "get_policy_version", WholeVersion)
    add("GET", "/diff", history.difference, "diff_policy_versions", Difference, parameters=ends)
    add(
        "POST", "/rollback", history.rollback, "roll_back_policy", VersionEntry, parameters=[schemas.IF_MATCH]
    )
    return router


def _entry(entry: Entry) -> dict[str, Any]:
    return entry.to_json()


def _before(cursor: str | None) -> int | None:
    return None if cursor is None else _number(cursor, "cursor")


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not 1 <= int(text) <= _HIGHEST:
        raise HTTPException(422, f"{name} must be the number of a version")
    return int(text)
