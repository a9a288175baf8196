from __future__ import annotations

import json

import pytest

from config.problem import Finding
from proxy.admin.native.ownership import Forbidden
from proxy.admin.native.refusals import refusal
from proxy.objects.errors import Conflict, EditError, Invalid, ReadOnly, Unknown


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ReadOnly("x"), 409),
        (Conflict("x"), 412),
        (Unknown("trunks", "x"), 404),
        (Invalid([Finding("", "x")]), 422),
        (Forbidden([Finding("", "x")]), 403),
        (EditError("x"), 500),
    ],
)
def test_statuses(error: EditError, status: int) -> None:
    answer = refusal(error)
    assert answer.status_code == status
    assert answer.media_type == "application/problem+json"


@pytest.mark.parametrize(
    ("kind", "name", "path", "pointer"),
    [
        ("trunks", "office", "trunks[office]", ""),
        ("trunks", "office", "trunks[office].provider", "/provider"),
        ("trunks", "office", "trunks[office].dst_prefixes.deny[0]", "/dst_prefixes/deny/0"),
        ("trunks", "office", "trunks[office].tech_headers[X-A/B~C]", "/tech_headers/X-A~1B~0C"),
        ("trunks", "office", "trunks[office2].provider", None),
        ("trunks", "office", "currency", None),
        ("rate_decks", "my.deck", "rate_decks.my.deck.currency", "/currency"),
        ("rate_decks", "my", "rate_decks.my2.currency", None),
    ],
)
def test_pointers(kind: str, name: str, path: str, pointer: str | None) -> None:
    body = json.loads(bytes(refusal(Invalid([Finding(path, "wrong")]), kind, name).body))
    (problem,) = body["problems"]
    assert (problem["path"], problem.get("pointer"), problem["message"]) == (path, pointer, "wrong")
