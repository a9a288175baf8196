"""What may stand in credentials and challenges (RFC 7616): user names, realms, algorithms."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from config.values import one_of

_HA1 = re.compile(r"(?:(MD5|SHA-256|SHA-512-256):)?([0-9a-f]{64}|[0-9a-f]{32})")
_MD5_DIGITS = 32
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
    """H(username:realm:password) as it is stored, of one algorithm or of several."""
    if isinstance(value, str):
        ha1s_of(value)
    return value


def ha1s_of(text: str) -> dict[str, str]:
    """The hashes that stand in `text` with spaces between them, by algorithm. Raises ValueError."""
    found: dict[str, str] = {}
    for word in text.split():
        match = _HA1.fullmatch(word)
        named, digits = match.groups() if match is not None else (None, "")
        length = len(digits)
        algorithm = named or ("MD5" if length == _MD5_DIGITS else "SHA-256")
        if match is None or (algorithm == "MD5") != (length == _MD5_DIGITS):
            raise ValueError(
                "must be the 32 (MD5) or 64 (SHA-256) hexadecimal digits of `username:realm:password`, or"
                " `SHA-512-256:` and 64; several with spaces between them"
            )
        if found.setdefault(algorithm, digits) != digits:
            raise ValueError(f"has two hashes of {algorithm}")
    if not found:
        raise ValueError("must not be empty")
    return found


Realm = Annotated[str, BeforeValidator(_quotable)]
Username = Annotated[str, BeforeValidator(_username)]
DigestAlgorithm = Annotated[Literal["SHA-256", "SHA-512-256", "MD5"], one_of("SHA-256", "SHA-512-256", "MD5")]


def some_algorithm(value: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for none."""
    if not value:
        raise ValueError("must name at least one algorithm, such as `SHA-256`")
    return value
