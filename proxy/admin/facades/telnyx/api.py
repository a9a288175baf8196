"""The routes of Telnyx' API v2 that concern outbound voice profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.facades.application import application
from proxy.admin.facades.refused import Fault, Faulty, belongs_to, change_one, wanted_name
from proxy.admin.facades.telnyx import errors
from proxy.admin.facades.telnyx.errors import MISSING, Refused, bad_parameter, invalid, not_found
from proxy.admin.facades.telnyx.fields import ProfileFields
from proxy.admin.facades.telnyx.listing import page_of, read_query, select
from proxy.admin.facades.telnyx.profile import FieldError, changed, new_profile, resource
from proxy.objects.document import Document, PolicyObject, new_id
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import EditError
from proxy.observe.clock import iso

BESIDE: Final = "telnyx"
"""The facade's part of an object's extra."""
_SAID_BY: Final = {"destination_whitelist": "whitelisted_destinations"}
"""A field of our profile → the field that says it, where their names differ."""

Reader = Annotated[Identity, Depends(need(READ))]
Writer = Annotated[Identity, Depends(need(WRITE))]


class Telnyx:
    """The handlers, on the policy. All profiles that the caller may see are shown, whoever made them: each
    field of Telnyx' is one of ours, and what it has no field for is left as it is."""

    def __init__(self, editor: PolicyEditor) -> None:
        self._editor = editor

    async def profiles(self, request: Request, who: Reader) -> dict[str, Any]:
        """Outbound voice profiles, page by page."""
        query = read_query(request.query_params.multi_items())
        document = (await self._editor.current()).document
        return page_of(select(_shown(document, who), query), query)

    async def profile(self, key: str, request: Request, who: Reader) -> dict[str, Any]:
        """One outbound voice profile."""
        _no_query(request)
        document = (await self._editor.current()).document
        return {"data": _one(document, _find(document, key, who))}

    async def create(self, said: ProfileFields, request: Request, who: Writer) -> JSONResponse:
        """A new profile: the United States and Canada, where it names no countries."""
        _no_query(request)
        if "name" not in said.given:
            raise Refused(invalid("name", "is required", MISSING))
        key = new_id()

        def operation(document: Document) -> Document:
            spec, beside = changed(new_profile(who.account), {}, said)
            name = document.free_name("profiles", wanted_name(who, said.name), "profile")
            return document.create("profiles", name, spec, id=key, extra={BESIDE: beside})

        document = await self._change(who, "an outbound voice profile is made", key, operation)
        return JSONResponse({"data": _one(document, document.get("profiles", key))})

    async def update(self, key: str, said: ProfileFields, request: Request, who: Writer) -> dict[str, Any]:
        """What is said of a profile is changed, the rest stays."""
        _no_query(request)

        def operation(document: Document) -> Document:
            one = _find(document, key, who)
            spec, beside = changed(one.spec, one.extra.get(BESIDE, {}), said)
            return document.replace("profiles", one.id, spec, extra={**one.extra, BESIDE: beside})

        document = await self._change(who, "an outbound voice profile is changed", key, operation)
        return {"data": _one(document, _find(document, key, who))}

    async def delete(self, key: str, request: Request, who: Writer) -> dict[str, Any]:
        """A profile goes, when no trunk refers to it any more."""
        _no_query(request)
        gone: dict[str, Any] = {}

        def operation(document: Document) -> Document:
            one = _find(document, key, who)
            gone.update(_one(document, one))
            if gone["connections_count"]:
                text = "The resource can not be removed as it is still in use."
                raise Refused(errors.Fault(422, errors.IN_USE, "Resource in use", text))
            return document.delete("profiles", one.id)

        await self._change(who, "an outbound voice profile is deleted", key, operation)
        return {"data": gone}

    async def _change(
        self, who: Identity, comment: str, key: str, operation: Callable[[Document], Document]
    ) -> Document:
        """The document after a change. Raises Refused."""
        try:
            return await change_one(self._editor, who, f"Telnyx: {comment}", "profiles", key, operation)
        except FieldError as error:
            raise Refused(invalid(error.field, str(error))) from None
        except Faulty as error:
            raise Refused(*map(_fault, error.faults)) from None
        except EditError as error:
            raise Refused(errors.Fault(409, "10010", "Authorization failed", str(error))) from None


def create_app(editor: PolicyEditor) -> FastAPI:
    """The application, to be mounted at `/telnyx/v2`."""
    title = "Outbound voice profiles, as Telnyx' API v2 has them"
    app = application(title, errors.refusal, errors.HANDLERS)
    api = Telnyx(editor)
    every, one = "/outbound_voice_profiles", "/outbound_voice_profiles/{key}"
    app.add_api_route(every, api.profiles, methods=["GET"])
    app.add_api_route(every, api.create, methods=["POST"])
    app.add_api_route(one, api.profile, methods=["GET"])
    app.add_api_route(one, api.update, methods=["PATCH"])
    app.add_api_route(one, api.delete, methods=["DELETE"])
    return app


def _find(document: Document, key: str, who: Identity) -> PolicyObject:
    """The profile of that id, when the caller may see it. Raises Refused."""
    one = document.find("profiles", key.lower())
    if one is None or one.id != key.lower() or not who.sees(belongs_to(one)):
        raise Refused(not_found())
    return one


def _shown(document: Document, who: Identity) -> list[dict[str, Any]]:
    connections = _connections(document)
    return [
        _resource(one, connections[one.name])
        for one in document.list("profiles")
        if who.sees(belongs_to(one))
    ]


def _one(document: Document, one: PolicyObject) -> dict[str, Any]:
    return _resource(one, _connections(document)[one.name])


def _connections(document: Document) -> Counter[str]:
    """Profile → how many trunks refer to it."""
    return Counter(str(trunk.spec.get("profile")) for trunk in document.list("trunks"))


def _resource(one: PolicyObject, connections: int) -> dict[str, Any]:
    return resource(
        one.full,
        one.extra.get(BESIDE, {}),
        id=one.id,
        name=one.name,
        created_at=iso(one.created_at),
        updated_at=iso(one.updated_at),
        connections=connections,
    )


def _no_query(request: Request) -> None:
    for name in request.query_params:
        raise Refused(bad_parameter(name[:100], "is not known"))


def _fault(fault: Fault) -> errors.Fault:
    """What the policy has against a profile, told of the field that says it."""
    return invalid(_SAID_BY.get(fault.field, fault.field), fault.text)
