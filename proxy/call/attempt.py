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
from proxy.sip.message import Header, SipRequest, unfold
from proxy.sip.uri import SipUri, to_attempt_fields

# Most callers: `<sip:number@host>`. Whatever is quoted, escaped or has a password takes the long way.
_PLAIN_CALLER = re.compile(rb"\A[A-Za-z0-9 ]*<sips?:([A-Za-z0-9+._-]+)@[A-Za-z0-9.:\[\]-]+>")
_SCHEMES = frozenset({"sip", "sips", "tel"})
_NOTED = IDENTITY_HEADERS | {b"identity", b"diversion", b"history-info"}
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
    noted: list[Header] = []
    for header in request.headers:
        name, line = header
        if name == b"from":
            value = unfold(line[line.index(b":") + 1 :])
        elif name in _NOTED:
            noted.append(header)
    source, transport = request.flow.remote[0], request.flow.transport
    plain = _PLAIN_CALLER.search(value)
    if plain is not None:
        attempt = CallAttempt(source, transport, scheme, user, params, plain.group(1).decode("ascii"), gate)
    else:
        cli_scheme, cli, cli_params = _address(value)
        attempt = CallAttempt(source, transport, scheme, user, params, cli, gate, cli_scheme, cli_params)
    if noted:
        _note(attempt, noted)
    return attempt


def _note(attempt: CallAttempt, headers: list[Header]) -> None:
    asserted: list[AssertedIdentity] = []
    diversions: list[AssertedIdentity] = []
    passports: list[str] = []
    for name, line in headers:
        if name == b"identity":
            passports.append(unfold(line[line.index(b":") + 1 :]).decode("latin-1"))
        else:
            found = asserted if name in IDENTITY_HEADERS else diversions
            if len(found) <= _MOST_ASSERTED:
                found += _kept_line(name, line) if len(line) <= _LONGEST_KEPT else _read_line(name, line)
    for found in (asserted, diversions):
        if len(found) > _MOST_ASSERTED:
            found[_MOST_ASSERTED:] = [AssertedIdentity(found[0].header, *_UNREADABLE)]
    attempt.asserted, attempt.diversions = tuple(asserted), tuple(diversions)
    attempt.passports = tuple(passports)


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
