"""What may stand in credentials and challenges (RFC 7616): user names, realms, algorithms."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from config.values import one_of

# What needs no escape between the quotes of a header.
_QUOTABLE = re.compile(r'[^\x00-\x1f\x7f"\\]{1,64}')


def _quotable(value: Any) -> Any:
    if isinstance(value, str) and _QUOTABLE.fullmatch(value) is None:
        raise ValueError("must be 1 to 64 characters without quotes, backslashes and control characters")
    return value


def _username(value: Any) -> Any:
    if isinstance(value, str) and ":" in value:
        raise ValueError("cannot have a colon, which ends the user name in a digest")
    return _quotable(value)


def stored_ha1(value: Any) -> Any:
    """H(username:realm:password) as it is stored."""
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", value) is None:
        raise ValueError(
            "must be the 32 (MD5) or 64 (SHA-256) hexadecimal digits of `username:realm:password`"
        )
    return value


Realm = Annotated[str, BeforeValidator(_quotable)]
Username = Annotated[str, BeforeValidator(_username)]
DigestAlgorithm = Annotated[Literal["SHA-256", "SHA-512-256", "MD5"], one_of("SHA-256", "SHA-512-256", "MD5")]


def some_algorithm(value: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for none."""
    if not value:
        raise ValueError("must name at least one algorithm, such as `SHA-256`")
    return value
