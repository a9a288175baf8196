"""The routes of DIDWW's API v3 that concern voice OUT trunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response

from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.access.territory import NO_COUNTRIES
from proxy.admin.facades.application import application
from proxy.admin.facades.didww import jsonapi
from proxy.admin.facades.didww.credentials import Credentials
from proxy.admin.facades.didww.dids import DIDS, RELATIONSHIPS, Numbers, given_back, settled
from proxy.admin.facades.didww.fields import (
    FLAT,
    FLAT_ONLY,
    NESTED_ONLY,
    VERSIONS,
    ChangedTrunkDocument,
    NewTrunkDocument,
    RotationDocument,
    TrunkAttributes,
)
from proxy.admin.facades.didww.jsonapi import MEDIA_TYPE, Answer, Refused, invalid, not_allowed, not_found
from proxy.admin.facades.didww.listing import Query, links, page_of, read_query, select
from proxy.admin.facades.didww.resources import (
    BESIDE,
    TRUNKS,
    included,
    one_or_many,
    trunk_record,
    trunk_resource,
)
from proxy.admin.facades.didww.trunk import (
    FieldError,
    changed,
    has_credentials,
    new_trunk,
    wants_credentials,
    with_credentials,
)
from proxy.admin.facades.refused import Fault, Faulty, belongs_to, change_one, wanted_name
from proxy.admin.facades.spending import Spending, Spent
from proxy.objects.document import Document, PolicyObject, new_id
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import EditError

DEFAULT_VERSION: Final = "2021-12-15"
"""The API version of a request that names none: that of the descriptions whose requests name none."""
_SAID_BY: Final = {
    **{name: name for name in TrunkAttributes.model_fields},
    "dids": "dids",
    "default_did": "default_did",
    "tech_prefix": "authentication_method",
    "auth": "authentication_method",
}
"""A field of our trunk → the attribute or relationship that says it."""

Reader = Annotated[Identity, Depends(need(READ))]
Writer = Annotated[Identity, Depends(need(WRITE))]


def _version(request: Request) -> str:
    """The API version that the request names. Raises Refused."""
    version = request.headers.get("x-didww-api-version", DEFAULT_VERSION)
    if version not in VERSIONS:
        known = ", ".join(sorted(VERSIONS))
        text = f"X-DIDWW-Api-Version {version[:20]} is not one of {known}"
        raise Refused(jsonapi.Fault(400, "400", "Bad request", text))
    return version


def _is_jsonapi(request: Request) -> None:
    if jsonapi.media_type(request) != MEDIA_TYPE:
        text = f"requests must have the media type {MEDIA_TYPE}"
        raise Refused(jsonapi.Fault(415, "415", "Unsupported media type", text))


Version = Annotated[str, Depends(_version)]


class Didww:
    """The handlers, on the policy and on what the ledger knows of its trunks' spending."""

    def __init__(self, editor: PolicyEditor, spending: Spending) -> None:
        self._editor = editor
        self._spending = spending

    # Trunks

    async def trunks(self, request: Request, who: Reader, version: Version) -> Answer:
        """Voice OUT trunks, page by page."""
        query = read_query(request.query_params.multi_items(), TRUNKS, collection=True)
        document = (await self._editor.current()).document
        visible = [one for one in document.list("trunks") if _is_seen(one, who)]
        spent: Mapping[str, Spent] = {}
        if query.asks("threshold_reached"):
            spent = await self._spending.of(one.name for one in visible)
        numbers = Numbers(document)
        records = [trunk_record(one, spent.get(one.name, Spent()), numbers) for one in visible]
        found = select(records, query, TRUNKS)
        page = [record["object"] for record in page_of(found, query)]
        where = links(_here(request), query, len(found))
        shown = await self._resources(request, page, numbers, query, version)
        more = included(page, query, _base(request), numbers)
        return _document(shown, version, more, total=len(found), links=where)

    async def trunk(self, key: str, request: Request, who: Reader, version: Version) -> Answer:
        """One voice OUT trunk."""
        query = read_query(request.query_params.multi_items(), TRUNKS, collection=False)
        document = (await self._editor.current()).document
        one, numbers = _find(document, key, who), Numbers(document)
        (shown,) = await self._resources(request, [one], numbers, query, version)
        return _document(shown, version, included([one], query, _base(request), numbers))

    async def create(self, body: NewTrunkDocument, request: Request, who: Writer, version: Version) -> Answer:
        """A new trunk; its generated credentials are in this answer and in no other."""
        query = read_query(request.query_params.multi_items(), TRUNKS, collection=False)
        said, relationships = body.data.attributes, body.data.relationships
        _check_shape(said, version)
        _check_complete(said, version)
        key, drawn = new_id(), Credentials.drawn()

        def operation(document: Document) -> Document:
            _check_countries(document, who)
            assigned = Numbers(document).assigned(relationships, who)
            spec, beside = changed(new_trunk(who.account), {}, said, assigned)
            if wants_credentials(spec):
                spec = with_credentials(spec, drawn)
            name = document.free_name("trunks", wanted_name(who, said.name), "trunk")
            made = document.create("trunks", name, spec, id=key, extra={BESIDE: beside})
            return settled(document, made, key, who)

        document = await self._change(who, "a voice OUT trunk is made", key, version, operation)
        one, numbers = document.get("trunks", key), Numbers(document)
        (shown,) = await self._resources(request, [one], numbers, query, version, drawn)
        answer = _document(shown, version, included([one], query, _base(request), numbers), status=201)
        answer.headers["Location"] = f"{_here(request)}/{key}"
        return answer

    async def update(
        self,
        key: str,
        body: ChangedTrunkDocument,
        request: Request,
        who: Writer,
        version: Version,
    ) -> Answer:
        """What is said of a trunk is changed, the rest stays. Credentials that it gets by that are in this
        answer and in no other."""
        query = read_query(request.query_params.multi_items(), TRUNKS, collection=False)
        said, relationships = body.data.attributes, body.data.relationships
        if str(body.data.id) != key.lower():
            text = f"The URL does not support the key {body.data.id}"
            raise Refused(jsonapi.Fault(400, jsonapi.KEY_NOT_IN_URL, "Key is not included in URL", text))
        _check_shape(said, version)
        drawn = Credentials.drawn()
        gets_login = False

        def operation(document: Document) -> Document:
            nonlocal gets_login
            one = _find(document, key, who)
            numbers = Numbers(document)
            assigned = numbers.assigned(relationships, who)
            spec, beside = changed(numbers.spec_of(one), one.extra[BESIDE], said, assigned)
            gets_login = wants_credentials(spec)
            if gets_login:
                spec = with_credentials(spec, drawn)
            new = document.replace("trunks", one.id, spec, extra={**one.extra, BESIDE: beside})
            return settled(document, new, one.id, who)

        document = await self._change(who, "a voice OUT trunk is changed", key, version, operation)
        one, numbers = _find(document, key, who), Numbers(document)
        (shown,) = await self._resources(
            request, [one], numbers, query, version, drawn if gets_login else None
        )
        return _document(shown, version, included([one], query, _base(request), numbers))

    async def delete(self, key: str, who: Writer, version: Version) -> Response:
        """A trunk goes, its numbers stay its account's. Its live calls go on; their renewals are judged by
        the policy without it."""

        def operation(document: Document) -> Document:
            one = _find(document, key, who)
            return given_back(document, document.delete("trunks", one.id), one.name)

        await self._change(who, "a voice OUT trunk is deleted", key, version, operation)
        return Response(status_code=204)

    async def rotate(self, body: RotationDocument, request: Request, who: Writer, version: Version) -> Answer:
        """New credentials for a trunk. The old ones are worth nothing any more; the new ones are in the trunk
        that this answer includes, and in no other answer."""
        wanted = body.data.relationships.voice_out_trunk.data
        key = wanted.id if wanted is not None and wanted.type == "voice_out_trunks" else ""
        drawn = Credentials.drawn()

        def operation(document: Document) -> Document:
            one = _look_for(document, key, who)
            if one is None or not has_credentials(one.spec):
                raise FieldError("voice_out_trunk", "has no credentials to rotate")
            return document.replace("trunks", one.id, with_credentials(one.spec, drawn))

        document = await self._change(
            who, "credentials of a voice OUT trunk are renewed", key, version, operation
        )
        one = _find(document, key, who)
        trunk = await self._resources(request, [one], Numbers(document), Query(), version, drawn)
        data = {
            "id": new_id(),
            "type": "voice_out_trunk_regenerate_credentials",
            "relationships": {"voice_out_trunk": {"data": {"type": "voice_out_trunks", "id": one.id}}},
        }
        return _document(data, version, trunk, status=201)

    # What trunks lead to

    async def related(
        self,
        key: str,
        relationship: str,
        request: Request,
        who: Reader,
        version: Version,
    ) -> Answer:
        """The DIDs of a trunk."""
        numbers, related = await self._related(key, relationship, request, who)
        found = [numbers.resource(number, _base(request)) for number in related]
        return _document(one_or_many(found, relationship), version)

    async def linkage(
        self,
        key: str,
        relationship: str,
        request: Request,
        who: Reader,
        version: Version,
    ) -> Answer:
        """The DIDs of a trunk, as identifiers."""
        numbers, related = await self._related(key, relationship, request, who)
        found = [numbers.identifier(number) for number in related]
        return _document(one_or_many(found, relationship), version)

    async def _related(
        self, key: str, relationship: str, request: Request, who: Identity
    ) -> tuple[Numbers, list[str]]:
        read_query(request.query_params.multi_items(), DIDS, collection=False)
        if relationship not in RELATIONSHIPS:
            raise Refused(not_found(relationship))
        document = (await self._editor.current()).document
        numbers = Numbers(document)
        return numbers, numbers.related(_find(document, key, who), relationship)

    async def numbers(self, request: Request, who: Reader, version: Version) -> Answer:
        """The DIDs that trunks may be given."""
        query = read_query(request.query_params.multi_items(), DIDS, collection=True)
        numbers = Numbers((await self._editor.current()).document)
        known = numbers.seen_by(who)
        records = [{"id": key, "number": number.removeprefix("+")} for key, number in known.items()]
        found = select(records, query, DIDS)
        page = [numbers.resource(known[record["id"]], _base(request)) for record in page_of(found, query)]
        return _document(page, version, total=len(found), links=links(_here(request), query, len(found)))

    async def number(self, key: str, request: Request, who: Reader, version: Version) -> Answer:
        """One DID."""
        read_query(request.query_params.multi_items(), DIDS, collection=False)
        numbers = Numbers((await self._editor.current()).document)
        number = numbers.seen_by(who).get(key.lower())
        if number is None:
            raise Refused(not_found(key))
        return _document(numbers.resource(number, _base(request)), version)

    # What they share

    async def _resources(
        self,
        request: Request,
        objects: Sequence[PolicyObject],
        numbers: Numbers,
        query: Query,
        version: str,
        shown: Credentials | None = None,
    ) -> list[dict[str, Any]]:
        spent = await self._spending.of(one.name for one in objects)
        return [
            trunk_resource(
                one,
                spent.get(one.name, Spent()),
                query,
                _base(request),
                numbers=numbers,
                version=version,
                shown=shown,
            )
            for one in objects
        ]

    async def _change(
        self,
        who: Identity,
        comment: str,
        key: str,
        version: str,
        operation: Callable[[Document], Document],
    ) -> Document:
        """The document after a change. Raises Refused, in the attributes of that API version."""
        try:
            return await change_one(self._editor, who, f"DIDWW: {comment}", "trunks", key, operation)
        except FieldError as error:
            raise Refused(invalid(_in_shape(error.attribute, version), str(error))) from None
        except Faulty as error:
            raise Refused(*(_fault(fault, version) for fault in error.faults)) from None
        except EditError as error:
            raise Refused(jsonapi.Fault(409, "409", "Conflict", str(error))) from None


def create_app(editor: PolicyEditor, spending: Spending) -> FastAPI:
    """The application, to be mounted at `/didww/v3`."""
    title = "Voice OUT trunks, as DIDWW's API v3 has them"
    app = application(title, jsonapi.refusal, jsonapi.HANDLERS, Answer)
    api = Didww(editor, spending)
    trunks, trunk = "/voice_out_trunks", "/voice_out_trunks/{key}"
    writes = [Depends(_is_jsonapi)]
    app.add_api_route(trunks, api.trunks, methods=["GET"])
    app.add_api_route(trunks, api.create, methods=["POST"], status_code=201, dependencies=writes)
    app.add_api_route(trunk, api.trunk, methods=["GET"])
    app.add_api_route(trunk, api.update, methods=["PATCH"], dependencies=writes)
    app.add_api_route(trunk, api.delete, methods=["DELETE"], status_code=204)
    app.add_api_route(f"{trunk}/relationships/{{relationship}}", api.linkage, methods=["GET"])
    app.add_api_route(f"{trunk}/{{relationship}}", api.related, methods=["GET"])
    app.add_api_route(
        "/voice_out_trunk_regenerate_credentials",
        api.rotate,
        methods=["POST"],
        status_code=201,
        dependencies=writes,
    )
    app.add_api_route("/dids", api.numbers, methods=["GET"])
    app.add_api_route("/dids/{key}", api.number, methods=["GET"])
    return app


def _document(
    data: Any,
    version: str,
    included: list[dict[str, Any]] | None = None,
    *,
    status: int = 200,
    total: int | None = None,
    links: Mapping[str, str] | None = None,
) -> Answer:
    body: dict[str, Any] = {"data": data}
    if included is not None:
        body["included"] = included
    body["meta"] = (
        {"api_version": version} if total is None else {"total_records": total, "api_version": version}
    )
    if links is not None:
        body["links"] = links
    return Answer(body, status)


def _base(request: Request) -> str:
    """The address of this API, as the client wrote it."""
    return str(request.url.replace(path=request.scope["root_path"], query=""))


def _here(request: Request) -> str:
    """The address that was asked, without its query."""
    return str(request.url.replace(query=""))


def _is_seen(one: PolicyObject, who: Identity) -> bool:
    return BESIDE in one.extra and who.sees(belongs_to(one))


def _look_for(document: Document, key: str, who: Identity) -> PolicyObject | None:
    """The trunk of that id, when it was made here and the caller may see it."""
    one = document.find("trunks", key.lower())
    return one if one is not None and one.id == key.lower() and _is_seen(one, who) else None


def _find(document: Document, key: str, who: Identity) -> PolicyObject:
    one = _look_for(document, key, who)
    if one is None:
        raise Refused(not_found(key))
    return one


def _in_shape(attribute: str, version: str) -> str:
    return "authentication_method" if version not in FLAT and attribute in FLAT_ONLY else attribute


def _fault(fault: Fault, version: str) -> jsonapi.Fault:
    """What the policy has against a trunk, told of the attribute that says it."""
    if fault.field in _SAID_BY:
        return invalid(_in_shape(_SAID_BY[fault.field], version), fault.text)
    text = f"{fault.field} {fault.text}".strip()
    return jsonapi.Fault(422, jsonapi.INVALID, text, text, "/data")


def _check_countries(document: Document, who: Identity) -> None:
    """An account that nobody gave countries may not call any: raises Refused."""
    account = None if who.account is None else document.find("accounts", who.account)
    if who.account is not None and (account is None or account.spec.get("destination_whitelist") is None):
        raise Refused(jsonapi.Fault(422, jsonapi.INVALID, NO_COUNTRIES, NO_COUNTRIES, "/data"))


def _check_shape(said: TrunkAttributes, version: str) -> None:
    """Raises Refused for attributes of the other shape."""
    others = said.given & (NESTED_ONLY if version in FLAT else FLAT_ONLY)
    if others:
        raise Refused(*(not_allowed(name) for name in sorted(others)))


def _check_complete(said: TrunkAttributes, version: str) -> None:
    """Raises Refused for a new trunk that lacks what every trunk has."""
    shape = ("allowed_sip_ips", "on_cli_mismatch_action") if version in FLAT else ("authentication_method",)
    needed = ("name", *shape)
    missing = [name for name in needed if name not in said.given or getattr(said, name) is None]
    if missing:
        raise Refused(*(invalid(name, "can't be blank") for name in missing))
