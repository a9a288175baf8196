"""Which headers a provider's `tech_headers` may add to an INVITE.

A header that the proxy itself sets, or that changes where the call goes or who is billed for it, is reserved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from config.problem import Finding, join
from config.values import show

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")   RFC 3261 §25.1
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_VALUE = 512

_RESERVED = frozenset(
    {
        *("via", "from", "to", "call-id", "cseq", "contact", "route", "record-route", "max-forwards", "path"),
        *(
            "authorization",
            "require",
            "supported",
            "allow",
            "expires",
            "timestamp",
            "event",
            "warning",
            "reason",
        ),
        *(
            "session-expires",
            "min-se",
            "replaces",
            "join",
            "refer-to",
            "referred-by",
            "target-dialog",
            "rack",
            "rseq",
        ),
        *("identity", "p-asserted-identity", "p-preferred-identity", "privacy", "diversion", "history-info"),
        *("mime-version", "service-route", "unsupported", "www-authenticate", "retry-after"),
        *("v", "f", "t", "i", "m", "l", "c", "e", "k", "s", "r", "b", "x", "y", "o", "u", "a", "d", "j", "n"),
    }
)
_RESERVED_PREFIXES = ("content-", "proxy-")


def tech_header_findings(headers: Mapping[str, str], path: str) -> Iterator[Finding]:
    """A problem for every name or value that may not go into an INVITE."""
    seen: dict[str, str] = {}
    for name, value in headers.items():
        below = join(path, name)
        folded = name.lower()
        if _TOKEN.fullmatch(name) is None:
            yield Finding(below, f"{show(name)} is not a header name (RFC 3261 `token`)")
        elif folded in _RESERVED or folded.startswith(_RESERVED_PREFIXES):
            yield Finding(
                below, f"`{name}` is reserved: the proxy sets or judges it; use a name such as `X-{name}`"
            )
        elif folded in seen:
            yield Finding(below, f"is `{seen[folded]}` again: header names have no case")
        seen.setdefault(folded, name)
        if _CONTROL.search(value) is not None:
            yield Finding(below, "has a control character, such as CR or LF, in its value")
        elif len(value) > _MAX_VALUE:
            yield Finding(below, f"has a value of more than {_MAX_VALUE} characters")
