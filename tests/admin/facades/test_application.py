"""What every facade does alike when a request fails on the way."""

from __future__ import annotations

import httpx
import pytest
from fastapi import HTTPException

from proxy.admin.control_protocol import INTERNAL, ControlError, ControlLost
from proxy.admin.facades.application import Refusal, application
from proxy.admin.facades.didww import jsonapi
from proxy.admin.facades.telnyx import errors as telnyx_errors
from proxy.admin.facades.voipbin import errors as voipbin_errors
from proxy.ledger.ledger import LedgerUnavailable
from tests.admin.facades.stage import ask


class Odd(Exception):
    """The carrier has a form of its own for this."""


async def answer_to(error: Exception, refusal: Refusal) -> httpx.Response:
    async def fails() -> None:
        raise error

    own = {Odd: lambda _, error: refusal(418, f"odd: {error}", None)}
    app = application("A carrier", refusal, own)
    app.add_api_route("/a", fails)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        return await client.get("/a")


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (LedgerUnavailable("timeout", "no answer"), 503, "no answer"),
        (ControlLost("it is gone"), 503, "it is gone"),
        (ControlError(INTERNAL, "it cannot"), 503, "it cannot"),
        (HTTPException(405, "not like this"), 405, "not like this"),
        (ValueError("a secret"), 500, "an error of this program"),
        (Odd("indeed"), 418, "odd: indeed"),
    ],
    ids=["ledger", "control-lost", "control-error", "http", "unexpected", "own"],
)
@pytest.mark.parametrize(
    "refusal",
    [jsonapi.refusal, telnyx_errors.refusal, voipbin_errors.refusal],
    ids=["didww", "telnyx", "voipbin"],
)
async def test_errors_are_told_as_the_carrier_tells_them(
    refusal: Refusal, error: Exception, status: int, text: str
) -> None:
    answer = await answer_to(error, refusal)
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert answer.json().keys() <= {"errors", "error"}
    assert "a secret" not in answer.text
    assert answer.headers.get("retry-after") == ("2" if status == 503 else None)


async def test_headers_go_along() -> None:
    error = HTTPException(401, "who is it?", {"WWW-Authenticate": "Bearer"})
    answer = await answer_to(error, jsonapi.refusal)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/didww/v3/voice_out_trunks", "GET, HEAD, POST"),
        ("/didww/v3/voice_out_trunks/x", "DELETE, GET, HEAD, PATCH"),
        ("/didww/v3/voice_out_trunk_regenerate_credentials", "POST"),
        ("/telnyx/v2/outbound_voice_profiles", "GET, HEAD, POST"),
        ("/telnyx/v2/outbound_voice_profiles/x", "DELETE, GET, HEAD, PATCH"),
        ("/voipbin/v1.0/outbound_config", "GET, HEAD, PUT"),
        ("/voipbin/v1.0/outplans/x", "DELETE, GET, HEAD, PUT"),
        ("/voipbin/v1.0/outplans/x/dial_info", "PUT"),
    ],
)
async def test_other_methods_are_told_what_there_is(path: str, methods: str) -> None:
    answer = await ask("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert "INTERNAL" not in answer.text
    assert "nexpected" not in answer.text


async def test_there_are_no_pages() -> None:
    app = application("A carrier", jsonapi.refusal, {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        for path in ("/docs", "/redoc"):
            answer = await client.get(path)
            assert (answer.status_code, "errors" in answer.json()) == (404, True)
