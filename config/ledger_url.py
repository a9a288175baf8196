"""The form of `ledger.url`. Messages never quote it: it may hold a password."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from config.address import split_host_port

_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
_WRITE_AS: Final = {
    "redis": "redis://host:port/database",
    "rediss": "rediss://host:port/database",
    "unix": "unix:///path/of/the/socket",
    "redis+sentinel": "redis+sentinel://host:port,host:port/service/database",
    "redis+cluster": "redis+cluster://host:port,host:port",
}


def ledger_url(value: Any) -> str:
    """`embedded`, or where a server is. Raises ValueError."""
    if value == "embedded":
        return "embedded"
    scheme = value.partition("://")[0] if isinstance(value, str) and "://" in value else ""
    if scheme not in _SCHEMES:
        known = ", ".join(f"`{scheme}://`" for scheme in _SCHEMES)
        raise ValueError(f"must be `embedded` or begin with one of {known}")
    if not _well_formed(scheme, str(value)):
        raise ValueError(f"must have the form `{_WRITE_AS[scheme]}`; no database is database 0")
    return str(value)


def _well_formed(scheme: str, url: str) -> bool:
    try:
        parts = urlsplit(url)
        databases = parse_qs(parts.query).get("db", [])
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if scheme != "unix":
            for host in hosts:
                split_host_port(host)
    except ValueError:
        return False
    path = parts.path.strip("/").split("/")
    if scheme == "unix":
        return len(parts.path) > 1 and all(map(_is_number, databases))
    if scheme == "redis+sentinel":
        service, *rest = path
        return bool(service) and len(rest) < 2 and all(map(_is_number, rest))
    if scheme == "redis+cluster":
        return path in ([""], ["0"])
    given = [] if path == [""] else path
    return len(hosts) == 1 and len(given) < 2 and all(map(_is_number, [*given, *databases]))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
