"""Voice OUT trunks as JSON:API resources: what is shown, and what lists may be asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.admin.facades.didww.credentials import Credentials
from proxy.admin.facades.didww.dids import RELATIONSHIPS, Numbers
from proxy.admin.facades.didww.fields import NESTED
from proxy.admin.facades.didww.listing import Kind, Query, Record
from proxy.admin.facades.didww.trunk import attributes, spent_amount
from proxy.admin.facades.spending import Spent
from proxy.objects.document import PolicyObject
from proxy.observe.clock import iso

BESIDE: Final = "didww"
"""The facade's part of an object's extra. What has it was made here; other trunks are not shown, since what
they say may not be sayable in DIDWW's words."""


def trunk_resource(
    one: PolicyObject,
    spent: Spent,
    query: Query,
    base: str,
    *,
    numbers: Numbers,
    version: str,
    shown: Credentials | None,
) -> dict[str, Any]:
    """The resource that a client of API version `version` reads. `base` is the address of this API."""
    wanted = query.fields.get("voice_out_trunks")
    here = f"{base}/voice_out_trunks/{one.id}"
    relationships = {
        name: _relationship(one, name, here, numbers, included=name in query.include)
        for name in RELATIONSHIPS
        if name != "emergency_dids" or version == NESTED
    }
    found = {
        "attributes": _attributes(one, spent, version, shown),
        "relationships": relationships,
    }
    return {
        "id": one.id,
        "type": "voice_out_trunks",
        **{part: _only(fields, wanted) for part, fields in found.items()},
        "meta": {"spent_amount": spent_amount(spent)},
    }


def _attributes(one: PolicyObject, spent: Spent, version: str, shown: Credentials | None) -> dict[str, Any]:
    beside = one.extra[BESIDE]
    return attributes(
        one.full, beside, created_at=iso(one.created_at), spent=spent, shown=shown, version=version
    )


def _relationship(
    one: PolicyObject, name: str, here: str, numbers: Numbers, *, included: bool
) -> dict[str, Any]:
    links = {"self": f"{here}/relationships/{name}", "related": f"{here}/{name}"}
    if not included:
        return {"links": links}
    linkage = [numbers.identifier(number) for number in numbers.related(one, name)]
    return {"links": links, "data": one_or_many(linkage, name)}


def one_or_many(found: list[dict[str, Any]], relationship: str) -> Any:
    """What a relationship leads to, as JSON:API writes it."""
    if relationship == "default_did":
        return found[0] if found else None
    return found


def included(
    page: Iterable[PolicyObject], query: Query, base: str, numbers: Numbers
) -> list[dict[str, Any]] | None:
    """The resources that the trunks of an answer lead to, each once; None when none was asked for."""
    if not query.include:
        return None
    found = dict.fromkeys(
        number for one in page for name in sorted(query.include) for number in numbers.related(one, name)
    )
    return [numbers.resource(number, base) for number in found]


def _only(fields: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """The sparse fieldset."""
    return fields if wanted is None else {key: fields[key] for key in fields if key in wanted}


# Lists


def trunk_record(one: PolicyObject, spent: Spent, numbers: Numbers) -> Record:
    """What filters and sorting look at."""
    return {
        **_attributes(one, spent, NESTED, None),
        "id": one.id,
        "at": one.created_at,
        "default_did": next(map(numbers.id_of, numbers.related(one, "default_did")), None),
        "object": one,
    }


def _method(record: Record) -> Any:
    return record["authentication_method"]["type"]


def _field(name: str) -> Any:
    return lambda record: record[name]


_NAMES: Final = (
    "id", "name", "status", "on_cli_mismatch_action", "threshold_reached", "default_dst_action",
    "media_encryption_mode", "allow_any_did_as_cli", "external_reference_id",
)  # fmt: skip
_FIELDS: Final = frozenset(
    {
        "name", "status", "external_reference_id", "capacity_limit", "allow_any_did_as_cli",
        "on_cli_mismatch_action", "default_dst_action", "dst_prefixes", "media_encryption_mode",
        "allowed_rtp_ips", "force_symmetric_rtp", "rtp_ping", "rtp_timeout", "threshold_amount",
        "callback_url", "emergency_enable_all", "created_at", "threshold_reached",
        "authentication_method", "allowed_sip_ips", "username", "password", *RELATIONSHIPS,
    }
)  # fmt: skip
_FILTERS: Final[Mapping[str, Any]] = {
    **{name: _field(name) for name in _NAMES},
    "name_contains": _field("name"),
    "authentication_method.type": _method,
    "default_did.id": _field("default_did"),
}
_SORTS: Final[Mapping[str, Any]] = {
    "created_at": _field("at"),
    **{
        name: _field(name)
        for name in ("name", "allow_any_did_as_cli", "external_reference_id", "threshold_reached")
    },
}

TRUNKS: Final = Kind("voice_out_trunks", _FILTERS, _SORTS, frozenset(RELATIONSHIPS), _FIELDS)
