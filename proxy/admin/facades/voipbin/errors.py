"""Errors as VoIPBIN writes them: `{"error": {status, reason, message, request_id}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from proxy.admin.facades.application import Handlers

_OF_STATUS: Final = {
    400: ("INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    401: ("UNAUTHENTICATED", "AUTHENTICATION_REQUIRED"),
    403: ("PERMISSION_DENIED", "PERMISSION_DENIED"),
    404: ("NOT_FOUND", "RESOURCE_NOT_FOUND"),
    405: ("INVALID_ARGUMENT", "METHOD_NOT_ALLOWED"),
    408: ("INVALID_ARGUMENT", "REQUEST_TIMEOUT"),
    409: ("FAILED_PRECONDITION", "FAILED_PRECONDITION"),
    413: ("INVALID_ARGUMENT", "REQUEST_TOO_LARGE"),
    422: ("INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    429: ("RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS"),
    501: ("UNAVAILABLE", "NOT_AVAILABLE"),
    503: ("UNAVAILABLE", "UNAVAILABLE"),
}
_SOME_UUID: Final = "d5fb7357-7ddb-4f2d-87b5-8ccbfd6c039e"


class Refused(Exception):
    """Answered with an error. `kind` and `reason` are VoIPBIN's words; without them the status's own."""

    def __init__(self, status: int, message: str, reason: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind


def not_found(what: str) -> Refused:
    """404 for a resource such as `outbound config`."""
    return Refused(404, f"The {what} was not found.", f"{what.upper().replace(' ', '_')}_NOT_FOUND")


def invalid(field: str, message: str) -> Refused:
    """400 for a field or parameter."""
    return Refused(400, f"{field} {message}".strip())


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error that is of the request as a whole."""
    return _answer(status, detail, "", "", headers)


def _answer(
    status: int, message: str, reason: str, kind: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    own_kind, own_reason = _OF_STATUS.get(status, ("INTERNAL", "INTERNAL"))
    body = {
        "status": kind or own_kind,
        "reason": reason or own_reason,
        "message": message,
        "request_id": str(uuid4()),
    }
    return JSONResponse({"error": body}, status, headers=dict(headers or {}))


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return _answer(error.status, str(error), error.reason, error.kind)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return refusal(400, "; ".join(map(_told, error.errors())))


def _told(entry: Mapping[str, Any]) -> str:
    location, kind = entry["loc"][1:], entry["type"]
    if kind == "json_invalid":
        return "the body is not JSON"
    if not location:
        return "the body must be an object of application/json"
    field = ".".join(map(str, location))
    if kind == "extra_forbidden":
        return f"{field} is not known"
    if kind == "missing":
        return f"{field} is required"
    if kind == "value_error":
        return f"{field} {entry['ctx']['error']}"
    if kind == "tuple_type":
        return f"{field} must be a list"
    if kind == "too_short":
        return f"{field} must not be empty"
    if kind == "too_long":
        return f"{field} has too many items (at most {entry['ctx']['max_length']})"
    if kind.startswith("uuid"):
        return f"{field} must be a UUID such as {_SOME_UUID}"
    text = str(entry["msg"])
    return f"{field} {text[:1].lower()}{text[1:]}"


HANDLERS: Final[Handlers] = {Refused: _refused, RequestValidationError: _validation_error}
"""What `refusal` does not tell."""
