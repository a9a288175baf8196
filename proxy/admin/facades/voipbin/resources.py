"""VoIPBIN's resources ↔ our objects: what a client reads of them, and their specs after it said something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from proxy.admin.facades.specs import put
from proxy.admin.facades.voipbin.errors import invalid
from proxy.admin.facades.voipbin.fields import NOBODY, DialInfo, OutboundConfigFields, ProviderFields
from proxy.admin.facades.voipbin.listing import NEVER, Resource, stamp
from proxy.objects.document import Document, PolicyObject
from proxy.objects.numbers import numbers_of_account

BESIDE: Final = "voipbin"
"""The facade's part of an object's extra."""
CONFIG: Final = "outbound_config"
"""Within an account's: present when it has an outbound config."""

_NUMBERS: Final = UUID("7a3f2a4e-2f61-4b0f-9f0a-6c1d5b8f6a10")
_COUNTS: Final = tuple(f"max_try_count_{index}" for index in range(5))
_ADDRESS: Final = ("type", "target", "target_name", "name", "detail")


def beside(one: PolicyObject) -> dict[str, Any]:
    """What the facade keeps with an object."""
    return dict(one.extra.get(BESIDE, {}))


# Outbound configs


def has_config(account: PolicyObject) -> bool:
    """Whether it was given one, and has a country rule still: none is not an empty one."""
    return CONFIG in beside(account) and account.spec.get("destination_whitelist") is not None


def outbound_config(account: PolicyObject, document: Document) -> Resource:
    """The outbound config of an account that has one."""
    kept = beside(account)[CONFIG]
    number = account.spec.get("default_did")
    return {
        "id": kept["id"],
        "customer_id": account.id,
        "name": kept["name"],
        "detail": kept["detail"],
        "destination_whitelist": [
            str(code).lower() for code in account.spec.get("destination_whitelist") or ()
        ],
        "codecs": ",".join(account.spec.get("codecs", ())),
        "default_outgoing_source_number_id": str(NOBODY) if number is None else number_id(number),
        "tm_create": kept["tm_create"],
        "tm_update": kept["tm_update"],
        "tm_delete": NEVER,
    }


def configured(
    account: PolicyObject, document: Document, said: OutboundConfigFields
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The account's spec, and the names of its config, after a client said `said`. Raises Refused."""
    spec = dict(account.spec)
    if "destination_whitelist" in said.given:
        spec["destination_whitelist"] = list(dict.fromkeys(said.destination_whitelist))
    if "codecs" in said.given:
        put(spec, "codecs", said.codecs.split(",") if said.codecs else None)
    if "default_outgoing_source_number_id" in said.given:
        put(spec, "default_did", _number(account, document, said.default_outgoing_source_number_id))
    names: dict[str, Any] = {
        field: getattr(said, field) for field in ("name", "detail") if field in said.given
    }
    return spec, names


def _number(account: PolicyObject, document: Document, wanted: UUID) -> str | None:
    if wanted == NOBODY:
        return None
    for number in numbers_of(account, document):
        if number_id(number) == str(wanted):
            return number
    raise invalid("default_outgoing_source_number_id", "is not the id of a number of this customer")


# Numbers


def number_id(number: str) -> str:
    """The id of a number: always the same, made of the number alone."""
    return str(uuid5(_NUMBERS, number))


def numbers_of(account: PolicyObject, document: Document) -> list[str]:
    """The numbers of an account and of its trunks."""
    return sorted(numbers_of_account(document, account.name))


def numbers(accounts: Iterable[PolicyObject], document: Document) -> Iterator[Resource]:
    """The numbers of accounts, given the oldest first. They are as old as their account, but no two were made
    at the same time: lists go by that."""
    made = datetime.min.replace(tzinfo=UTC)
    for account in accounts:
        for number in numbers_of(account, document):
            made = max(account.created_at, made + timedelta(microseconds=1))
            yield {
                "id": number_id(number),
                "customer_id": account.id,
                "number": number,
                "status": "active",
                "tm_create": stamp(made),
                "tm_update": NEVER,
                "tm_delete": NEVER,
            }


# Customers, providers, outplans


def customer(account: PolicyObject) -> Resource:
    return {"id": account.id, **_named(account), **times(account)}


def provider(one: PolicyObject) -> Resource:
    full = one.full
    return {
        "id": one.id,
        "type": "sip",
        "hostname": full["hostname"],
        "tech_prefix": full["tech_prefix"],
        "tech_postfix": full["tech_postfix"],
        "tech_headers": full["tech_headers"],
        "codecs": "",
        **_named(one),
        **times(one),
    }


def provided(spec: Mapping[str, Any], said: ProviderFields) -> dict[str, Any]:
    """A provider's spec after a client said `said`."""
    new = dict(spec)
    for field in ("hostname", "tech_prefix", "tech_postfix", "tech_headers"):
        if field in said.given:
            put(new, field, getattr(said, field) or None)
    return new


def outplan(one: PolicyObject, document: Document) -> Resource:
    full = one.full
    account = document.find("accounts", str(full["account"])) if full["account"] is not None else None
    source = full["source"] or {}
    named = _named(one)
    return {
        "id": one.id,
        "customer_id": str(NOBODY) if account is None else account.id,
        "name": named["name"],
        "detail": full["detail"],
        "source": {field: source.get(field, "") for field in _ADDRESS},
        **{field: int(full[field]) for field in ("dial_timeout", "try_interval", *_COUNTS)},
        **times(one),
    }


def planned(spec: Mapping[str, Any], said: DialInfo) -> dict[str, Any]:
    """An outplan's spec after a client said how it dials."""
    new = dict(spec)
    for field in said.given & {"source", "dial_timeout", "try_interval", *_COUNTS}:
        value = getattr(said, field)
        if field == "source" and value is not None:
            value = {"type": value.type, **value.model_dump(exclude_defaults=True)}
        put(new, field, value)
    return new


def times(one: PolicyObject) -> Resource:
    updated = stamp(one.updated_at) if one.updated_at > one.created_at else NEVER
    return {"tm_create": stamp(one.created_at), "tm_update": updated, "tm_delete": NEVER}


def _named(one: PolicyObject) -> Resource:
    kept = beside(one)
    return {"name": kept.get("name", one.name), "detail": kept.get("detail", "")}
