"""Errors as Telnyx writes them: its codes, and the part of the request that is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from proxy.admin.facades.application import Handlers

MISSING = "10004"
NOT_FOUND = "10005"
BAD_REQUEST = "10015"
IN_USE = "10021"
_UNEXPECTED = "10007"

_OF_STATUS: Final = {
    400: (BAD_REQUEST, "Bad Request"),
    401: ("10009", "Authentication failed"),
    403: ("10010", "Authorization failed"),
    404: (NOT_FOUND, "Resource not found"),
    405: (BAD_REQUEST, "Method not allowed"),
    409: ("10010", "Authorization failed"),
    415: ("10014", "Unsupported Media Type"),
    422: (BAD_REQUEST, "Bad Request"),
    429: ("10011", "Too many requests"),
}
_MORE: Final = "https://developers.telnyx.com/docs/overview/errors/"


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of an error document. `source` is a JSON pointer into the body, or a parameter's name."""

    status: int
    code: str
    title: str
    detail: str
    source: Mapping[str, str] | None = None

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self.code, "title": self.title, "detail": self.detail}
        if self.source is not None:
            body["source"] = dict(self.source)
        return {**body, "meta": {"url": f"{_MORE}{self.code}"}}


class Refused(Exception):
    """Answered with an error document."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].detail)
        self.faults = faults


def invalid(field: str, message: str, code: str = BAD_REQUEST) -> Fault:
    """422 for a field of the body; without one, for all of it."""
    title = "Missing required parameter" if code == MISSING else "Bad Request"
    detail = f"{field} {message}".strip()
    return Fault(422, code, title, detail, {"pointer": f"/{field}"} if field else None)


def bad_parameter(name: str, message: str) -> Fault:
    return Fault(400, BAD_REQUEST, "Bad Request", f"{name} {message}", {"parameter": name})


def not_found() -> Fault:
    return Fault(404, NOT_FOUND, "Resource not found", "The requested resource or URL could not be found.")


def errors(faults: Iterable[Fault], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says them; its status is that of the first."""
    entries = list(faults)
    content = {"errors": [fault.document() for fault in entries]}
    return JSONResponse(content, entries[0].status, headers=dict(headers or {}))


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error that is of the request as a whole."""
    code, title = _OF_STATUS.get(status, (_UNEXPECTED, "Unexpected error"))
    return errors([Fault(status, code, title, detail)], headers)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return errors(error.faults)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return errors(map(_fault, error.errors()))


def _fault(entry: Mapping[str, Any]) -> Fault:
    location, kind = entry["loc"][1:], entry["type"]
    if kind == "json_invalid":
        return Fault(400, "10023", "Invalid JSON", "the body is not JSON")
    if not location:
        return Fault(400, BAD_REQUEST, "Bad Request", "the body must be an object of application/json")
    field = "/".join(map(str, location))
    if kind == "extra_forbidden":
        return invalid(field, "is not a field of an outbound voice profile")
    if kind == "value_error":
        return invalid(field, str(entry["ctx"]["error"]))
    if kind == "too_long":
        return invalid(field, f"has too many items (at most {entry['ctx']['max_length']})")
    if kind == "tuple_type":
        return invalid(field, "must be a list")
    text = str(entry["msg"])
    return invalid(field, text[:1].lower() + text[1:])


HANDLERS: Final[Handlers] = {Refused: _refused, RequestValidationError: _validation_error}
"""What `refusal` does not tell."""
