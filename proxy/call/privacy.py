"""Who is told the asserted identity of the other side (RFC 3325 §5, §7 to §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.sip.headers import split_list

if TYPE_CHECKING:
    from proxy.call.session import CallSession
    from proxy.sip.message import SipMessage

IDENTITY_HEADERS = frozenset({b"p-asserted-identity", b"p-preferred-identity", b"remote-party-id"})
NOTHING: frozenset[bytes] = frozenset()
# A PASSporT has the number in it (RFC 8225 §5.2.1).
_WITH_NUMBERS = IDENTITY_HEADERS | {b"identity"}


# Privacy-hdr = "Privacy" HCOLON priv-value *(";" priv-value); some write commas
def wants_privacy(message: SipMessage) -> bool:
    """Whether `Privacy` says `id` (RFC 3325 §9.3)."""
    return any(
        word.strip().lower() == b"id"
        for line in message.all(b"privacy")
        for value in split_list(line)
        for word in value.split(b";")
    )


def withheld_from_callee(session: CallSession, message: SipMessage) -> frozenset[bytes]:
    """The headers of `message` that the provider is not told: all that a trunk without `trust_identity`
    claims, and what its caller wants kept from a provider outside of the trust domain."""
    trunk, provider = session.verdict.trunk, session.provider
    if trunk is not None and not trunk.trust_identity:
        return IDENTITY_HEADERS
    if provider is not None and not provider.trusted and wants_privacy(message):
        return _WITH_NUMBERS
    return NOTHING


def withheld_from_caller(session: CallSession, message: SipMessage) -> frozenset[bytes]:
    """The same towards the trunk: one that is not believed is not of the trust domain either."""
    trunk = session.verdict.trunk
    if trunk is None or trunk.trust_identity or not wants_privacy(message):
        return NOTHING
    return IDENTITY_HEADERS
