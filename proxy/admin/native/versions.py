"""The history of the policy: versions, what differs between them, and the way back."""

from __future__ import annotations

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


def version_routes(editor: PolicyEditor) -> APIRouter:
    """`/v1/policy/versions`, `/v1/policy/diff`, `/v1/policy/rollback`."""
    router = APIRouter(prefix="/v1/policy", tags=["policy"])

    async def known(number: int) -> Version:
        version = await editor.version(number)
        if version is None:
            raise HTTPException(404, f"version {number} is not kept, or never was")
        return version

    async def versions(request: Request, _: Reader) -> JSONResponse:
        """List versions, newest first."""
        query = query_of(request, {"limit", "cursor"})
        limit, before = limit_of(query, 50), _before(query.get("cursor"))
        found = await editor.history(before, limit)
        more = len(found) == limit and found[-1].number > 1
        cursor = str(found[-1].number) if more else None
        return JSONResponse({"versions": [_entry(one) for one in found], "next_cursor": cursor})

    async def version(request: Request, number: Number, who: Reader) -> JSONResponse:
        """One version with all its objects."""
        query_of(request, ())
        found = await known(number)
        objects = {kind: [shown(who, one) for one in found.document.list(kind)] for kind in KINDS}
        body = {**_entry(found.entry), "objects": objects}
        return JSONResponse(body, headers={"ETag": f'"{found.etag}"'})

    async def difference(request: Request, _: Reader) -> JSONResponse:
        """What differs between the versions `from` and `to`; without `to`: the one in force."""
        query = query_of(request, {"from", "to"})
        if "from" not in query:
            raise HTTPException(422, "from is required: the number of a version")
        old = await known(_number(query["from"], "from"))
        new = await known(_number(query["to"], "to")) if "to" in query else await editor.current()
        return JSONResponse({"changes": [one.to_json() for one in diff(old.document, new.document)]})

    async def rollback(request: Request, wanted: Rollback, who: Writer) -> Response:
        """Put the policy of an earlier version in force again. If-Match is of the version in force."""
        query_of(request, ())
        etags = if_match(request)
        try:
            expected = None
            if etags is not None:
                current = await editor.current()
                if current.etag not in etags:
                    raise Conflict(f"the policy is at version {current.number} by now")
                expected = current.etag
            made = await editor.roll_back(who.name, wanted.version, wanted.comment, expected)
        except EditError as error:
            return refusal(error)
        return JSONResponse(_entry(made.entry), headers={"ETag": f'"{made.etag}"'})

    pages = schemas.list_parameters("rate_decks")[:2]
    ends = [
        {"name": name, "in": "query", "required": name == "from",
         "schema": {"type": "integer", "minimum": 1, "maximum": _HIGHEST}}
        for name in ("from", "to")
    ]  # fmt: skip
    router.add_api_route(
        "/versions",
        versions,
        methods=["GET"],
        operation_id="list_policy_versions",
        openapi_extra={"parameters": pages},
        response_model=VersionList,
    )
    router.add_api_route(
        "/versions/{number}",
        version,
        methods=["GET"],
        operation_id="get_policy_version",
        response_model=WholeVersion,
    )
    router.add_api_route(
        "/diff",
        difference,
        methods=["GET"],
        operation_id="diff_policy_versions",
        openapi_extra={"parameters": ends},
        response_model=Difference,
    )
    router.add_api_route(
        "/rollback",
        rollback,
        methods=["POST"],
        operation_id="roll_back_policy",
        openapi_extra={"parameters": [schemas.IF_MATCH]},
        response_model=VersionEntry,
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
