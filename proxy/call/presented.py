"""The caller as the called side knows it.

Where the policy says so, the user part of From is another one towards the provider, and the asserted identity
too. Tags stay, so that the dialog is the same; each side goes on seeing the addresses that it knows, in
requests and responses alike: elements of RFC 2543 compare them whole.
"""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING

from policy.cli import PLUS_E164, Caller, CliFormat, CliRules, IdentityHeader
from proxy.call.privacy import CHARGED, IDENTITY_HEADERS, NOTHING, wants_privacy, withheld_from_callee
from proxy.sip.errors import HeaderError, UriError
from proxy.sip.headers import NameAddr, Params, header_line, name_addr, split_list
from proxy.sip.message import Header, SipMessage, SipRequest, SipResponse, unfold
from proxy.sip.uri import SipUri, to_attempt_fields

if TYPE_CHECKING:
    from policy.compiled import Provider
    from proxy.call.forwarding import Identity
    from proxy.call.session import CallSession

# What is about another caller than the one that is shown. An Identity (RFC 8224) vouches for the addresses
# that it came with.
_OTHERS = IDENTITY_HEADERS | CHARGED | {b"identity", b"reply-to"}
_IDENTITY = frozenset({b"identity"})
_DIVERSIONS = frozenset({b"diversion", b"history-info"})
_LOCAL_NUMBER = 7  # digits; shorter ones are extensions
_NO_DIGIT = re.compile(rb"%2[bB]|[^0-9]")
_WRITTEN = {
    b"p-asserted-identity": b"P-Asserted-Identity",
    b"p-preferred-identity": b"P-Preferred-Identity",
    b"remote-party-id": b"Remote-Party-ID",
}


def introduce(
    session: CallSession, provider: Provider, outbound: Identity, drop: frozenset[bytes]
) -> tuple[frozenset[bytes], list[Header]]:
    """How the caller is introduced to the provider: what of the INVITE's headers stays here beyond `drop`,
    and what is added. Leaves in `session.shown_from` what From says; None: what the caller wrote."""
    caller, trunk = session.verdict.cli, session.verdict.trunk
    if caller is None or trunk is None or trunk.cli is None:
        return NOTHING, []
    request, rules, written = session.request, trunk.cli, provider.cli_format
    session.shown_from = _from_value(session, caller, rules, written)
    if caller.replaced:
        withheld = _OTHERS | _DIVERSIONS if _is_diverting(session, rules) else _OTHERS
        number = caller.told(session.ref)
        asserted = caller.anonymous or request.first(b"p-asserted-identity") is not None
        if number is None or not asserted or not (provider.trusted or not wants_privacy(request)):
            return withheld, []
        host = outbound.uri.partition(b":")[2].partition(b";")[0]
        user = (written or PLUS_E164).write(number).encode()
        line = header_line(b"P-Asserted-Identity", b"<sip:" + user + b"@" + host + b">")
        return withheld, [line]
    kept = CHARGED if caller.kept else NOTHING
    if written is None:
        return kept, []
    names, lines = _asserted_as(request, rules, written, drop)
    return kept | names, lines


def show_caller(headers: list[Header], session: CallSession) -> None:
    """Put what From says to the called side in the place of the caller's own."""
    if session.shown_from is not None:
        _replace(headers, (b"from", b"From: " + session.shown_from))
        _show_contact(headers, session, session.shown_from)


def show_party(headers: list[Header], session: CallSession, from_caller: bool) -> None:
    """The same in a request within the dialog; in one of the called side, To has the caller's own address."""
    shown = session.shown_from
    if shown is None:
        return
    if from_caller:
        own = next(line for name, line in headers if name == b"from").partition(b":")[2].strip()
        _replace(headers, (b"from", b"From: " + shown))
        _show_contact(headers, session, shown, own)
    else:
        _replace(headers, (b"to", b"To: " + (session.request.first(b"from") or b"")))


def restore_party(
    session: CallSession, request: SipRequest, response: SipResponse, from_caller: bool
) -> None:
    """Give the response the caller's address as the sender of `request` wrote it there."""
    if session.shown_from is None:
        return
    wanted = b"from" if from_caller else b"to"
    response.headers = list(response.headers)
    _replace(response.headers, next(header for header in request.headers if header[0] == wanted))


def as_shown(session: CallSession, response: SipResponse) -> SipResponse:
    """A response of the caller's side, as the called side sees it. What it came with stays as it is: our
    requests go where it says."""
    if session.shown_from is None:
        return response
    seen = copy(response)
    seen.headers = list(response.headers)
    _show_contact(seen.headers, session, session.shown_from, b"")
    return seen


def withheld_in_dialog(session: CallSession, message: SipMessage) -> frozenset[bytes]:
    """The headers of a later message of the caller's side that the provider is not told: once the caller has
    been introduced it gets no other name. Who diverted the call was said by the INVITE (RFC 7044 §5). An
    Identity is looked at there alone: what has to hold, or has to go, does not come later."""
    withheld = withheld_from_callee(session, message)
    if session.shown_from is not None:
        return withheld | _OTHERS | _DIVERSIONS
    rules = None if session.verdict.trunk is None else session.verdict.trunk.cli
    if rules is None or rules.identity is IdentityHeader.PASS or session.verdict.emergency:
        return withheld
    return withheld | _IDENTITY


def _show_contact(
    headers: list[Header], session: CallSession, shown: bytes, later: bytes | None = None
) -> None:
    """Where Contact has the number of the caller's own From, it has the one that is shown: some telephones
    show Contact, and all write it down. Requests of the called side go to the Contact that the caller gave,
    whatever this one says. `later`: what From says in a later request of the caller's side, b"" in a
    response; None in the INVITE. There a Contact that is another number than before does not get through
    either."""
    said, told = _user(session.request.first(b"from") or b""), _user(shown)
    if not told:
        return
    hidden = {_digits(user) for user in (said, _user(later or b"")) if user != told} - {b""}
    for index, (name, line) in enumerate(headers):
        if name != b"contact":
            continue
        try:
            address = name_addr(split_list(unfold(line.partition(b":")[2]))[0])
        except HeaderError:
            continue
        scheme, _, rest = address.uri.partition(b":")
        user, at, host = rest.partition(b"@")
        digits = _digits(user)
        renamed = any(_names(digits, number) for number in hidden) or (
            later is not None and _is_new_number(session, user, told)
        )
        if renamed or any(number in _digits(line) for number in hidden):
            if at and renamed:
                rest = told + at + host
            value = b"<" + scheme + b":" + rest + b">" + _written(address.params)
            headers[index] = header_line(b"Contact", value)


def _names(digits: bytes, number: bytes) -> bool:
    """Whether the digits have the number in them, or are it without its country or area code."""
    return number in digits or (len(digits) >= _LOCAL_NUMBER and number.endswith(digits))


def _is_new_number(session: CallSession, user: bytes, told: bytes) -> bool:
    """Whether the user part of a later Contact is a number, and neither the one that is shown nor what the
    INVITE's Contact had."""
    rules = None if session.verdict.trunk is None else session.verdict.trunk.cli
    if rules is None or not _digits(told) or user in (told, _user(session.request.first(b"contact") or b"")):
        return False
    number = rules.read("sip", user.decode("latin-1"))
    return number is not None and number != rules.read("sip", told.decode("latin-1"))


def _user(value: bytes) -> bytes:
    """The user part of an address value's URI; of a tel URI, the number."""
    try:
        uri = name_addr(value).uri
    except HeaderError:
        return b""
    return uri.partition(b":")[2].partition(b"@")[0].partition(b";")[0].partition(b":")[0]


def _digits(text: bytes) -> bytes:
    return _NO_DIGIT.sub(b"", text)


def _written(params: Params) -> bytes:
    return b"".join(b";" + name + (b"" if text is None else b"=" + text) for name, text in params)


def _is_diverting(session: CallSession, rules: CliRules) -> bool:
    """Whether the caller who is replaced is named among those who diverted the call."""
    attempt = session.attempt
    if not attempt.diversions:
        return False
    callers = [(attempt.cli_scheme, attempt.cli, attempt.cli_params)]
    callers += [(one.scheme, one.user, one.params) for one in attempt.asserted]
    named = {rules.read(*one) or one[1] for one in callers}
    return any((rules.read(*one[1:]) or one.user) in named for one in attempt.diversions)


def _replace(headers: list[Header], header: Header) -> None:
    for index, (name, _) in enumerate(headers):
        if name == header[0]:
            headers[index] = header
            return


def _from_value(
    session: CallSession, caller: Caller, rules: CliRules, written: CliFormat | None
) -> bytes | None:
    own = session.request.first(b"from") or b""
    if caller.replaced and not caller.anonymous:
        number = caller.told(session.ref)
        # The display name may say what the number must not.
        return own if number is None else _readdressed(own, number, written or PLUS_E164, whole=False)
    if written is not None and not caller.anonymous:
        attempt = session.attempt
        number = rules.read(attempt.cli_scheme, attempt.cli, attempt.cli_params)
        if number is not None:
            return _readdressed(own, number, written, whole=True)
    return own if caller.kept else None


def _asserted_as(
    request: SipRequest, rules: CliRules, written: CliFormat, drop: frozenset[bytes]
) -> tuple[frozenset[bytes], list[Header]]:
    """The asserted identities, their numbers as the provider wants them."""
    names: set[bytes] = set()
    lines: list[Header] = []
    for name in IDENTITY_HEADERS - drop:
        for value in request.all(name):
            for one in split_list(value):
                names.add(name)
                number = _number_in(one, rules)
                if number is not None:
                    one = _readdressed(one, number, written, whole=True)
                lines.append(header_line(_WRITTEN[name], one))
    return frozenset(names), lines


def _number_in(value: bytes, rules: CliRules) -> str | None:
    try:
        return rules.read(*to_attempt_fields(SipUri.parse(name_addr(value).uri)))
    except (HeaderError, UriError):
        return None


def _readdressed(value: bytes, number: str, written: CliFormat, *, whole: bool) -> bytes:
    """An address value with `number` for its user part; host and URI parameters stay. Without `whole` nothing
    else is left of it but the tag."""
    try:
        address = name_addr(value)
    except HeaderError:
        address = NameAddr(b"", b"", ())
    scheme, _, rest = address.uri.partition(b":")
    if scheme.lower() in (b"sip", b"sips"):
        host = rest.rpartition(b"@")[2].partition(b"?")[0]
        uri = scheme + b":" + written.write(number).encode() + b"@" + host
    else:
        # Anything but a global number would want a context (RFC 3966 §5.1.4).
        uri = b"tel:" + number.encode()
    display = address.display + b" " if whole and address.display else b""
    kept = tuple((name, text) for name, text in address.params if whole or name == b"tag")
    return display + b"<" + uri + b">" + _written(kept)
