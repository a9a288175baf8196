from __future__ import annotations

import json

import pytest

from policy.rating.money import amount
from proxy.admin.problems import problem


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (-1, "-0.000001"),
        (100_000_000, "100.00"),
        (1_500_000, "1.50"),
        (1_234_560, "1.23456"),
        (-2_500_000, "-2.50"),
        (2**53 + 1, "9007199254.740993"),
    ],
)
def test_amounts_are_exact(micro: int, text: str) -> None:
    assert amount(micro) == text


@pytest.mark.parametrize(
    ("status", "title"), [(413, "Content Too Large"), (422, "Unprocessable Content"), (404, "Not Found")]
)
def test_titles_are_the_phrases_of_rfc_9110(status: int, title: str) -> None:
    """RFC 9457 §4.2.1; on whatever Python."""
    assert json.loads(bytes(problem(status, "x").body))["title"] == title


def test_a_problem() -> None:
    response = problem(404, "no such trunk: x", headers={"X-A": "b"}, hint="y")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-a"] == "b"
    assert json.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no such trunk: x",
        "hint": "y",
    }
