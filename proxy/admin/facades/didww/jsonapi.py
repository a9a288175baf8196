"""JSON:API as DIDWW speaks it: documents, and errors with its codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from proxy.admin.facades.application import Handlers

MEDIA_TYPE: Final = "application/vnd.api+json"

# Codes of DIDWW's server; an HTTP status where there is none of its own.
INVALID = "100"
INVALID_RESOURCE = "101"
FILTER_NOT_ALLOWED = "102"
INVALID_FIELD = "104"
PARAM_NOT_ALLOWED = "105"
PARAM_MISSING = "106"
KEY_NOT_IN_URL = "110"
INVALID_INCLUDE = "112"
INVALID_SORT = "114"
INVALID_PAGE_VALUE = "118"
NOT_FOUND = "404"

_TITLES: Final = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Record not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request entity too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}
RELATIONSHIPS: Final = ("default_did", "dids", "emergency_dids", "voice_out_trunk")
_TAGS: Final = frozenset({"ip_only", "credentials_and_ip", "twilio"})


class Answer(JSONResponse):
    media_type = MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of an error document."""

    status: int
    code: str
    title: str
    detail: str
    pointer: str | None = None

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"title": self.title, "detail": self.detail, "code": self.code}
        if self.pointer is not None:
            body["source"] = {"pointer": self.pointer}
        return {**body, "status": str(self.status)}


class Refused(Exception):
    """Answered with an error document."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].detail)
        self.faults = faults


def invalid(attribute: str, message: str) -> Fault:
    """422 for an attribute or relationship."""
    place = "relationships" if attribute in RELATIONSHIPS else "attributes"
    return Fault(422, INVALID, message, f"{attribute} - {message}", f"/data/{place}/{attribute}")


def not_found(key: str) -> Fault:
    return Fault(404, NOT_FOUND, "Record not found", f"The record identified by {key} could not be found.")


def not_allowed(parameter: str) -> Fault:
    return Fault(400, PARAM_NOT_ALLOWED, "Param not allowed", f"{parameter} is not allowed.")


def errors(faults: Iterable[Fault], headers: Mapping[str, str] | None = None) -> Answer:
    """The answer that says them; its status is that of the first."""
    entries = list(faults)
    content = {"errors": [fault.document() for fault in entries]}
    return Answer(content, entries[0].status, headers=dict(headers or {}))


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error that is of the request as a whole."""
    return errors([Fault(status, str(status), _TITLES.get(status, "Error"), detail)], headers)


def _refused(_: Request, error: Exception) -> Answer:
    assert isinstance(error, Refused)
    return errors(error.faults)


def _validation_error(request: Request, error: Exception) -> Answer:
    assert isinstance(error, RequestValidationError)
    if media_type(request) != MEDIA_TYPE:
        return refusal(415, f"requests must have the media type {MEDIA_TYPE}")
    faults = [_fault(entry) for entry in error.errors()]
    malformed = [fault for fault in faults if fault.status == 400]
    return errors(malformed or faults)


def _fault(entry: Mapping[str, Any]) -> Fault:
    location, kind = entry["loc"][1:], entry["type"]
    path = [str(part) for part in location if part not in _TAGS]
    last = path[-1] if path else ""
    if kind == "extra_forbidden":
        return not_allowed(last)
    if kind == "json_invalid":
        return Fault(400, "400", "Bad request", "the body is not JSON")
    if path[-1:] == ["type"] and "attributes" not in path:
        return Fault(400, INVALID_RESOURCE, "Invalid resource", f"{last} is not that of this resource.")
    if kind == "missing" and "attributes" not in path[:-1]:
        return Fault(400, PARAM_MISSING, "Missing Parameter", f"The required parameter, {last}, is missing.")
    message = str(entry["ctx"]["error"]) if kind == "value_error" else _plain(entry)
    if path[:2] in (["data", "attributes"], ["data", "relationships"]) and len(path) > 2:
        return invalid(path[2], message)
    return Fault(400, "400", "Bad request", f"{'.'.join(path) or 'the body'} {message}")


def _plain(entry: Mapping[str, Any]) -> str:
    if entry["type"] == "too_long":
        return f"has too many items (maximum is {entry['ctx']['max_length']})"
    if entry["type"] == "tuple_type":
        return "must be a list"
    if entry["type"].startswith("union_tag"):
        return "must have a type: credentials_and_ip or ip_only"
    text = str(entry["msg"])
    return text[:1].lower() + text[1:]


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


HANDLERS: Final[Handlers] = {Refused: _refused, RequestValidationError: _validation_error}
"""What `refusal` does not tell."""
