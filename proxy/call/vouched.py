"""What the proxy vouches for: the Identity headers (RFC 8224) with which an admitted call leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from policy.cli import IdentityHeader
from proxy.call.privacy import NOTHING, wants_privacy

if TYPE_CHECKING:
    from policy.compiled import Provider
    from proxy.call.session import CallSession
    from proxy.sip.message import Header, SipRequest

# A Date that is further away than this is not the call's (RFC 8224 §6.1).
_ACCURATE_SECONDS = 60
_IDENTITY = frozenset({b"identity"})
_DATE = frozenset({b"date"})


def vouch(session: CallSession, provider: Provider) -> tuple[frozenset[bytes], list[Header]]:
    """Which headers of the INVITE stay here, and which are added. Signed once for all tries of a call.

    Nothing is vouched for, and no Identity passed on, where the caller wants to stay unknown to a provider
    outside of the trust domain: the number is in it.
    """
    caller, trunk = session.verdict.cli, session.verdict.trunk
    rules = None if trunk is None else trunk.cli
    if caller is None or rules is None:
        return NOTHING, []
    if not provider.trusted and wants_privacy(session.request):
        return _IDENTITY, []
    drop = _IDENTITY if caller.replaced or rules.identity is IdentityHeader.REMOVE else NOTHING
    if rules.vouching is None or rules.vouching.signer is None:
        return drop, []
    if session.vouched is None:
        session.vouched = _signed(session)
    lines = session.vouched
    return (drop | _DATE if any(name == b"date" for name, _ in lines) else drop), lines


def _signed(session: CallSession) -> list[Header]:
    caller, trunk, called = session.verdict.cli, session.verdict.trunk, session.verdict.called
    if caller is None or trunk is None or called is None or trunk.cli is None or trunk.cli.vouching is None:
        return []
    rules, signer = trunk.cli, trunk.cli.vouching.signer
    number = caller.told(session.ref)
    iat = session.attempt.at_ms // 1000
    if signer is None or number is None or not signer.may_sign(iat):
        return []
    orig, dest, diverting = number[1:], called[1:], caller.diverted_by
    lines: list[Header] = []
    if not caller.verified:
        first = dest if diverting is None else diverting[1:]
        value = signer.shaken(caller.attestation.value, orig, first, rules.origid, iat)
        lines.append((b"identity", b"Identity: " + value))
    if diverting is not None:
        lines.append((b"identity", b"Identity: " + signer.div(orig, diverting[1:], dest, iat)))
    if lines and not _dated(session.request, iat):
        lines.append((b"date", _date_line(iat)))
    return lines


@lru_cache(maxsize=4)
def _date_line(iat: int) -> bytes:
    return b"Date: " + format_datetime(datetime.fromtimestamp(iat, UTC), usegmt=True).encode("ascii")


def _dated(request: SipRequest, iat: int) -> bool:
    """Whether the request says when it was made, and that was now."""
    value = request.first(b"date")
    if value is None:
        return False
    try:
        said = parsedate_to_datetime(value.decode("latin-1"))
        return abs(said.timestamp() - iat) <= _ACCURATE_SECONDS
    except (ValueError, OverflowError, OSError):
        return False
