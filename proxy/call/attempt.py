"""The facts of an INVITE that the policy judges."""

from __future__ import annotations

import re

from policy.attempt import CallAttempt
from policy.reasons import ReasonCode
from proxy.call.dialog import uri_of
from proxy.sip.errors import UriError
from proxy.sip.message import SipRequest
from proxy.sip.uri import SipUri, to_attempt_fields

# Most callers: `<sip:number@host>`. Whatever is quoted, escaped or has a password takes the long way.
_PLAIN_CALLER = re.compile(rb"\A[A-Za-z0-9 ]*<sips?:([A-Za-z0-9+._-]+)@[A-Za-z0-9.:\[\]-]+>")
_SCHEMES = frozenset({"sip", "sips", "tel"})


def attempt_of(request: SipRequest, gate: ReasonCode | None) -> CallAttempt | None:
    """What `request` asks for; None when its Request-URI has a scheme that cannot be a call (416).

    Of the `urn` scheme only `urn:service:sos` is one (RFC 5031). `gate` is set while no new calls are taken.
    """
    scheme, user, params = to_attempt_fields(request.parsed_uri)
    if scheme not in _SCHEMES and not (scheme == "urn" and user.lower().startswith("service:sos")):
        return None
    flow = request.flow
    return CallAttempt(flow.remote[0], flow.transport, scheme, user, params, _cli(request), gate)


def _cli(request: SipRequest) -> str:
    value = request.first(b"from") or b""
    plain = _PLAIN_CALLER.search(value)
    if plain is not None:
        return plain.group(1).decode("ascii")
    uri = uri_of(value)
    if uri is None:
        return ""
    try:
        return to_attempt_fields(SipUri.parse(uri))[1]
    except UriError:
        return ""
