"""Nonces that need no store: when they were made, signed for whom.

Any instance that has the key can say of a nonce whether one of them made it for this address, and when. That
it was not used before is for who counts calls to say (ADR 30).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

LIFETIME_SECONDS: Final = 60
"""How old a nonce may be that is answered."""
SKEW_SECONDS: Final = 30
"""How far the clocks of two instances may lie apart."""

NONCE_MEMORY_SECONDS: Final = LIFETIME_SECONDS + 2 * SKEW_SECONDS
"""How long the use of a nonce is remembered: until no instance takes it any more."""

_TIME_BYTES: Final = 4
_SALT_BYTES: Final = 6
_MAC_BYTES: Final = 14
_FORM: Final = re.compile(rb"[A-Za-z0-9_-]{32}")


class Nonces:
    """Makes and checks nonces. `key` is shared by all instances; `clock` gives wall time in milliseconds."""

    __slots__ = ("_clock", "_key")

    def __init__(self, key: bytes, clock: Callable[[], int]) -> None:
        self._key = hashlib.blake2b(key, digest_size=32, person=b"tw digest nonce").digest()
        self._clock = clock

    def make(self, source: str, context: bytes) -> bytes:
        """A nonce for `source`. Copies of one request have one `context` (such as its branch), and get the
        same nonce within one second; others get others."""
        at = (self._clock() // 1000).to_bytes(_TIME_BYTES, "big")
        salt = hashlib.blake2b(at + context, key=self._key, digest_size=_SALT_BYTES).digest()
        return base64.urlsafe_b64encode(at + salt + self._mac(at + salt, source))

    def fresh(self, nonce: bytes, source: str) -> bool:
        """Whether the nonce is one of ours, made for `source`, and not too old."""
        if _FORM.fullmatch(nonce) is None:
            return False
        raw = base64.urlsafe_b64decode(nonce)
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        age = self._clock() // 1000 - int.from_bytes(signed[:_TIME_BYTES], "big")
        return -SKEW_SECONDS <= age <= LIFETIME_SECONDS and compare_digest(self._mac(signed, source), mac)

    def _mac(self, signed: bytes, source: str) -> bytes:
        return hashlib.blake2b(signed + source.encode(), key=self._key, digest_size=_MAC_BYTES).digest()
