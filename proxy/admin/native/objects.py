"""`/v1/accounts`, `/v1/trunks` and so on: the objects of the policy, one router a kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from config.objects import name_of
from config.problem import Finding
from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.native import schemas
from proxy.admin.native.ownership import (
    Forbidden,
    check,
    check_name,
    fields_of,
    may_write,
    sees,
    whole_spec,
    without_others,
)
from proxy.admin.native.refusals import prefix, refusal
from proxy.admin.native.requests import if_match, limit_of, object_of, page, query_of
from proxy.objects.document import Document, PolicyObject, new_id
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import Conflict, EditError, Invalid, Unknown, singular
from proxy.objects.numbers import account_of
from proxy.observe.clock import iso

_OF_THE_API: Final = ("id", "created_at", "updated_at")

Reader = Annotated[Identity, Depends(need(READ))]
Writer = Annotated[Identity, Depends(need(WRITE))]
Usages = Callable[[Sequence[str]], Awaitable[Mapping[str, Mapping[str, Any]]]]
"""Of names of trunks: what they use, by name."""


def shown(who: Identity, one: PolicyObject) -> dict[str, Any]:
    """An object as the API gives it."""
    return {
        "id": one.id,
        "name": one.name,
        **fields_of(who, one),
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }


class Objects:
    """The handlers of one kind."""

    def __init__(self, kind: str, editor: PolicyEditor, usages: Usages | None = None) -> None:
        self._kind = kind
        self._editor = editor
        self._usages = usages
        self._filters = schemas.filters_of(kind)

    def router(self) -> APIRouter:
        """Its routes."""
        kind, path = self._kind, f"/v1/{self._kind}"
        one = f"{path}/{{key}}"
        router = APIRouter(tags=[kind])

        def add(route: str, method: str, handler: Callable[..., Any], status: int, **extra: Any) -> None:
            name = handler.__name__.removesuffix("_all")
            router.add_api_route(
                route,
                handler,
                methods=[method],
                status_code=status,
                response_model=None,
                operation_id=f"{name}_{singular(kind).replace(' ', '_')}",
                openapi_extra=extra or None,
                responses={status: schemas.answer(kind, name)},
            )

        add(path, "GET", self.list_all, 200, parameters=schemas.list_parameters(kind))
        add(path, "POST", self.create, 201, requestBody=schemas.body(kind, "create"))
        add(one, "GET", self.get, 200)
        changing = {"parameters": [schemas.IF_MATCH]}
        add(one, "PUT", self.replace, 200, requestBody=schemas.body(kind, "replace"), **changing)
        add(one, "PATCH", self.patch, 200, requestBody=schemas.body(kind, "patch"), **changing)
        add(one, "DELETE", self.delete, 204, **changing)
        return router

    async def list_all(self, request: Request, who: Reader) -> JSONResponse:
        """List, the oldest first."""
        query = query_of(request, {"limit", "cursor", *self._filters})
        limit = limit_of(query)
        document = (await self._editor.current()).document
        wanted = {field: query[field] for field in self._filters if field in query}
        every = [
            one
            for one in document.list(self._kind)
            if sees(who, one, document)
            and all(_is(document, one, field, value) for field, value in wanted.items())
        ]
        found, cursor = page(every, limit, query.get("cursor"))
        items = [shown(who, one) for one in found]
        if self._usages is not None:
            usages = await self._usages([one.name for one in found])
            items = [{**item, **usages[item["name"]]} for item in items]
        return JSONResponse({self._kind: items, "next_cursor": cursor})

    async def get(self, request: Request, key: str, who: Reader) -> JSONResponse:
        """Show one; `key` is its id or its name."""
        query_of(request, ())
        document = (await self._editor.current()).document
        return self._answer(who, self._seen(who, document, key))

    async def create(self, request: Request, who: Writer) -> Response:
        """Create one."""
        query_of(request, ())
        self._check_may_write(who)
        body = await object_of(request)
        object_id = new_id()
        name = body["name"] if "name" in body else name_of(self._kind, body)
        if not isinstance(name, str) or not name:
            needed = "number" if self._kind == "dids" and "name" not in body else "name"
            return refusal(Invalid([Finding(f"{self._kind}[].{needed}", "is required, as text")]), self._kind)

        def operation(document: Document) -> Document:
            check_name(who, self._kind, None, name)
            self._check_own_fields(body, None, name)
            spec = _without(body, "name")
            if self._kind == "accounts":
                spec = {"destination_whitelist": [], **spec}
            spec = whole_spec(who, self._kind, None, spec)
            new = document.create(self._kind, name, spec, id=object_id)
            check(who, document, None, new.get(self._kind, object_id))
            return new

        return await self._change(request, who, operation, [object_id], name, 201)

    async def replace(self, request: Request, key: str, who: Writer) -> Response:
        """Replace all fields of one: what is left out has its default."""

        def replaced(document: Document, old: PolicyObject, body: Mapping[str, Any]) -> Document:
            name, spec = body.get("name", old.name), _without(body, "name", *_OF_THE_API)
            if self._kind == "accounts":
                spec = {"destination_whitelist": [], **spec}
            spec = whole_spec(who, self._kind, old, spec)
            return document.replace(self._kind, old.id, spec, name=name)

        return await self._update(request, key, who, replaced)

    async def patch(self, request: Request, key: str, who: Writer) -> Response:
        """Change some fields of one, by a merge patch (RFC 7396): null gives a field its default."""

        def patched(document: Document, old: PolicyObject, body: Mapping[str, Any]) -> Document:
            return document.patch(self._kind, old.id, _without(body, *_OF_THE_API))

        return await self._update(request, key, who, patched)

    async def delete(self, request: Request, key: str, who: Writer) -> Response:
        """Delete one. 409 while another object refers to it."""
        query_of(request, ())
        self._check_may_write(who)
        etags = if_match(request)

        def operation(document: Document) -> Document:
            old = self._expected(who, document, key, etags)
            return document.delete(self._kind, old.id)

        return await self._change(request, who, operation, [key], status=204)

    # What they share

    async def _update(
        self,
        request: Request,
        key: str,
        who: Identity,
        update: Callable[[Document, PolicyObject, Mapping[str, Any]], Document],
    ) -> Response:
        """Do what the body says to the object `key`."""
        query_of(request, ())
        self._check_may_write(who)
        body, etags, target = await object_of(request), if_match(request), [key]

        def operation(document: Document) -> Document:
            old = self._expected(who, document, key, etags)
            target[0] = old.id
            self._check_own_fields(body, old, old.name)
            check_name(who, self._kind, old, str(body.get("name", old.name)))
            new = update(document, old, body)
            check(who, document, old, new.get(self._kind, old.id))
            return new

        return await self._change(request, who, operation, target, _name_in(body))

    async def _change(
        self,
        request: Request,
        who: Identity,
        operation: Callable[[Document], Document],
        target: list[str],
        name: str | None = None,
        status: int = 200,
    ) -> Response:
        """Do it, and answer with the object whose key is then the only one in `target`."""
        comment = f"{request.method} {request.url.path}"
        try:
            version = await self._editor.change(who.name, comment, operation)
        except EditError as error:
            return await self._refused(who, error, target[0], name, 409 if status == 204 else 422)
        if status == 204:
            return Response(status_code=204)
        one = version.document.get(self._kind, target[0])
        answer = self._answer(who, one, status)
        if status == 201:
            answer.headers["Location"] = f"/v1/{self._kind}/{one.id}"
        return answer

    async def _refused(
        self, who: Identity, error: EditError, key: str, name: str | None, invalid: int
    ) -> Response:
        document = (await self._editor.current()).document
        if name is None:
            old = document.find(self._kind, key)
            name = key if old is None else old.name
        if isinstance(error, Invalid):
            mine = prefix(self._kind, name)
            error = Invalid(without_others(who, document, mine, error.problems))
        return refusal(error, self._kind, name, invalid=invalid)

    def _answer(self, who: Identity, one: PolicyObject, status: int = 200) -> JSONResponse:
        return JSONResponse(shown(who, one), status, headers={"ETag": f'"{one.etag}"'})

    def _seen(self, who: Identity, document: Document, key: str) -> PolicyObject:
        one = document.find(self._kind, key)
        if one is None or not sees(who, one, document):
            raise HTTPException(404, str(Unknown(self._kind, key)))
        return one

    def _expected(
        self, who: Identity, document: Document, key: str, etags: frozenset[str] | None
    ) -> PolicyObject:
        one = document.find(self._kind, key)
        if one is None or not sees(who, one, document):
            raise Unknown(self._kind, key)
        if etags is not None and one.etag not in etags:
            raise Conflict(f"`{key}` has been changed since: read it again")
        return one

    def _check_may_write(self, who: Identity) -> None:
        if not may_write(who, self._kind):
            raise HTTPException(403, "a token for one account may not do this")

    def _check_own_fields(self, body: Mapping[str, Any], old: PolicyObject | None, name: str) -> None:
        """What the API gives an object may be given back, but is nobody's to choose. Raises Invalid."""
        given = {} if old is None else {
            "id": old.id, "created_at": iso(old.created_at), "updated_at": iso(old.updated_at),
        }  # fmt: skip
        problems = [
            Finding(f"{prefix(self._kind, name)}.{field}", "is not to be chosen: leave it out")
            for field in _OF_THE_API
            if field in body and body[field] != given.get(field)
        ]
        if problems:
            raise Invalid(problems)


def _is(document: Document, one: PolicyObject, field: str, value: str) -> bool:
    if field == "name":
        return one.name == value
    if field == "account":
        return account_of(document, one) == value
    if field == "number":  # a plus in a query is a space
        return value.strip().removeprefix("+") == str(one.full.get(field)).removeprefix("+")
    return one.full.get(field) == value


def _name_in(body: Mapping[str, Any]) -> str | None:
    """The name that a body gives its object, by which problems then call it."""
    name = body.get("name")
    return name if isinstance(name, str) else None


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


__all__ = ["Forbidden", "Objects", "shown"]
