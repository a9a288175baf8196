"""Who may speak to the HTTP API, and how much they may say."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
from collections.abc import Mapping
from hashlib import sha256

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.admin.access.identity import everything
from proxy.admin.loopback import host_is_loopback
from proxy.admin.problems import problem
from proxy.observe.logs import Sampler

_log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
BODY_SECONDS = 10.0

_OPEN = {(method, path) for method in ("GET", "HEAD") for path in ("/healthz", "/readyz", "/metrics")}
_SAFE_METHODS = ("GET", "HEAD")
_CHALLENGE = 'Bearer realm="trunkwarden", Basic realm="trunkwarden", charset="UTF-8"'
_CONFIGURED = everything("admin.token")
_LOCAL = everything("loopback")

# The dashboard is the only page; its own script and style are named by their hashes there.
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def token_matches(authorization: str, digest: bytes) -> bool:
    """Whether an Authorization header carries the token with this SHA-256 digest: as a bearer token (RFC
    6750), or as the password of Basic (RFC 7617), which is what a browser can ask its user for. In constant
    time."""
    scheme, _, credentials = authorization.strip().partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer":
        given = credentials.encode("latin-1", "replace")
    elif scheme.lower() == "basic":
        try:
            given = base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
    else:
        return False
    return hmac.compare_digest(sha256(given).digest(), digest)


class Guard:
    """Stands before the application.

    With a token, everything but reading `/healthz`, `/readyz` and `/metrics` needs it. Without one (a
    loopback listener) the Host header must name this machine, so that no foreign page can reach the API
    under a name of its own. Whatever changes something must not come from a page of another origin:
    browsers send credentials, and requests to this machine, on behalf of any page. Bodies are bounded in
    size and time. The application finds who asks in the state of the request (`identity_of`).
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._digest = None if token is None else sha256(token.encode()).digest()
        self._sampler = Sampler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = _single_headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, detail = refusal
            extra = {"WWW-Authenticate": _CHALLENGE} if status == 401 else None
            self._log_refusal(status, scope)
            await problem(status, detail, headers=extra)(scope, receive, send)
            return
        body = await _read_body(headers or {}, receive)
        if isinstance(body, int):
            detail = "the body is too large" if body == 413 else "the body did not arrive"
            await problem(body, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        if (scope["method"], scope["path"]) not in _OPEN:
            identity = _LOCAL if self._digest is None else _CONFIGURED
            scope = {**scope, "state": {**scope.get("state", {}), "identity": identity}}
        await self._app(scope, _replay(body, receive), send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str] | None) -> tuple[int, str] | None:
        if headers is None:
            return 400, "a header that may stand once stands twice"
        method, path, host = scope["method"], scope["path"], headers.get("host", "")
        if self._digest is None:
            if not host_is_loopback(host):
                return 403, "without a token this API answers to loopback names only, such as localhost"
        elif (method, path) not in _OPEN and not token_matches(
            headers.get("authorization", ""), self._digest
        ):
            return 401, "a token is needed: Authorization: Bearer …"
        if method not in _SAFE_METHODS and not _same_origin(headers, scope["scheme"], host):
            return 403, "a page of another origin may not change anything here"
        return None

    def _log_refusal(self, status: int, scope: Scope) -> None:
        kept_back = self._sampler.admit(str(status), asyncio.get_running_loop().time())
        if kept_back is not None:
            peer = (scope.get("client") or ("?",))[0]
            _log.warning("HTTP request refused with %d from %s (%d more before)", status, peer, kept_back)


def _same_origin(headers: Mapping[str, str], scheme: str, host: str) -> bool:
    """No browser's page, or one of ours: Origin (RFC 6454) and Sec-Fetch-Site, where they are sent, say
    so."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"{scheme}://{host}".lower()


_ONCE = frozenset(("host", "authorization", "origin", "sec-fetch-site", "content-length"))


def _single_headers(scope: Scope) -> dict[str, str] | None:
    """The headers that are looked at; None when one of them stands twice."""
    found: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1")
        if name in _ONCE:
            if name in found:
                return None
            found[name] = value.decode("latin-1").strip()
    return found


async def _read_body(headers: Mapping[str, str], receive: Receive) -> bytes | int:
    """The whole body, or the status that refuses it."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > MAX_BODY:
        return 413
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400  # the peer is gone: nobody will read this
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return 413
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return 408


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            named = {name.lower() for name, _ in message.get("headers", [])}
            added = [header for header in _HEADERS if header[0] not in named]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending
