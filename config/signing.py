"""What the files of `stir` hold, once they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True)
class Believed:
    """A public key, and the times between which it is."""

    key: ec.EllipticCurvePublicKey
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class StirFiles:
    """What the files hold. key: None where nothing is signed; `own` is then None, too. trusted: by x5u."""

    key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)
    own: Believed | None = None
    trusted: dict[str, Believed] = field(default_factory=dict)
