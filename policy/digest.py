"""Digest authentication's arithmetic (RFC 7616 §3.4, RFC 8760), and who may log in. Passwords are not kept:
H(username:realm:password), called HA1, does as well."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


HASHES: Final[Mapping[str, Callable[[bytes], str]]] = {
    "SHA-256": _sha256,
    "SHA-512-256": _sha512_256,
    "MD5": _md5,
}
"""Algorithm of a challenge → its hash, as hexadecimal digits."""


def ha1(algorithm: str, username: str, realm: str, password: str) -> bytes:
    """What stands for the password in every answer to a challenge of this realm."""
    return HASHES[algorithm](f"{username}:{realm}:{password}".encode()).encode()


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody's credentials: `ha1s` by algorithm; those that are not known are not there."""

    username: str
    realm: str
    ha1s: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of_password(cls, username: str, realm: str, password: str) -> Login:
        """With the HA1 of every algorithm."""
        return cls(username, realm, {name: ha1(name, username, realm, password) for name in HASHES})


def response(
    algorithm: str,
    ha1: bytes,
    method: bytes,
    uri: bytes,
    nonce: bytes,
    body: bytes,
    qop: bytes = b"",
    count: bytes = b"",
    cnonce: bytes = b"",
) -> bytes:
    """The answer to a challenge: with `qop` (`auth`, or `auth-int`, which covers `body`) `count` (`nc`) and
    `cnonce` stand in it; without, it is that of RFC 2069."""
    hashed = HASHES[algorithm]
    request = method + b":" + uri
    if qop == b"auth-int":
        request += b":" + hashed(body).encode()
    second = hashed(request).encode()
    middle = [nonce, count, cnonce, qop] if qop else [nonce]
    return hashed(b":".join([ha1, *middle, second])).encode()
