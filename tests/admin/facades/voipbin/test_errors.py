"""What is wrong with a body, in words."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.admin.facades.voipbin.fields import NOBODY, OutboundConfigFields
from tests.admin.facades.stage import ask

API = "/voipbin/v1.0"
ID = "11111111-1111-1111-1111-111111111111"
TARGET = {"type": "tel", "target": "+12025550123"}


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/providercalls", {"provider_id": ID, "destinations": []}, "destinations must not be empty"),
        (
            "/providercalls",
            {"provider_id": ID, "destinations": 101 * [TARGET]},
            "destinations has too many items (at most 100)",
        ),
        (
            "/providercalls",
            {"provider_id": "x", "destinations": [TARGET]},
            "provider_id must be a UUID such as",
        ),
        ("/outbound_configs", {}, "customer_id is required"),
        ("/outbound_configs", {"customer_id": None}, "customer_id must be a UUID such as"),
        ("/outplans", {"colour": "red"}, "colour is not known"),
    ],
    ids=["none", "many", "no-uuid", "missing", "null", "unknown"],
)
async def test_a_body_is_refused_in_words(path: str, body: dict[str, Any], text: str) -> None:
    answer = await ask("POST", f"{API}{path}", body, **{"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["message"].startswith(text)


def test_null_is_the_nil_uuid() -> None:
    said = OutboundConfigFields.model_validate({"default_outgoing_source_number_id": None})
    assert said.default_outgoing_source_number_id == NOBODY
    assert said.given == {"default_outgoing_source_number_id"}
