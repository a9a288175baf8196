"""Errors of the HTTP API as problem details (RFC 9457), and amounts as decimal strings."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from proxy.admin.control_protocol import INVALID, LEDGER, ControlError, ControlLost
from proxy.ledger.ledger import LedgerUnavailable

_RETRY_SECONDS = "2"
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Of RFC 9110, where HTTPStatus has the older ones before Python 3.13."""


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> JSONResponse:
    """A response that says what went wrong; `extra` are extension members of the problem."""
    title = _PHRASES.get(status) or HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse({**body, **extra}, status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(LedgerUnavailable, _ledger_unavailable)
    app.add_exception_handler(ControlError, _control_error)
    app.add_exception_handler(ControlLost, _control_lost)
    app.add_exception_handler(Exception, _unexpected)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    if error.status_code == 405:
        headers = _allowed(request) or headers
    return problem(error.status_code, str(error.detail), headers=headers)


def allow(methods: Iterable[str]) -> str:
    """Allow of a path with these methods (RFC 9110 §10.2.1). The guard makes GET of HEAD."""
    found = set(methods)
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


def _allowed(request: Request) -> dict[str, str] | None:
    """Allow with all methods of the path (RFC 9110 §15.5.6), which several routes may share; None: it is not
    described."""
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].fullmatch(request.scope["path"]):
            return {"Allow": allow(method.upper() for method in operations)}
    return None


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if any(isinstance(entry["input"], bytes) for entry in error.errors()):  # it was not read as JSON
        return problem(415, "the body must be application/json")
    errors = [
        {"where": ".".join(map(str, entry["loc"])), "message": entry["msg"]} for entry in error.errors()
    ]
    detail = "; ".join(f"{entry['where']}: {entry['message']}" for entry in errors)
    return problem(422, detail, errors=errors)


def ledger_unavailable(message: str) -> JSONResponse:
    """503: the ledger did not answer; what it holds is not known."""
    return problem(503, f"the ledger is unavailable: {message}", headers={"Retry-After": _RETRY_SECONDS})


def _ledger_unavailable(_: Request, error: Exception) -> JSONResponse:
    return ledger_unavailable(str(error))


def _control_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ControlError)
    if error.kind == LEDGER:
        return ledger_unavailable(str(error))
    return problem(422 if error.kind == INVALID else 500, str(error))


def _control_lost(_: Request, error: Exception) -> JSONResponse:
    return problem(503, str(error), headers={"Retry-After": _RETRY_SECONDS})


def _unexpected(_: Request, __: Exception) -> JSONResponse:
    return problem(500, "this is a defect; the log says more")
