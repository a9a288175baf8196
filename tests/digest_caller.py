"""Answers to Digest challenges, worked out apart from the code under test (RFC 7616 §3.4)."""

from __future__ import annotations

import hashlib
import re

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def challenge_of(value: str) -> dict[str, str]:
    """The parameters of a challenge."""
    assert value.startswith("Digest "), value
    return {name: text.strip('"') for name, text in re.findall(r'(\w+)=("[^"]*"|[^\s,]+)', value[7:])}


def answer(
    challenge: dict[str, str],
    username: str,
    password: str,
    method: str,
    uri: str,
    *,
    count: int = 1,
    qop: str = "auth",
    body: bytes = b"",
    cnonce: str = "0a4f113b",
    **changes: str,
) -> str:
    """The value of Proxy-Authorization. `changes` replace parameters after the answer was worked out."""
    algorithm = challenge["algorithm"]

    def hashed(text: str) -> str:
        return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()

    a1 = hashed(f"{username}:{challenge['realm']}:{password}")
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += ":" + hashlib.new(_HASHES[algorithm], body).hexdigest()
    nc = f"{count:08x}"
    response = hashed(f"{a1}:{challenge['nonce']}:{nc}:{cnonce}:{qop}:{hashed(a2)}")
    params = {
        "username": username, "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": uri,
        "response": response, "algorithm": algorithm, "qop": qop, "nc": nc, "cnonce": cnonce, **changes,
    }  # fmt: skip
    bare = ("algorithm", "qop", "nc")
    return "Digest " + ", ".join(
        f"{name}={text}" if name in bare else f'{name}="{text}"' for name, text in params.items()
    )
