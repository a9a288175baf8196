"""The facts of an INVITE that the policy judges."""

from __future__ import annotations

import re
from functools import lru_cache

from policy.attempt import AssertedIdentity, CallAttempt, Params
from policy.reasons import ReasonCode
from proxy.call.dialog import uri_of
from proxy.call.privacy import IDENTITY_HEADERS
from proxy.sip.errors import UriError
from proxy.sip.headers import split_list
from proxy.sip.message import SipRequest, unfold
from proxy.sip.uri import SipUri, to_attempt_fields

# Most callers: `<sip:number@host>`. Whatever is quoted, escaped or has a password takes the long way.
_PLAIN_CALLER = re.compile(rb"\A[A-Za-z0-9 ]*<sips?:([A-Za-z0-9+._-]+)@[A-Za-z0-9.:\[\]-]+>")
_SCHEMES = frozenset({"sip", "sips", "tel"})
_UNREADABLE: tuple[str, str, Params] = ("", "", ())
# RFC 3325 §9.1 knows two. More than these are not read one by one, and nobody's numbers.
_MOST_ASSERTED = 8
_LONGEST_KEPT = 256


def attempt_of(request: SipRequest, gate: ReasonCode | None) -> CallAttempt | None:
    """What `request` asks for; None when its Request-URI has a scheme that cannot be a call (416).

    Of the `urn` scheme only `urn:service:sos` is one (RFC 5031). `gate` is set while no new calls are taken.
    """
    scheme, user, params = to_attempt_fields(request.parsed_uri)
    if scheme not in _SCHEMES and not (scheme == "urn" and user.lower().startswith("service:sos")):
        return None
    value = b""
    asserted: tuple[AssertedIdentity, ...] = ()
    for name, line in request.headers:
        if name == b"from":
            value = unfold(line[line.index(b":") + 1 :])
        elif name in IDENTITY_HEADERS and len(asserted) <= _MOST_ASSERTED:
            asserted += _asserted(name, line, _MOST_ASSERTED - len(asserted))
    flow = request.flow
    plain = _PLAIN_CALLER.search(value)
    if plain is not None:
        cli = plain.group(1).decode("ascii")
        return CallAttempt(flow.remote[0], flow.transport, scheme, user, params, cli, gate, asserted=asserted)
    cli_scheme, cli, cli_params = _address(value)
    return CallAttempt(
        flow.remote[0], flow.transport, scheme, user, params, cli, gate, cli_scheme, cli_params, asserted
    )


def _asserted(name: bytes, line: bytes, room: int) -> tuple[AssertedIdentity, ...]:
    found = _kept_line(name, line) if len(line) <= _LONGEST_KEPT else _read_line(name, line)
    return found if len(found) <= room else (AssertedIdentity(name.decode("ascii"), *_UNREADABLE),)


def _read_line(name: bytes, line: bytes) -> tuple[AssertedIdentity, ...]:
    header = name.decode("ascii")
    values = split_list(unfold(line[line.index(b":") + 1 :]))
    if len(values) > _MOST_ASSERTED:
        return (AssertedIdentity(header, *_UNREADABLE),)
    return tuple(AssertedIdentity(header, *_address(value)) for value in values)


_kept_line = lru_cache(maxsize=4096)(_read_line)


def _address(value: bytes) -> tuple[str, str, Params]:
    """Scheme, user and parameters of an address value's URI."""
    uri = uri_of(value)
    if uri is None:
        return _UNREADABLE
    try:
        return to_attempt_fields(SipUri.parse(uri))
    except UriError:
        return _UNREADABLE
