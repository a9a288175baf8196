"""The login of a trunk: drawn here and shown in one answer; what is stored of it is its HA1."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import Final

_LETTERS: Final = string.ascii_lowercase + string.digits
_USERNAME_LENGTH: Final = 10
_PASSWORD_LENGTH: Final = 24
"""124 bits: nobody guesses it, also not from an HA1."""
MASKED_PASSWORD: Final = "********"


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str = field(repr=False)

    @classmethod
    def drawn(cls) -> Credentials:
        return cls(_drawn(_USERNAME_LENGTH), _drawn(_PASSWORD_LENGTH))


def masked(username: str) -> str:
    """`euc*******`: enough to tell one from another."""
    return username[:3] + "*" * max(len(username) - 3, 3)


def _drawn(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
