"""Where callers put their token: each of the interfaces has its own habits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_plus

_DIDWW = "/didww/"
_VOIPBIN = "/voipbin/"
_IN_QUERY = frozenset({"token", "accesskey"})


class Ambiguous(Exception):
    """There is more than one token in the request."""


def shown(path: str, headers: Mapping[str, str], query: bytes) -> tuple[str | None, bytes]:
    """The token in a request, and the query string without it, which is fit to be passed on.

    A token stands in Authorization, as a bearer token (RFC 6750) or as the password of Basic (RFC 7617, what
    a browser can ask its user for); below /didww/ in `Api-Key` too, below /voipbin/ in the query as `token`
    or `accesskey`. An empty text is something that was shown and cannot be read. Raises Ambiguous.
    """
    found: list[str] = []
    if "authorization" in headers:
        found.append(_from_authorization(headers["authorization"]))
    if path.startswith(_DIDWW) and "api-key" in headers:
        found.append(_text(headers["api-key"].encode("latin-1", "replace")))
    if path.startswith(_VOIPBIN):
        kept = []
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if _plain(name) in _IN_QUERY:
                found.append(_plain(value))
            else:
                kept.append(part)
        query = b"&".join(kept)
    if len(found) > 1:
        raise Ambiguous("the request carries more than one token")
    return (found[0] if found else None), query


def _from_authorization(header: str) -> str:
    scheme, _, credentials = header.strip().partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer":
        return _text(credentials.encode("latin-1", "replace"))
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return _text(decoded.partition(b":")[2])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _plain(data: bytes) -> str:
    return unquote_plus(data.decode("latin-1"))
