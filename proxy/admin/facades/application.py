"""What the applications of all facades have in common: no pages of their own, and every error told as their
carrier tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.datastructures import Default
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from proxy.admin.control_protocol import ControlError, ControlLost
from proxy.admin.problems import allow
from proxy.ledger.ledger import LedgerUnavailable

Refusal = Callable[[int, str, Mapping[str, str] | None], Response]
"""Status, text and headers → the answer to a request that is refused as a whole."""
Handlers = Mapping[type[Exception], Callable[[Request, Exception], Response]]

_RETRY_SECONDS: Final = "2"


def application(
    title: str,
    refusal: Refusal,
    handlers: Handlers,
    answer: type[Response] = Default(JSONResponse),
) -> FastAPI:
    """An application that answers with `answer`. `handlers` are of the errors that the carrier tells in a
    form of their own; all others are told by `refusal`."""

    def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = error.headers
        if error.status_code == 405:
            headers = {"Allow": allow(_methods(app, request))}
        return refusal(error.status_code, str(error.detail), headers)

    def unavailable(_: Request, error: Exception) -> Response:
        return refusal(503, str(error), {"Retry-After": _RETRY_SECONDS})

    def unexpected(_: Request, error: Exception) -> Response:
        return refusal(500, "an error of this program; its log says more", None)

    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=answer,
    )
    app.add_exception_handler(HTTPException, http_error)
    for kind in (LedgerUnavailable, ControlLost, ControlError):
        app.add_exception_handler(kind, unavailable)
    app.add_exception_handler(Exception, unexpected)
    for special, handler in handlers.items():
        app.add_exception_handler(special, handler)
    return app


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Those of all routes that the path of a request has."""
    routes = (route for route in app.routes if isinstance(route, Route))
    there = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in there for method in route.methods or ()}
