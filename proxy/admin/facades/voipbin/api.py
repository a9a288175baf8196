"""The routes of VoIPBIN's API v1.0 that concern outbound calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from proxy.admin.access.identity import READ, WRITE, Identity, need
from proxy.admin.facades.application import application
from proxy.admin.facades.refused import Faulty, belongs_to, change_one, wanted_name
from proxy.admin.facades.voipbin import errors, resources
from proxy.admin.facades.voipbin.errors import Refused, invalid, not_found
from proxy.admin.facades.voipbin.fields import (
    CustomerFields,
    DialInfo,
    NewOutboundConfig,
    NewOutplan,
    OutboundConfigFields,
    OutplanBasics,
    ProviderCallFields,
    ProviderFields,
)
from proxy.admin.facades.voipbin.listing import NEVER, Resource, no_parameters, page_of, stamp
from proxy.admin.facades.voipbin.resources import BESIDE, CONFIG, beside, configured, has_config
from proxy.objects.document import Document, PolicyObject, new_id
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import EditError
from proxy.observe.clock import utc_now

_CONFIG: Final = "outbound config"
_SAID_BY: Final = {"default_did": "default_outgoing_source_number_id"}
"""A field of our account → the field that says it, where their names differ."""
_NO_CALLS: Final = (
    "calls cannot be created over HTTP here: dial through a trunk, whose calls the outbound config judges"
)

Reader = Annotated[Identity, Depends(need(READ))]
Writer = Annotated[Identity, Depends(need(WRITE))]
AdminReader = Annotated[Identity, Depends(need(READ, whole=True))]
Admin = Annotated[Identity, Depends(need(WRITE, whole=True))]


class Voipbin:
    """The handlers, on the policy. A customer is an account. It has an outbound config when one was made for
    it here, and only then may its own tokens change its countries."""

    def __init__(self, editor: PolicyEditor) -> None:
        self._editor = editor

    # --- the customer's own ---------------------------------------------------------------------------------

    async def own_config(self, request: Request, who: Reader) -> Resource:
        """The outbound config of the customer whose token this is."""
        no_parameters(request.query_params.multi_items())
        document = await self._document()
        return resources.outbound_config(_own_account(document, who), document)

    async def update_own_config(self, said: OutboundConfigFields, request: Request, who: Writer) -> Resource:
        """Change it."""
        no_parameters(request.query_params.multi_items())
        return await self._configure(who, said, lambda document: _own_account(document, who))

    async def own_customer(self, request: Request, who: Reader) -> Resource:
        """The customer whose token this is."""
        no_parameters(request.query_params.multi_items())
        account = (await self._document()).find("accounts", who.account or "")
        if account is None:
            raise not_found("customer")
        return resources.customer(account)

    async def numbers(self, request: Request, who: Reader) -> dict[str, Any]:
        """The numbers of the customers that the caller sees."""
        document = await self._document()
        seen = (account for account in document.list("accounts") if who.sees(account.name))
        found = resources.numbers(seen, document)
        return page_of(found, request.query_params.multi_items(), "customer_id", "number")

    # --- every customer's, for who sees all -----------------------------------------------------------------

    async def configs(self, request: Request, _: AdminReader) -> dict[str, Any]:
        """Outbound configs of all customers."""
        document = await self._document()
        found = [
            resources.outbound_config(one, document) for one in document.list("accounts") if has_config(one)
        ]
        return page_of(found, request.query_params.multi_items(), "customer_id")

    async def config(self, key: str, request: Request, _: AdminReader) -> Resource:
        """One outbound config."""
        no_parameters(request.query_params.multi_items())
        document = await self._document()
        return resources.outbound_config(_configured(document, key), document)

    async def create_config(self, said: NewOutboundConfig, request: Request, who: Admin) -> Resource:
        """An outbound config for a customer that has none: empty, unless it says otherwise."""
        no_parameters(request.query_params.multi_items())

        def find(document: Document) -> PolicyObject:
            account = _customer(document, str(said.customer_id))
            if has_config(account):
                text = "The customer has an outbound config already."
                raise Refused(409, text, "OUTBOUND_CONFIG_ALREADY_EXISTS", "ALREADY_EXISTS")
            return account

        return await self._configure(who, said, find)

    async def update_config(
        self, key: str, said: OutboundConfigFields, request: Request, who: Admin
    ) -> Resource:
        """Change one outbound config."""
        no_parameters(request.query_params.multi_items())
        return await self._configure(who, said, lambda document: _configured(document, key))

    async def delete_config(self, key: str, request: Request, who: Admin) -> Resource:
        """Without an outbound config every call of the customer is refused."""
        no_parameters(request.query_params.multi_items())
        gone: Resource = {}

        def operation(document: Document) -> Document:
            account = _configured(document, key)
            gone.update(resources.outbound_config(account, document))
            kept = {name: value for name, value in beside(account).items() if name != CONFIG}
            spec = {**account.spec, "destination_whitelist": []}
            for field in ("codecs", "default_did"):
                spec.pop(field, None)
            return document.replace("accounts", account.id, spec, extra={**account.extra, BESIDE: kept})

        await self._change(who, "an outbound config is deleted", "accounts", key, operation)
        return _deleted(gone)

    async def customers(self, request: Request, _: AdminReader) -> dict[str, Any]:
        """All customers."""
        found = [resources.customer(one) for one in (await self._document()).list("accounts")]
        return page_of(found, request.query_params.multi_items())

    async def customer(self, key: str, request: Request, _: AdminReader) -> Resource:
        """One customer."""
        no_parameters(request.query_params.multi_items())
        return resources.customer(_customer(await self._document(), key))

    async def create_customer(self, said: CustomerFields, request: Request, who: Admin) -> Resource:
        """A customer, and with it an empty outbound config: all its calls are refused until that names
        countries."""
        no_parameters(request.query_params.multi_items())
        if not said.name:
            raise invalid("name", "is required")
        key = new_id()

        def operation(document: Document) -> Document:
            kept = {"name": said.name, "detail": said.detail, CONFIG: _new_config(said.name)}
            name = document.free_name("accounts", said.name, "customer")
            spec: dict[str, Any] = {"destination_whitelist": []}
            return document.create("accounts", name, spec, id=key, extra={BESIDE: kept})

        document = await self._change(who, "a customer is made", "accounts", key, operation)
        return resources.customer(document.get("accounts", key))

    async def providers(self, request: Request, _: AdminReader) -> dict[str, Any]:
        """All providers."""
        found = [resources.provider(one) for one in (await self._document()).list("providers")]
        return page_of(found, request.query_params.multi_items())

    async def provider(self, key: str, request: Request, _: AdminReader) -> Resource:
        """One provider."""
        no_parameters(request.query_params.multi_items())
        return resources.provider(_find(await self._document(), "providers", key))

    async def create_provider(self, said: ProviderFields, request: Request, who: Admin) -> Resource:
        """A provider that trunks may be sent to."""
        no_parameters(request.query_params.multi_items())
        if not said.hostname:
            raise invalid("hostname", "is required")
        key = new_id()

        def operation(document: Document) -> Document:
            name = document.free_name("providers", said.name, "provider")
            kept = {"name": said.name or name, "detail": said.detail}
            return document.create(
                "providers", name, resources.provided({}, said), id=key, extra={BESIDE: kept}
            )

        document = await self._change(who, "a provider is made", "providers", key, operation)
        return resources.provider(document.get("providers", key))

    async def update_provider(self, key: str, said: ProviderFields, request: Request, who: Admin) -> Resource:
        """Change a provider. Live calls keep the one that they were admitted to."""
        no_parameters(request.query_params.multi_items())
        if "hostname" in said.given and not said.hostname:
            raise invalid("hostname", "must not be empty")

        def operation(document: Document) -> Document:
            one = _find(document, "providers", key)
            spec = resources.provided(one.spec, said)
            return document.replace("providers", one.id, spec, extra=_with_names(one, said))

        document = await self._change(who, "a provider is changed", "providers", key, operation)
        return resources.provider(_find(document, "providers", key))

    async def delete_provider(self, key: str, request: Request, who: Admin) -> Resource:
        """A provider goes, when nothing refers to it any more."""
        no_parameters(request.query_params.multi_items())
        gone: Resource = {}

        def operation(document: Document) -> Document:
            one = _find(document, "providers", key)
            gone.update(resources.provider(one))
            return document.delete("providers", one.id)

        await self._change(who, "a provider is deleted", "providers", key, operation, deletes=True)
        return _deleted(gone)

    # --- calls over one provider ----------------------------------------------------------------------------

    async def provider_calls(self, request: Request, _: AdminReader) -> dict[str, Any]:
        """Calls that were created over HTTP: none, since none can be."""
        return page_of((), request.query_params.multi_items(), "provider_id")

    async def provider_call(self, key: str, _: AdminReader) -> Resource:
        """One of them."""
        raise not_found("provider call")

    async def delete_provider_call(self, key: str, _: Admin) -> Resource:
        """One of them."""
        raise not_found("provider call")

    async def create_provider_call(self, said: ProviderCallFields, _: Admin) -> Resource:
        """Not available: what is asked for is judged, and then refused."""
        _find(await self._document(), "providers", str(said.provider_id))
        raise Refused(501, _NO_CALLS, "CALL_CREATION_NOT_AVAILABLE")

    # --- outplans -------------------------------------------------------------------------------------------

    async def outplans(self, request: Request, who: Reader) -> dict[str, Any]:
        """Outplans that the caller sees."""
        document = await self._document()
        found = [
            resources.outplan(one, document) for one in document.list("outplans") if who.sees(belongs_to(one))
        ]
        return page_of(found, request.query_params.multi_items())

    async def outplan(self, key: str, request: Request, who: Reader) -> Resource:
        """One outplan."""
        no_parameters(request.query_params.multi_items())
        document = await self._document()
        return resources.outplan(_plan(document, key, who), document)

    async def create_outplan(self, said: NewOutplan, request: Request, who: Writer) -> JSONResponse:
        """An outplan of the caller's customer, or of nobody's."""
        no_parameters(request.query_params.multi_items())
        key = new_id()

        def operation(document: Document) -> Document:
            spec = resources.planned({} if who.account is None else {"account": who.account}, said)
            if said.detail:
                spec["detail"] = said.detail
            name = document.free_name("outplans", wanted_name(who, said.name or "outplan"), "outplan")
            return document.create("outplans", name, spec, id=key, extra={BESIDE: {"name": said.name}})

        document = await self._change(who, "an outplan is made", "outplans", key, operation)
        return _warned(resources.outplan(document.get("outplans", key), document))

    async def update_outplan(self, key: str, said: OutplanBasics, request: Request, who: Writer) -> Resource:
        """Change what an outplan is called."""
        no_parameters(request.query_params.multi_items())

        def operation(document: Document) -> Document:
            one = _plan(document, key, who)
            spec = dict(one.spec)
            if "detail" in said.given:
                spec["detail"] = said.detail
            kept = {**beside(one), **({"name": said.name} if "name" in said.given else {})}
            return document.replace("outplans", one.id, spec, extra={**one.extra, BESIDE: kept})

        document = await self._change(who, "an outplan is changed", "outplans", key, operation)
        return resources.outplan(_plan(document, key, who), document)

    async def update_dial_info(self, key: str, said: DialInfo, request: Request, who: Writer) -> JSONResponse:
        """Change how an outplan dials."""
        no_parameters(request.query_params.multi_items())

        def operation(document: Document) -> Document:
            one = _plan(document, key, who)
            return document.replace("outplans", one.id, resources.planned(one.spec, said))

        document = await self._change(who, "an outplan dials otherwise", "outplans", key, operation)
        return _warned(resources.outplan(_plan(document, key, who), document))

    async def delete_outplan(self, key: str, request: Request, who: Writer) -> Resource:
        """An outplan goes."""
        no_parameters(request.query_params.multi_items())
        gone: Resource = {}

        def operation(document: Document) -> Document:
            one = _plan(document, key, who)
            gone.update(resources.outplan(one, document))
            return document.delete("outplans", one.id)

        await self._change(who, "an outplan is deleted", "outplans", key, operation)
        return _deleted(gone)

    # --- shared ---------------------------------------------------------------------------------------------

    async def _document(self) -> Document:
        return (await self._editor.current()).document

    async def _configure(
        self, who: Identity, said: OutboundConfigFields, find: Callable[[Document], PolicyObject]
    ) -> Resource:
        """Write the outbound config of the account that `find` gives, which may not have one yet."""
        key = ""

        def operation(document: Document) -> Document:
            nonlocal key
            account = find(document)
            key = account.id
            spec, names = configured(account, document, said)
            if has_config(account):
                config = {**beside(account)[CONFIG], **names, "tm_update": stamp(utc_now())}
            else:
                config = {**_new_config(beside(account).get("name", account.name)), **names}
                spec["destination_whitelist"] = list(dict.fromkeys(said.destination_whitelist))
            extra = {**account.extra, BESIDE: {**beside(account), CONFIG: config}}
            return document.replace("accounts", account.id, spec, extra=extra)

        document = await self._change(
            who, "an outbound config is written", "accounts", who.account or "", operation
        )
        return resources.outbound_config(document.get("accounts", key), document)

    async def _change(
        self,
        who: Identity,
        comment: str,
        kind: str,
        key: str,
        operation: Callable[[Document], Document],
        *,
        deletes: bool = False,
    ) -> Document:
        """The document after a change. Raises Refused."""
        try:
            return await change_one(self._editor, who, f"VoIPBIN: {comment}", kind, key, operation)
        except Faulty as error:
            text = "; ".join(
                f"{_SAID_BY.get(fault.field, fault.field)} {fault.text}".strip() for fault in error.faults
            )
            if deletes:
                raise Refused(409, f"It is in use: {text}", "RESOURCE_IN_USE") from None
            raise Refused(400, text) from None
        except EditError as error:
            raise Refused(409, str(error)) from None


def create_app(editor: PolicyEditor) -> FastAPI:
    """The application, to be mounted at `/voipbin/v1.0`."""
    title = "Outbound configs, providers and outplans, as VoIPBIN's API v1.0 has them"
    app = application(title, errors.refusal, errors.HANDLERS)
    api = Voipbin(editor)
    for method, path, handler in (
        ("GET", "/outbound_config", api.own_config),
        ("PUT", "/outbound_config", api.update_own_config),
        ("GET", "/outbound_configs", api.configs),
        ("POST", "/outbound_configs", api.create_config),
        ("GET", "/outbound_configs/{key}", api.config),
        ("PUT", "/outbound_configs/{key}", api.update_config),
        ("DELETE", "/outbound_configs/{key}", api.delete_config),
        ("GET", "/customer", api.own_customer),
        ("GET", "/customers", api.customers),
        ("POST", "/customers", api.create_customer),
        ("GET", "/customers/{key}", api.customer),
        ("GET", "/numbers", api.numbers),
        ("GET", "/providers", api.providers),
        ("POST", "/providers", api.create_provider),
        ("GET", "/providers/{key}", api.provider),
        ("PUT", "/providers/{key}", api.update_provider),
        ("DELETE", "/providers/{key}", api.delete_provider),
        ("GET", "/providercalls", api.provider_calls),
        ("POST", "/providercalls", api.create_provider_call),
        ("GET", "/providercalls/{key}", api.provider_call),
        ("DELETE", "/providercalls/{key}", api.delete_provider_call),
        ("GET", "/outplans", api.outplans),
        ("POST", "/outplans", api.create_outplan),
        ("GET", "/outplans/{key}", api.outplan),
        ("PUT", "/outplans/{key}", api.update_outplan),
        ("PUT", "/outplans/{key}/dial_info", api.update_dial_info),
        ("DELETE", "/outplans/{key}", api.delete_outplan),
    ):
        app.add_api_route(path, handler, methods=[method], response_model=None)
    return app


def _find(document: Document, kind: str, key: str) -> PolicyObject:
    """The object of that id. Raises Refused."""
    one = document.find(kind, key.lower())
    if one is None or one.id != key.lower():
        raise not_found({"accounts": "customer"}.get(kind, kind.removesuffix("s")))
    return one


def _customer(document: Document, key: str) -> PolicyObject:
    return _find(document, "accounts", key)


def _plan(document: Document, key: str, who: Identity) -> PolicyObject:
    one = _find(document, "outplans", key)
    if not who.sees(belongs_to(one)):
        raise not_found("outplan")
    return one


def _configured(document: Document, key: str) -> PolicyObject:
    """The account whose outbound config has that id. Raises Refused."""
    for account in document.list("accounts"):
        if has_config(account) and beside(account)[CONFIG]["id"] == key.lower():
            return account
    raise not_found(_CONFIG)


def _own_account(document: Document, who: Identity) -> PolicyObject:
    """The account of a token for one account, which has an outbound config. Raises Refused."""
    account = None if who.account is None else document.find("accounts", who.account)
    if account is None or account.name != who.account or not has_config(account):
        raise not_found(_CONFIG)
    return account


def _new_config(name: str) -> dict[str, Any]:
    return {"id": new_id(), "name": name, "detail": "", "tm_create": stamp(utc_now()), "tm_update": NEVER}


def _with_names(one: PolicyObject, said: ProviderFields) -> dict[str, Any]:
    names = {field: getattr(said, field) for field in ("name", "detail") if field in said.given}
    return {**one.extra, BESIDE: {**beside(one), **names}}


def _deleted(gone: Resource) -> Resource:
    return {**gone, "tm_delete": stamp(utc_now())}


def _warned(plan: Resource) -> JSONResponse:
    """With a word of warning where seconds seem to be meant."""
    short = [
        f'199 - "{field} is {plan[field]} milliseconds: were seconds meant?"'
        for field in ("dial_timeout", "try_interval")
        if 0 < plan[field] < 1000
    ]
    return JSONResponse(plan, headers={"Warning": ", ".join(short)} if short else None)
