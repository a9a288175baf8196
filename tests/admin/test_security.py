from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from proxy.admin import security
from proxy.admin.security import MAX_BODY, Guard
from proxy.observe.tasks import TaskKeeper
from tests.admin.stage import Stage

TOKEN = "a-long-and-random-token"


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


EVERY_ROUTE = [
    ("GET", "/"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/trunks"),
    ("GET", "/v1/trunks/office/usage"),
    ("GET", "/v1/calls"),
    ("DELETE", "/v1/calls/ref"),
    ("DELETE", "/v1/calls?trunk=office"),
    ("GET", "/v1/decisions"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/reload"),
    ("GET", "/v1/policy"),
    ("GET", "/v1/tokens"),
    ("POST", "/v1/tokens"),
    ("GET", "/v1/tokens/one"),
    ("DELETE", "/v1/tokens/one"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/callback_secret"),
    ("GET", "/didww/v3/voice_out_trunks"),
    ("POST", "/telnyx/v2/outbound_voice_profiles"),
    ("GET", "/nowhere"),
    ("POST", "/healthz"),
    ("DELETE", "/metrics"),
    ("PUT", "/readyz"),
    ("OPTIONS", "/v1/calls"),
    ("TRACE", "/"),
    ("GET", "/healthz/"),
    ("GET", "//metrics"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
@pytest.mark.parametrize("header", [None, "Bearer wrong", _basic("admin:wrong")])
async def test_without_the_token_nothing_is_done(
    stage: Stage, method: str, path: str, header: str | None
) -> None:
    async with stage.with_token(TOKEN) as http:
        answer = await http.request(method, path, headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    # Two lines: of one with both challenges Chromium reads the first, and asks its user for nothing.
    challenges = answer.headers.get_list("www-authenticate")
    assert [challenge.partition(" ")[0] for challenge in challenges] == ["Bearer", "Basic"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert stage.ledger.hung_up == []
    assert stage.target.version == "v1"


async def test_no_route_of_the_application_is_forgotten(stage: Stage) -> None:
    """Whatever is described, and all that is mounted, wants a token first."""
    routes = {
        (method, re.sub(r"\{[^}]*\}", "x", path))
        for path, operations in stage.app.openapi()["paths"].items()
        for method in (*operations, "get", "put", "post", "patch", "delete", "head", "options")
        if path not in ("/healthz", "/readyz", "/metrics")
    }
    assert len(routes) > 100
    async with stage.with_token(TOKEN) as http:
        for method, path in sorted(routes):
            answer = await http.request(method, path)
            assert answer.status_code == 401, (method, path)
        for path in ("/docs", "/docs/swagger-ui-bundle.js", "/didww/v3/x", "/telnyx/v2/x", "/voipbin/v1.0/x"):
            assert (await http.get(path)).status_code == 401
    for method, path in sorted(routes):
        answer = await stage.http.request(method, path, headers={"Host": "rebound.evil.example"})
        assert answer.status_code == 403, (method, path)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_and_metrics_need_no_token(stage: Stage, method: str, path: str) -> None:
    async with stage.with_token(TOKEN) as http:
        assert (await http.request(method, path)).status_code == 200


async def test_head_is_get(stage: Stage) -> None:
    """RFC 9110 §9.1: whoever has GET has HEAD. The server leaves the body out."""
    async with stage.with_token(TOKEN) as http:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for path, status in (("/v1/policy", 200), ("/", 200), ("/v1/reload", 405), ("/v1/nothing", 404)):
            answer = await http.head(path, headers=bearer)
            assert (answer.status_code, (await http.get(path, headers=bearer)).status_code) == (
                status,
                status,
            )
        assert (await http.head("/v1/policy")).status_code == 401


async def test_with_the_token_the_host_does_not_matter(stage: Stage) -> None:
    async with stage.with_token(TOKEN) as http:
        for header in (f"Bearer {TOKEN}", _basic(f"me:{TOKEN}")):
            answer = await http.get("/v1/policy", headers={"Authorization": header, "Host": "proxy.example"})
            assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/v1/policy", "/healthz", "/metrics", "/"])
async def test_without_a_token_a_foreign_name_reaches_nothing(stage: Stage, path: str) -> None:
    answer = await stage.http.get(path, headers={"Host": "rebound.evil.example:8080"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/reload"), ("DELETE", "/v1/calls?trunk=office")])
async def test_a_foreign_page_changes_nothing(
    stage: Stage, method: str, path: str, headers: dict[str, str]
) -> None:
    assert (await stage.http.request(method, path, headers=headers)).status_code == 403
    async with stage.with_token(TOKEN) as http:
        browser = {**headers, "Authorization": _basic(f"me:{TOKEN}")}
        assert (await http.request(method, path, headers=browser)).status_code == 403
    assert stage.target.version == "v1"
    assert stage.ledger.hung_up == []


async def test_our_own_page_and_no_page_may(stage: Stage) -> None:
    own = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert (await stage.http.post("/v1/reload", headers=own)).status_code == 200
    assert (await stage.http.post("/v1/reload")).status_code == 200


async def test_a_doubled_header_is_refused(stage: Stage) -> None:
    answer = await stage.http.get("/healthz", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 400


async def test_answers_are_not_kept_or_framed(stage: Stage) -> None:
    answer = await stage.http.get("/")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_bounded(stage: Stage, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    content = pieces() if chunked else b" " * (MAX_BODY + 1)
    answer = await stage.http.post("/v1/explain", content=content)
    assert answer.status_code == 413
    assert stage.target.explained == []


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 13, "٣"])
async def test_a_strange_length_is_refused(stage: Stage, length: str) -> None:
    headers = [(b"host", b"localhost"), (b"content-length", length.encode())]
    answer = await stage.http.post("/v1/reload", headers=headers)
    assert answer.status_code == 413


async def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(security, "BODY_SECONDS", 0.02)
    called = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal called
        called = True

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    transport = httpx.ASGITransport(Guard(app, None))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.post("/v1/explain", content=pieces())
    assert answer.status_code == 408
    assert not called


async def _say_path(scope: Scope, _: Receive, send: Send) -> None:
    host = dict(scope["headers"])[b"host"]
    body = b" ".join((scope["path"].encode(), host))
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _serving(guard: Guard) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(guard, http="h11", lifespan="off", log_config=None, ws="none"))
    listener = socket.create_server(("127.0.0.1", 0))
    running = TaskKeeper().start(server.serve([listener]), name="server")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def _ask(port: int, head: str, body: str = "") -> tuple[str, str]:
    """What the server says until it closes: the status and the rest of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\n\r\n{body}".encode())
    async with asyncio.timeout(30):
        answer = (await reader.read()).decode()
    writer.close()
    return answer.split()[1], answer.partition("\r\n\r\n")[2]


async def test_a_target_in_absolute_form_is_its_path() -> None:
    """RFC 9112 §3.2.2: of two hosts the one in the target counts."""
    async with _serving(Guard(_say_path, None)) as port:
        for target, host, status, said in (
            ("http://127.0.0.1:1/v1/calls?limit=3", "127.0.0.1:1", "200", "/v1/calls 127.0.0.1:1"),
            ("HTTP://LocalHost/a%2Fb", "localhost", "200", "/a/b LocalHost"),
            ("http://[::1]", "[::1]", "200", "/ [::1]"),
            ("http://localhost?x=http://evil/", "evil.example", "200", "/ localhost"),
            ("/http://localhost/", "localhost", "200", "/http://localhost/ localhost"),
        ):
            answer = await _ask(port, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close")
            assert answer == (status, said)
        for target in ("http://evil.example/", "http://localhost@evil.example/", "http:///", "http://"):
            refused = await _ask(port, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close")
            assert refused[0] == "403"


async def test_a_body_of_two_lengths_is_refused_and_nothing_after_it_is_read() -> None:
    """RFC 9112 §6.1: it may be meant to smuggle a request past somebody in between."""
    async with _serving(Guard(_say_path, None)) as port:
        head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
        status, rest = await _ask(port, head, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == "400"
        assert "smuggled" not in rest
