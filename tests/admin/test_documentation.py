"""The page to try the API from, as a browser without any other host loads it."""

from __future__ import annotations

import re

from tests.admin.stage import Stage


async def test_everything_on_it_is_ours(stage: Stage) -> None:
    page = await stage.http.get("/docs")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert [path for path in loaded if not path.startswith(("/docs/", "data:"))] == []
    assert "<script>" not in page.text
    for path in (path for path in loaded if path.startswith("/docs/")):
        answer = await stage.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        expected = "text/css" if path.endswith(".css") else "text/javascript"
        assert answer.headers["content-type"].startswith(expected)
        assert len(answer.content) > 100
    assert (await stage.http.get("/docs/favicon.png")).status_code == 404


async def test_what_it_shows(stage: Stage) -> None:
    described = (await stage.http.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"]["default"], (method, path)
            if path.startswith("/v1/") and method in ("post", "put", "patch"):
                bodies = operation.get("requestBody", {}).get("content", {})
                for media, body in bodies.items():
                    schema = body["schema"].get("$ref", "").rpartition("/")[2]
                    examples = described["components"]["schemas"].get(schema, {})
                    assert "example" in body or "example" in examples or "examples" in examples, (path, media)
