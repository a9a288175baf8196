"""Who is told the asserted identity of the other side (RFC 3325 §5, §7 to §9)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from proxy.sip.headers import split_list

if TYPE_CHECKING:
    from proxy.call.session import CallSession
    from proxy.sip.message import SipMessage

IDENTITY_HEADERS = frozenset({b"p-asserted-identity", b"p-preferred-identity", b"remote-party-id"})
CHARGED = frozenset({b"p-charge-info"})
"""Who pays, as another carrier of the trust domain says (RFC 8496): not the caller's to tell."""
NOTHING: frozenset[bytes] = frozenset()
_CLAIMS = IDENTITY_HEADERS | CHARGED
# A PASSporT has the number in it (RFC 8225 §5.2.1).
_WITH_NUMBERS = _CLAIMS | {b"identity"}
_HISTORY = frozenset({b"history-info", b"diversion"})
# What a caller says who wants these kept: RFC 3325 §9.3; RFC 7044 §10.1.
_ID = frozenset({b"id"})
_OF_HISTORY = frozenset({b"history", b"header", b"session"})
# An entry's own wish: an escaped header of its URI (RFC 7044 §10.1.2), or a parameter (RFC 5806).
_ENTRY_IS_PRIVATE = re.compile(rb"[?&;]\s*privacy\s*=\s*\"?(?!none|off)", re.IGNORECASE)


def wants_privacy(message: SipMessage) -> bool:
    """Whether `Privacy` says `id` (RFC 3325 §9.3)."""
    return not _wishes(message).isdisjoint(_ID)


# Privacy-hdr = "Privacy" HCOLON priv-value *(";" priv-value); some write commas
def _wishes(message: SipMessage) -> set[bytes]:
    return {
        word.strip().lower()
        for line in message.all(b"privacy")
        for value in split_list(line)
        for word in value.split(b";")
    }


def _history_is_private(message: SipMessage, wishes: set[bytes]) -> bool:
    return not wishes.isdisjoint(_OF_HISTORY) or any(
        _ENTRY_IS_PRIVATE.search(value) is not None for name in _HISTORY for value in message.all(name)
    )


def withheld_from_callee(session: CallSession, message: SipMessage) -> frozenset[bytes]:
    """The headers of `message` that the provider is not told: all that a trunk without `trust_identity`
    claims, and what its caller wants kept from a provider outside of the trust domain, as far as it does:
    numbers by `id`, whom the call was meant for by `history` or by the entry itself."""
    trunk, provider = session.verdict.trunk, session.provider
    withheld = NOTHING if trunk is None or trunk.trust_identity else _CLAIMS
    if provider is None or provider.trusted:
        return withheld
    wishes = _wishes(message)
    withheld |= CHARGED if wishes.isdisjoint(_ID) else _WITH_NUMBERS
    return withheld | _HISTORY if _history_is_private(message, wishes) else withheld


def withheld_from_caller(session: CallSession, message: SipMessage) -> frozenset[bytes]:
    """The same towards the trunk: one that is not believed is not of the trust domain either."""
    trunk = session.verdict.trunk
    if trunk is None or trunk.trust_identity or not wants_privacy(message):
        return NOTHING
    return IDENTITY_HEADERS
