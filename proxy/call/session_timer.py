"""Session timers (RFC 4028) as a proxy takes part in them (§8): how long a call may live without a refresh.

The caller and the callee refresh; the proxy shortens what they agree on, sees that one of them does it where
the other cannot, and learns when to take the call for dead.
"""

from __future__ import annotations

import re

from proxy.sip.errors import HeaderError
from proxy.sip.headers import header_line, parse_params, split_list
from proxy.sip.message import Header, SipMessage, SipRequest, SipResponse
from proxy.sip.serialize import (
    build_response,
    forward_headers,
    forward_response,
    serialize_message,
    status_line,
)

LEAST_SECONDS = 90
"""The shortest interval (§4), and the shortest that this proxy takes."""
DEFAULT_SECONDS = 1800
MOST_SECONDS = 2**31 - 1
REFRESHES = frozenset({b"INVITE", b"UPDATE"})

_DELTA_SECONDS = re.compile(rb"\A([0-9]+)[ \t]*(?:;|\Z)")
_LONGEST_NUMBER = 10
_NO_NAMES: frozenset[bytes] = frozenset()
_EXPIRES = frozenset({b"session-expires"})
_EXPIRES_AND_LEAST = frozenset({b"session-expires", b"min-se"})


class Asked:
    """What a session refresh request asks for as it leaves the proxy, kept for its transaction (§8.1).

    `seconds` is its Session-Expires. `supported`: its sender understands session timers. `drop` and `added`
    are what becomes of its headers.
    """

    __slots__ = ("added", "drop", "seconds", "supported")

    def __init__(self, seconds: int, supported: bool, drop: frozenset[bytes], added: list[Header]) -> None:
        self.seconds = seconds
        self.supported = supported
        self.drop = drop
        self.added = added


def ask(request: SipRequest, desired: int) -> Asked | None:
    """What becomes of the session timer in an INVITE or UPDATE; None where there is none, and none is asked
    for.

    `desired` is the proxy's own interval in seconds: longer ones are lowered to it, and a sender that
    understands session timers is given it where it named none. 0: neither. Never below the request's Min-SE,
    nor below 90. A value that cannot be read counts as none.
    """
    value = least_value = None
    supported = doubled = False
    for name, line in request.headers:
        if name == b"supported":
            supported = supported or b"timer" in line.lower()
        elif name == b"session-expires":
            doubled = value is not None
            value = line if value is None else value
        elif name == b"min-se":
            least_value = line if least_value is None else least_value
    if value is None and not supported:
        return None
    supported = supported and _names_timer(request, b"supported")
    least_asked = _delta_seconds(request.first(b"min-se")) or 0
    least = max(least_asked, LEAST_SECONDS)
    if value is None:
        if not supported or not desired:
            return None
        seconds = max(desired, least)
        return Asked(seconds, supported, _NO_NAMES, [(b"session-expires", _expires_line(seconds))])
    given = _delta_seconds(request.first(b"session-expires"))
    seconds = _interval(given, least, desired)
    names, added = _NO_NAMES, []
    if given != seconds or given == MOST_SECONDS or doubled:
        names = _EXPIRES
        added = [header_line(b"Session-Expires", b"%d%b" % (seconds, _parameters(request)))]
    sound = least_value is None or _sound(least_value)
    if not sound or (seconds == least > least_asked and given is not None and given < least):
        # Who does not know 422 is told the minimum by raising both (§8.1). What was no number goes.
        names = _EXPIRES_AND_LEAST
        added = [header_line(b"Session-Expires", b"%d%b" % (seconds, _parameters(request)))]
        added.append((b"min-se", b"Min-SE: %d" % least))
    return Asked(seconds, supported, names, added)


def too_small(request: SipRequest, to_tag: bytes | None) -> bytes | None:
    """The 422 for a request that asks for less than 90 s (§8.1), or None. Only a sender that understands
    session timers can be told so."""
    value = request.first(b"session-expires")
    if value is None:
        return None
    given = _delta_seconds(value)
    if given is None or given >= LEAST_SECONDS or not _names_timer(request, b"supported"):
        return None
    extra = (b"Min-SE: %d" % LEAST_SECONDS,)
    return build_response(request, 422, b"Session Interval Too Small", to_tag=to_tag, extra=extra)


def pass_on(
    response: SipResponse, asked: Asked | None, withheld: frozenset[bytes]
) -> tuple[bytes, float | None]:
    """A 2xx to a session refresh request as it goes upstream (§8.2), and the seconds for which the session
    then lives; None: it does not expire. `withheld` names headers that stay here."""
    value = response.first(b"session-expires")
    if value is None:
        if asked is None or not asked.supported:
            return forward_response(response, withheld), None
        headers = [header for header in forward_headers(response) if header[0] not in withheld]
        if not _names_timer(response, b"require"):
            headers = _require_timer(headers)
        headers.append((b"session-expires", _expires_line(asked.seconds) + b";refresher=uac"))
        return _serialized(response, headers), float(asked.seconds)
    given = _delta_seconds(value)
    if given is None or given == MOST_SECONDS:
        # No number, or one that nobody can count to.
        withheld |= _EXPIRES
        headers = [header for header in forward_headers(response) if header[0] not in withheld]
        if asked is None:
            return _serialized(response, headers), None
        given = asked.seconds
        headers.append(header_line(b"Session-Expires", b"%d%b" % (given, _parameters(response))))
        return _serialized(response, headers), float(given)
    return forward_response(response, withheld), float(max(given, LEAST_SECONDS))


def _interval(given: int | None, least: int, desired: int) -> int:
    """The Session-Expires that goes on: at least the minimum, at most what the proxy wants."""
    if given is None:
        return max(desired or DEFAULT_SECONDS, least)
    if desired:
        given = min(given, max(desired, least))
    return max(given, least)


def _delta_seconds(value: bytes | None) -> int | None:
    """The number that a Session-Expires or Min-SE begins with, at most 2**31 - 1; None where there is
    none."""
    match = None if value is None else _DELTA_SECONDS.match(value)
    if match is None:
        return None
    digits = match.group(1).lstrip(b"0") or b"0"
    return MOST_SECONDS if len(digits) > _LONGEST_NUMBER else min(int(digits), MOST_SECONDS)


def _sound(line: bytes) -> bool:
    seconds = _delta_seconds(line.partition(b":")[2].strip())
    return seconds is not None and seconds < MOST_SECONDS


def _parameters(message: SipMessage) -> bytes:
    """The parameters of Session-Expires as they stand: who refreshes is not the proxy's to say."""
    value = message.first(b"session-expires") or b""
    at = value.find(b";")
    if at < 0:
        return b""
    try:
        parse_params(value[at:])
    except HeaderError:
        return b""
    return value[at:]


def _names_timer(message: SipMessage, header: bytes) -> bool:
    return any(item.lower() == b"timer" for line in message.all(header) for item in split_list(line))


def _require_timer(headers: list[Header]) -> list[Header]:
    """The headers with `timer` in their Require."""
    for index, (name, line) in enumerate(headers):
        if name == b"require":
            return [*headers[:index], (name, line.rstrip() + b", timer"), *headers[index + 1 :]]
    return [*headers, (b"require", b"Require: timer")]


def _expires_line(seconds: int) -> bytes:
    return b"Session-Expires: %d" % seconds


def _serialized(response: SipResponse, headers: list[Header]) -> bytes:
    return serialize_message(status_line(response), headers, response.body)
