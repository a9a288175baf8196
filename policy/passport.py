"""PASSporTs: who calls whom, signed (RFC 8224, RFC 8225; `shaken`, RFC 8588; `div`, RFC 8946).

Pure: keys and certificates are given, and so is the time. Always the full form, which `shaken` and `div`
want.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

FRESH_SECONDS: Final = 60
"""How old a PASSporT may be, and how far our clocks may differ (RFC 8224 §12.1)."""
MOST_PASSPORTS: Final = 8
"""More are not verified one by one: each costs a signature."""

_ES256: Final = ec.ECDSA(SHA256())
_HALF: Final = 32
_LONGEST: Final = 8192

# signed-identity-digest SEMI ident-info *( SEMI ident-info-params ) (RFC 8224 §4); the compact form has
# nothing between its full stops
_IDENTITY: Final = re.compile(
    r"[ \t]*+([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]*+)\.([A-Za-z0-9_-]++)[ \t]*+;(.*+)", re.DOTALL
)
_INFO: Final = re.compile(r"(?:\A|;)[ \t]*+info[ \t]*+=[ \t]*+<([^<>]*+)>", re.IGNORECASE)


class Signer:
    """Signs with a P-256 key (ES256) for the certificate at `x5u`, which is valid from `starts` to `ends`
    (seconds since 1970)."""

    __slots__ = ("_ends", "_info", "_key", "_starts", "_x5u")

    def __init__(self, key: ec.EllipticCurvePrivateKey, x5u: str, starts: float, ends: float) -> None:
        self._key = key
        self._x5u = json.dumps(x5u)
        self._info = f";info=<{x5u}>;alg=ES256;ppt="
        self._starts = starts
        self._ends = ends

    def may_sign(self, iat: int) -> bool:
        """Whether the certificate is valid then."""
        return self._starts <= iat <= self._ends

    def shaken(self, attest: str, orig: str, dest: str, origid: str, iat: int) -> bytes:
        """The value of an Identity header: `orig` calls `dest`, both digits alone. `attest`: A, B or C.
        `origid`: a UUID. `iat`: seconds since 1970."""
        return self._sign(
            "shaken",
            f'{{"attest":"{attest}","dest":{{"tn":["{dest}"]}},"iat":{iat},'
            f'"orig":{{"tn":"{orig}"}},"origid":"{origid}"}}',
        )

    def div(self, orig: str, diverting: str, dest: str, iat: int) -> bytes:
        """The same for a call to `diverting` that went on to `dest` from there."""
        return self._sign(
            "div",
            f'{{"dest":{{"tn":["{dest}"]}},"div":{{"tn":"{diverting}"}},"iat":{iat},"orig":{{"tn":"{orig}"}}}}',
        )

    def _sign(self, ppt: str, payload: str) -> bytes:
        head = f'{{"alg":"ES256","ppt":"{ppt}","typ":"passport","x5u":{self._x5u}}}'
        signed = _encoded(head.encode()) + b"." + _encoded(payload.encode())
        r, s = decode_dss_signature(self._key.sign(signed, _ES256))
        signature = _encoded(r.to_bytes(_HALF) + s.to_bytes(_HALF))
        return signed + b"." + signature + self._info.encode() + ppt.encode()


@dataclass(frozen=True, slots=True)
class Trusted:
    """A certificate whose signatures are believed, from `starts` to `ends` (seconds since 1970)."""

    key: ec.EllipticCurvePublicKey
    starts: float
    ends: float


class _Unfit(Exception):
    """Why a PASSporT is not believed, in words for an operator."""


class Verifier:
    """Believes what the `trusted` certificates signed, by the address (x5u) at which they are published.
    Nothing is ever fetched: a caller could send us anywhere."""

    __slots__ = ("_trusted",)

    def __init__(self, trusted: Mapping[str, Trusted]) -> None:
        self._trusted = trusted

    def fault(self, identities: Sequence[str], orig: str, dests: Collection[str], now: int) -> str | None:
        """Why the Identity values do not vouch for a call of `orig` to one of `dests` (digits alone); None:
        they do. `now`: seconds since 1970.

        There must be a `shaken` of this caller to one of `dests`, or to whom a chain of `div` leads back
        (RFC 8946 §7). Other kinds are left out of account; a `shaken` or `div` that does not hold is a fault,
        whatever else there is.
        """
        if len(identities) > MOST_PASSPORTS:
            return "too many Identity headers"
        try:
            found = [self._read(identity, orig, now) for identity in identities]
        except _Unfit as error:
            return str(error)
        passports = [passport for passport in found if passport is not None]
        reached = set(dests)
        for _ in passports:
            for ppt, to, diverting in passports:
                if ppt == "div" and not reached.isdisjoint(to):
                    reached.add(diverting)
        if any(ppt == "shaken" and not reached.isdisjoint(to) for ppt, to, _ in passports):
            return None
        return "no Identity is of a call to this number" if passports else "no Identity of the kind shaken"

    def _read(self, identity: str, orig: str, now: int) -> tuple[str, frozenset[str], str] | None:
        """(ppt, the called numbers, the diverting number) of one that holds; None: of a kind unknown here.
        Raises _Unfit."""
        match = _IDENTITY.fullmatch(identity) if len(identity) <= _LONGEST else None
        if match is None:
            raise _Unfit("an Identity that cannot be read")
        head, payload, signature, params = match.groups()
        header = _object(head)
        ppt, x5u = header.get("ppt"), header.get("x5u")
        if ppt not in ("shaken", "div"):
            return None
        info = _INFO.search(params)
        if header.get("alg") != "ES256" or header.get("typ") != "passport" or not payload:
            raise _Unfit("an Identity that is no full PASSporT signed with ES256")
        trusted = self._trusted.get(x5u) if isinstance(x5u, str) else None
        if trusted is None or info is None or info.group(1) != x5u:
            raise _Unfit("an Identity of a certificate that is not trusted")
        if not trusted.starts <= now <= trusted.ends:
            raise _Unfit("an Identity of a certificate that is not valid now")
        raw = _decoded(signature)
        if len(raw) != 2 * _HALF:
            raise _Unfit("an Identity whose signature does not hold")
        der = encode_dss_signature(int.from_bytes(raw[:_HALF]), int.from_bytes(raw[_HALF:]))
        try:
            trusted.key.verify(der, f"{head}.{payload}".encode("ascii"), _ES256)
        except InvalidSignature:
            raise _Unfit("an Identity whose signature does not hold") from None
        return ppt, *_claims(ppt, _object(payload), orig, now)


def _claims(ppt: str, claims: dict[str, Any], orig: str, now: int) -> tuple[frozenset[str], str]:
    iat = claims.get("iat")
    if not isinstance(iat, int) or abs(now - iat) > FRESH_SECONDS:
        raise _Unfit("an Identity that is not of now")
    if _member(claims, "orig").get("tn") != orig:
        raise _Unfit("an Identity of another caller")
    numbers = _member(claims, "dest").get("tn")
    diverting = _member(claims, "div").get("tn")
    if not isinstance(numbers, list) or (ppt == "div" and not isinstance(diverting, str)):
        raise _Unfit("an Identity that names no number")
    if ppt == "shaken" and claims.get("attest") not in ("A", "B", "C"):
        raise _Unfit("an Identity that attests nothing")
    return frozenset(number for number in numbers if isinstance(number, str)), str(diverting)


def _member(claims: dict[str, Any], name: str) -> dict[str, Any]:
    found = claims.get(name)
    return found if isinstance(found, dict) else {}


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise _Unfit("an Identity that cannot be read") from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _Unfit("an Identity that cannot be read")
    return found
