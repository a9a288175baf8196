"""The rows of rate decks: uploaded as CSV, read page by page."""

from __future__ import annotations

import asyncio
import csv
import io
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.native import schemas
from proxy.admin.native.objects import shown
from proxy.admin.native.refusals import refusal
from proxy.admin.native.requests import if_match, limit_of, query_of
from proxy.objects.document import Document, PolicyObject, new_id
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import Conflict, EditError, Unknown

_PATH: Final = "/v1/rate_decks/{key}/rows"
_CSV: Final = "text/csv"
_EXAMPLE: Final = "prefix,destination,rate_per_minute\n+44,United Kingdom,0.0100\n+447,UK mobile,0.0210\n"

# Decks belong to no account.
Reader = Annotated[Identity, Depends(need(READ))]
Writer = Annotated[Identity, Depends(need(WRITE, whole=True))]


class Decks:
    """The handlers, on the policy and the rows beside it."""

    def __init__(self, editor: PolicyEditor) -> None:
        self._editor = editor

    async def rows(self, request: Request, key: str, who: Reader) -> Response:
        """Read rows, in the order of the file: pages of JSON, or the whole file with `Accept: text/csv`."""
        query = query_of(request, {"limit", "cursor"})
        limit, start = limit_of(query), _start(query.get("cursor"))
        one = (await self._editor.current()).document.find("rate_decks", key)
        if one is None or who.account is not None:
            raise HTTPException(404, str(Unknown("rate_decks", key)))
        digest = one.spec.get("sha256")
        data = await self._editor.deck(str(digest)) if digest is not None else None
        if data is None:
            where = f"in the file `{one.spec.get('file')}` of the instances" if digest is None else "lost"
            raise HTTPException(404, f"the rows of this deck are {where}, not in the store")
        if _CSV in request.headers.get("accept", ""):
            return Response(data, media_type=_CSV)
        found, more = await asyncio.to_thread(_slice, data, start, limit)
        return JSONResponse({"rows": found, "next_cursor": str(start + limit) if more else None})

    async def upload(self, request: Request, key: str, who: Writer) -> Response:
        """Replace the rows of a deck, or create it with them. `currency` is that of the prices; not given: as
        it was, or USD."""
        query = query_of(request, {"currency"})
        etags = if_match(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CSV:
            raise HTTPException(415, f"the body must be {_CSV}")
        if self._editor.read_only is not None:
            raise HTTPException(409, self._editor.read_only)
        object_id, made = new_id(), False

        def operation(document: Document) -> Document:
            nonlocal made
            old = document.find("rate_decks", key)
            made = old is None
            changes = {"sha256": digest, **query}
            if old is None:
                if etags is not None:
                    raise Conflict(f"there is no rate deck `{key}` yet")
                return document.create("rate_decks", key, changes, id=object_id)
            if etags is not None and old.etag not in etags:
                raise Conflict(f"`{key}` has been changed since: read it again")
            return document.patch("rate_decks", old.id, changes)

        try:
            digest = await self._editor.put_deck(await _body(request))
            version = await self._editor.change(who.name, f"PUT {request.url.path}", operation)
        except EditError as error:
            return refusal(error, "rate_decks", key)
        one: PolicyObject = version.document.get("rate_decks", key)
        headers = {"ETag": f'"{one.etag}"', "Location": f"/v1/rate_decks/{one.id}"}
        return JSONResponse(shown(who, one), 201 if made else 200, headers=headers)


def deck_routes(editor: PolicyEditor) -> APIRouter:
    """`/v1/rate_decks/{key}/rows`."""
    router, decks = APIRouter(tags=["rate_decks"]), Decks(editor)
    router.add_api_route(
        _PATH,
        decks.rows,
        methods=["GET"],
        response_model=None,
        operation_id="list_rate_deck_rows",
        openapi_extra={"parameters": schemas.list_parameters("rate_decks")[:2]},
        responses={200: {"content": {"application/json": {"schema": _ROWS}, _CSV: {"example": _EXAMPLE}}}},
    )
    router.add_api_route(
        _PATH,
        decks.upload,
        methods=["PUT"],
        response_model=None,
        operation_id="upload_rate_deck_rows",
        openapi_extra={
            "parameters": [
                schemas.IF_MATCH,
                {"name": "currency", "in": "query", "required": False, "schema": {"type": "string"}},
            ],
            "requestBody": {
                "required": True,
                "content": {_CSV: {"schema": {"type": "string"}, "example": _EXAMPLE}},
            },
        },
        responses={status: schemas.answer("rate_decks", "replace") for status in (200, 201)},
    )
    return router


_ROWS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["rows", "next_cursor"],
    "properties": {
        "rows": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
        "next_cursor": {"type": ["string", "null"]},
    },
    "example": {
        "rows": [{"prefix": "+44", "destination": "United Kingdom", "rate_per_minute": "0.0100"}],
        "next_cursor": None,
    },
}


async def _body(request: Request) -> bytes:
    """The rows, which the guard has bounded."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
    return bytes(body)


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise HTTPException(422, "cursor is none that this API has given")
    return int(cursor)


def _slice(data: bytes, start: int, limit: int) -> tuple[list[dict[str, str]], bool]:
    """Rows as they stand in a file that was found sound, and whether there are more."""
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    found = list(islice(reader, start, start + limit))
    return found, next(reader, None) is not None
