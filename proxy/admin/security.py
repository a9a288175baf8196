"""Who may speak to the HTTP API, and how much they may say."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.admin.access.audit import Audit
from proxy.admin.access.credentials import Ambiguous, shown
from proxy.admin.access.door import Denied, Door, Find
from proxy.admin.access.pace import Pace
from proxy.admin.loopback import host_is_loopback
from proxy.admin.problems import ledger_unavailable, problem
from proxy.ledger.ledger import LedgerUnavailable
from proxy.observe.logs import Sampler

_log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
MAX_UPLOAD = 64 * 1024 * 1024
BODY_SECONDS = 10.0

_OPEN = {(method, path) for method in ("GET", "HEAD") for path in ("/healthz", "/readyz", "/metrics")}
_OPEN_ALWAYS = {("GET", "/healthz"), ("HEAD", "/healthz")}
_SAFE_METHODS = ("GET", "HEAD")
_REFUSALS = frozenset({401, 403, 429})
_CALLS = "/v1/calls"
_ONLY_ASKING = {("POST", "/v1/explain")}
_TOO_LARGE = "the body is too large"
_NOT_ARRIVED = "the body did not arrive"
_CLOSE = {"Connection": "close"}
# In a line of its own: of two challenges in one, Chromium reads the first, and asks its user for nothing.
_FOR_BROWSERS = 'Basic realm="trunkwarden", charset="UTF-8"'
_ABSOLUTE = re.compile(r"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_UPLOAD = re.compile(r"/v1/rate_decks/[^/]+/rows")

# The dashboard is the only page; its own script and style are named by their hashes there.
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


Refuse = Callable[[str, int, str, Mapping[str, str]], Response | None]
"""Of a path, a status, a text and headers."""


class Guard:
    """Stands before the application.

    With a configured token, everything but reading `/healthz`, `/readyz` and `/metrics` needs a token, that
    one or one of the ledger's. Without (a loopback listener) the Host header must name this machine, so that
    no foreign page can reach the API under a name of its own. Whatever changes something must not come from a
    page of another origin: browsers send credentials, and requests to this machine, on behalf of any page.
    HEAD reaches the application as GET. Bodies are bounded in size and time. The application finds who asks
    in the state of the request (`identity_of`), and no token in its query. What is refused or changed is told
    to the audit.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        *,
        find: Find | None = None,
        audit: Audit | None = None,
        closed: bool = False,
        refuse: Refuse | None = None,
    ) -> None:
        """`find` looks up the tokens of the ledger. closed: `/readyz` and `/metrics` need a token, too.
        `refuse` gives the answer to who is not let in where a path has words of its own for it."""
        self._app = app
        self._door = Door(token, find)
        self._audit = audit
        self._open = _OPEN_ALWAYS if closed else _OPEN
        self._sampler = Sampler()
        self._pace = Pace()
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = _single_headers(scope)
        try:
            if headers is None:
                raise Denied(400, "a header that may stand once stands twice", {})
            if "transfer-encoding" in headers and "content-length" in headers:  # RFC 9112 §6.1
                raise Denied(400, "Transfer-Encoding and Content-Length stand side by side", _CLOSE)
            scope = _with_path(scope, headers)
            scope = await self._let_in(scope, headers)
            self._check_pace(scope)
            if (scope["method"], scope["path"]) not in self._open:  # nobody reads the bodies of those
                receive = await _bounded(scope, headers, receive)
        except Denied as denied:
            if denied.status in _REFUSALS:
                self._refused(denied.status, scope)
            answer = None
            if self._refuse is not None:
                answer = self._refuse(scope["path"], denied.status, str(denied), denied.headers)
            answer = answer or problem(denied.status, str(denied), headers=denied.headers)
            if denied.status == 401:
                answer.headers.append("WWW-Authenticate", _FOR_BROWSERS)
            await answer(scope, receive, send)
            return
        except LedgerUnavailable as error:
            await ledger_unavailable(str(error))(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server sends no body for it (RFC 9110 §9.3.2)
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, self._watching(scope, send))

    async def _let_in(self, scope: Scope, headers: Mapping[str, str]) -> Scope:
        """The scope with who asks in its state, and without the token in its query. Raises Denied."""
        method, path, host = scope["method"], scope["path"], headers.get("host", "")
        if not self._door.needs_token and not host_is_loopback(host):
            raise Denied(
                403, "without a token this API answers to loopback names only, such as localhost", {}
            )
        if (method, path) not in self._open:
            try:
                token, query = shown(path, headers, scope["query_string"])
            except Ambiguous as error:
                raise Denied(400, str(error), {}) from None
            now = asyncio.get_running_loop().time()
            identity = await self._door.identify(token, _source(scope), now)
            state = {**scope.get("state", {}), "identity": identity}
            scope = {**scope, "state": state, "query_string": query}
        if method not in _SAFE_METHODS and not _same_origin(headers, scope["scheme"], host):
            raise Denied(403, "a page of another origin may not change anything here", {})
        return scope

    def _check_pace(self, scope: Scope) -> None:
        """Ending calls changes no policy. Raises Denied."""
        who = scope.get("state", {}).get("identity")
        if who is None or who.account is None or not _changes(scope) or scope["path"].startswith(_CALLS):
            return
        wait = self._pace.wait(who.account, asyncio.get_running_loop().time())
        if wait > 0:
            text = "this account has changed too much in a short time"
            raise Denied(429, text, {"Retry-After": str(math.ceil(wait))})

    def _watching(self, scope: Scope, send: Send) -> Send:
        """Tells the audit what became of a request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                if status in _REFUSALS:
                    self._refused(status, scope)
                elif status < 400 and self._audit is not None and _changes(scope):
                    who = scope["state"]["identity"]
                    self._audit.changed(who, _source(scope), scope["method"], _target(scope), status)
            await send(message)

        return sending

    def _refused(self, status: int, scope: Scope) -> None:
        now, source = asyncio.get_running_loop().time(), _source(scope)
        kept_back = self._sampler.admit(str(status), now)
        if kept_back is not None:
            _log.warning("HTTP request refused with %d from %s (%d more before)", status, source, kept_back)
        if self._audit is not None:
            who = scope.get("state", {}).get("identity")
            self._audit.refused(who, source, scope["method"], _target(scope), status, now)


def _source(scope: Scope) -> str:
    """The address of the peer."""
    return str((scope.get("client") or ("?",))[0])


def _changes(scope: Scope) -> bool:
    return scope["method"] not in _SAFE_METHODS and (scope["method"], scope["path"]) not in _ONLY_ASKING


def _target(scope: Scope) -> str:
    """What a request is about; of its query only whose calls end, for anything may stand there."""
    path = str(scope["path"])
    if (scope["method"], path) == ("DELETE", "/v1/calls"):
        trunks = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=10).get("trunk", [])
        return f"{path}?trunk={trunks[0]}" if trunks else path
    return path


def _same_origin(headers: Mapping[str, str], scheme: str, host: str) -> bool:
    """No browser's page, or one of ours: Origin (RFC 6454) and Sec-Fetch-Site, where they are sent, say
    so."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"{scheme}://{host}".lower()


_ONCE = frozenset(
    ("host", "authorization", "api-key", "origin", "sec-fetch-site", "content-length", "transfer-encoding")
)


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


def _with_path(scope: Scope, headers: dict[str, str]) -> Scope:
    """A target in absolute form as the path in it. What it says of the host counts, and what Host says does
    not (RFC 9112 §3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(scope["raw_path"].decode("latin-1"))
    if absolute is None:
        return scope
    headers["host"], path = absolute[1], absolute[2] or "/"
    others = [header for header in scope["headers"] if header[0] != b"host"]
    return {
        **scope,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "headers": [(b"host", absolute[1].encode("latin-1")), *others],
    }


async def _bounded(scope: Scope, headers: Mapping[str, str], receive: Receive) -> Receive:
    """What gives the application the body: whole and read already, or as it comes where it may be large.
    Raises Denied."""
    upload = scope["method"] == "PUT" and _UPLOAD.fullmatch(scope["path"]) is not None
    most = MAX_UPLOAD if upload else MAX_BODY
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > most:
        raise Denied(413, _TOO_LARGE, _CLOSE)
    if upload:
        return _counting(receive, most)
    body = bytearray()
    counted = _counting(receive, most)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await counted()
                if message["type"] != "http.request":
                    raise Denied(400, _NOT_ARRIVED, _CLOSE)  # nobody will read this
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    return _replay(bytes(body), receive)
    except HTTPException as error:
        raise Denied(error.status_code, error.detail, _CLOSE) from None
    except TimeoutError:
        raise Denied(408, _NOT_ARRIVED, _CLOSE) from None


def _counting(receive: Receive, most: int) -> Receive:
    """HTTPException 413 or 408 to whoever reads more than `most` bytes, or waits too long for the next."""
    left, ended = most, False

    async def counting() -> Message:
        nonlocal left, ended
        try:
            async with asyncio.timeout(None if ended else BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, _NOT_ARRIVED, headers=_CLOSE) from None
        ended = not message.get("more_body", False)
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _TOO_LARGE, headers=_CLOSE)
        return message

    return counting


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
