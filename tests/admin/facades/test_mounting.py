"""Refusals before a facade is reached are in its words."""

from __future__ import annotations

import json

import pytest

from proxy.admin.facades.mounting import facade_refusal


@pytest.mark.parametrize("path", ["/didww/v3/voice_out_trunks", "/didww/v3"])
def test_didww(path: str) -> None:
    answer = facade_refusal(path, 401, "a token is needed", {"WWW-Authenticate": "Bearer"})
    assert answer is not None
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert json.loads(bytes(answer.body)) == {
        "errors": [{"title": "Unauthorized", "detail": "a token is needed", "code": "401", "status": "401"}]
    }


def test_telnyx() -> None:
    answer = facade_refusal("/telnyx/v2/outbound_voice_profiles", 429, "wait", {"Retry-After": "3"})
    assert answer is not None
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    (entry,) = json.loads(bytes(answer.body))["errors"]
    assert (entry["code"], entry["title"], entry["detail"]) == ("10011", "Too many requests", "wait")


def test_voipbin() -> None:
    answer = facade_refusal("/voipbin/v1.0/outbound_config", 401, "a token is needed")
    assert answer is not None
    error = json.loads(bytes(answer.body))["error"]
    assert (answer.status_code, error["status"], error["message"]) == (
        401, "UNAUTHENTICATED", "a token is needed",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/trunks", "/didww/v30", "/", "/telnyx"])
def test_what_is_no_facade(path: str) -> None:
    assert facade_refusal(path, 401, "no") is None
