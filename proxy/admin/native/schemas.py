"""The OpenAPI 3.1 description of the native API: schemas made from the configuration's own models, and an
example for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from config.objects import MASK, MODELS, SECRETS
from proxy.admin.native.requests import MOST_ITEMS
from proxy.objects.errors import singular

_SHOWN_ONLY: Final = ("id", "created_at", "updated_at")
_ID: Final = "2f9f6a86-5d0e-4a53-8f2e-5c2f0f6f7f10"
_AT: Final = "2025-03-01T12:00:00.000Z"

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "accounts": {"name": "acme", "destination_whitelist": ["US", "GB"], "threshold_amount": "500.00"},
    "profiles": {
        "name": "office",
        "destination_whitelist": ["US", "CA"],
        "concurrent_call_limit": 10,
        "daily_spend_limit": "100.00",
        "daily_spend_limit_enabled": True,
    },
    "trunks": {
        "name": "office-pbx",
        "account": "acme",
        "provider": "carrier-a",
        "allowed_sip_ips": ["192.0.2.10/32"],
        "destination_whitelist": ["US", "GB"],
        "dst_prefixes": {"allow": [], "deny": ["+449"]},
        "capacity_limit": 30,
        "threshold_amount": "100.00",
        "rate_deck": "retail",
    },
    "providers": {"name": "carrier-a", "hostname": "sip.carrier-a.example", "capacity_limit": 200},
    "rate_decks": {"name": "retail", "sha256": 64 * "0", "currency": "USD"},
    "dids": {"name": "london-desk", "number": "+442071838750", "account": "acme", "trunk": "office-pbx"},
    "outplans": {"name": "insistent", "account": "acme", "dial_timeout": 30000, "max_try_count_0": 3},
}

IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "example": '"5f0c3a9e1b7d5f0c3a9e1b7d5f0c3a9e"',
    "description": "Entity tags of the object: 412 when it has another one by now.",
}

PROBLEM: Final = {
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "problems": {
            "description": "All that is wrong with a policy that was refused. `pointer` (RFC 6901) leads into"
            " the body that was sent, where the problem is there.",
            "type": "array",
            "items": {},
        },
    },
    "example": {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "trunks[office-pbx].provider: there is no provider `carrier-z`",
        "problems": [
            {
                "path": "trunks[office-pbx].provider",
                "pointer": "/provider",
                "message": "there is no provider `carrier-z`",
            }
        ],
    },
}


def filters_of(kind: str) -> tuple[str, ...]:
    """The query parameters that choose objects of a kind."""
    fields = MODELS[kind].model_fields
    return (
        "name",
        *(
            field
            for field in ("account", "status", "profile", "provider", "trunk", "number")
            if field in fields
        ),
    )


def schema_name(kind: str) -> str:
    """Of one object of the kind."""
    return singular(kind).title().replace(" ", "")


def list_parameters(kind: str) -> list[dict[str, Any]]:
    """`limit`, `cursor`, and the filters of a kind."""
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": MOST_ITEMS}
    found = [
        _parameter("limit", limit, "How many at most."),
        _parameter("cursor", {"type": "string"}, "The `next_cursor` of the page before."),
    ]
    texts = [(field, f"Only those whose `{field}` is this.") for field in filters_of(kind)]
    return found + [_parameter(field, {"type": "string"}, text) for field, text in texts]


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def body(kind: str, what: str) -> dict[str, Any]:
    """The body of a request that creates, replaces or patches."""
    patch = what == "patch"
    name = schema_name(kind) + {"create": "New", "replace": "Spec", "patch": "Patch"}[what]
    example = {"name": EXAMPLES[kind]["name"]} if patch else EXAMPLES[kind]
    content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": example}
    kinds = ("application/merge-patch+json", "application/json") if patch else ("application/json",)
    return {"required": True, "content": dict.fromkeys(kinds, content)}


def answer(kind: str, operation: str) -> dict[str, Any]:
    """What a request is answered with when it succeeds."""
    if operation == "delete":
        return {"description": "It is gone."}
    object_schema = {"$ref": f"#/components/schemas/{schema_name(kind)}"}
    example: Any = {"id": _ID, **EXAMPLES[kind], "created_at": _AT, "updated_at": _AT}
    schema: dict[str, Any] = object_schema
    if operation == "list":
        schema = {
            "type": "object",
            "required": [kind, "next_cursor"],
            "properties": {
                kind: {"type": "array", "items": object_schema},
                "next_cursor": {"type": ["string", "null"]},
            },
        }
        example = {kind: [example], "next_cursor": None}
    found: dict[str, Any] = {
        "description": "What is there now.",
        "content": {"application/json": {"schema": schema, "example": example}},
    }
    if operation != "list":
        found["headers"] = {"ETag": {"schema": {"type": "string"}}}
    return found


@cache
def components() -> dict[str, Any]:
    """The schemas that these refer to, by name."""
    found: dict[str, Any] = {"Problem": PROBLEM}
    for kind, model in MODELS.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, part in schema.pop("$defs", {}).items():
            found[name] = _open(part)
        name = schema_name(kind)
        properties = {"name": {"type": "string"}} | schema["properties"]
        plain = {key: _open(value) for key, value in properties.items()}
        description = schema.get("description", "")
        base = {"type": "object", "additionalProperties": False, "description": description}
        found[name + "New"] = {**base, "properties": plain, "required": schema.get("required", ["name"])}
        given_back = {key: {"type": "string"} for key in _SHOWN_ONLY}
        found[name + "Spec"] = {**base, "properties": plain | given_back}
        patch = {key: {"anyOf": [value, {"type": "null"}]} for key, value in plain.items() if key != "name"}
        found[name + "Patch"] = {**base, "properties": {"name": plain["name"]} | patch | given_back}
        shown = {key: _masked(key, value) for key, value in plain.items()}
        found[name] = {
            "type": "object",
            "description": description,
            "properties": {"id": {"type": "string", "format": "uuid"}, **shown}
            | {key: {"type": "string", "format": "date-time"} for key in _SHOWN_ONLY[1:]},
            "required": ["id", "name", "created_at", "updated_at"],
        }
    return found


def _open(schema: Any) -> Any:
    """Numbers and truth values may be written as text as well, as in the configuration file."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open(value) for key, value in schema.items() if key != "title"}
    if opened.get("type") in ("integer", "boolean", "number"):
        opened["type"] = [opened["type"], "string"]
    if opened.get("format") in ("path", "ipv4network", "ipv6network"):
        del opened["format"]
    return opened


def _masked(key: str, schema: Any) -> Any:
    if key not in SECRETS:
        return schema
    return {"type": ["string", "null"], "description": f"`{MASK}` where there is one."}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of the whole application."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title,
            version=app.version,
            summary="Admission of SIP calls: the policy, live calls, what was spent.",
            routes=app.routes,
        )
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(components())
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
        }
        for path, operations in found["paths"].items():
            for operation in operations.values():
                _complete(operation, secured=path not in ("/healthz", "/readyz", "/metrics"))
        app.openapi_schema = found
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, secured: bool) -> None:
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "It was not done, and why.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if secured:
        operation["security"] = [{"bearer": []}, {"basic": []}]
