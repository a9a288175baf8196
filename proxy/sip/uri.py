"""URIs of the schemes that reach a SIP proxy (RFC 3261 §19.1, RFC 3966, RFC 5031), taken apart and not
judged."""

from __future__ import annotations

import re
from typing import Final

from proxy.sip.errors import UriError
from proxy.sip.grammar import HOST

UriParams = tuple[tuple[bytes, bytes | None], ...]

# user = 1*( unreserved / escaped / user-unreserved ); unreserved = alphanum / "-_.!~*'()"; user-unreserved =
# "&=+$,;?/"
# "#" stands in dialled numbers and tech prefixes that devices do not escape: taken as it is.
_USER: Final = re.compile(rb"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2})*+")
_PASSWORD: Final = re.compile(rb"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*+")

# hostport uri-parameters [ headers ]; paramchar = param-unreserved / unreserved / escaped; param-unreserved =
# "[]/:&+$"
_PARAM: Final = rb"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})++"
_HOST_PART: Final = re.compile(
    rb"(" + HOST + rb")(?::([0-9]{1,5}+))?+((?:;" + _PARAM + rb"(?:=" + _PARAM + rb")?+)*+)"
    rb"(?:\?((?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$=&]|%[0-9A-Fa-f]{2})++))?+\Z"
)

# telephone-subscriber *par (RFC 3966 §3); whether the number is one is the policy's question
_TEL: Final = re.compile(rb"([A-Za-z0-9+\-.()*#%]*+)((?:;" + _PARAM + rb"(?:=" + _PARAM + rb")?+)*+)\Z")

# absoluteURI = scheme ":" ( hier-part / opaque-part ), as wide as a request line allows
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*+\Z")
_OPAQUE: Final = re.compile(rb"[!#-;=?-~]++\Z")


class SipUri:
    """A URI's parts, still escaped.

    scheme: in lower case. user: of sip and sips the user part without its password, None where there is none;
    of tel the number; of other schemes all that follows the colon. password: whether one was given. host: as
    it stood, an IPv6 address with its brackets; b"" for other schemes. port: 0 to 65535 or None. params:
    names in lower case, in their order, None where there is no value. headers: what follows "?", b"" where
    nothing does.
    """

    __slots__ = ("headers", "host", "params", "password", "port", "scheme", "user")

    def __init__(
        self,
        scheme: bytes,
        user: bytes | None,
        host: bytes = b"",
        port: int | None = None,
        params: UriParams = (),
        headers: bytes = b"",
        password: bool = False,
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.params = params
        self.headers = headers

    @staticmethod
    def parse(raw: bytes) -> SipUri:
        """Take a URI apart. Raises UriError where it breaks the grammar of its scheme."""
        scheme, colon, rest = raw.partition(b":")
        if scheme not in _SIP_SCHEMES:
            scheme = scheme.lower()
            if scheme not in _SIP_SCHEMES:
                return _parse_other(scheme, colon, rest)
        userinfo, at, host_part = rest.rpartition(b"@")
        user: bytes | None = None
        password = b""
        password_mark = b""
        if at:
            user, password_mark, password = userinfo.partition(b":")
            if _USER.fullmatch(user) is None or _PASSWORD.fullmatch(password) is None:
                raise UriError("bad user part")
        match = _HOST_PART.match(host_part)
        if match is None:
            raise UriError("bad host part")
        host, port_text, params, headers = match.groups()
        port = None
        if port_text is not None:
            port = int(port_text)
            if port > 65535:
                raise UriError("port out of range")
        return SipUri(
            scheme, user, host, port, _params(params) if params else (), headers or b"", password_mark == b":"
        )

    def param(self, name: bytes) -> bytes | None:
        """The value of a parameter, b"" where it has none, None where it is absent."""
        for key, value in self.params:
            if key == name:
                return value or b""
        return None


_SIP_SCHEMES: Final = frozenset({b"sip", b"sips"})


def _params(raw: bytes) -> UriParams:
    """`;a=b;c` → ((b"a", b"b"), (b"c", None))."""
    found: list[tuple[bytes, bytes | None]] = []
    for item in raw[1:].split(b";"):
        name, equals, value = item.partition(b"=")
        found.append((name.lower(), value if equals else None))
    return tuple(found)


def _parse_other(scheme: bytes, colon: bytes, rest: bytes) -> SipUri:
    if not colon or not rest or _SCHEME.match(scheme) is None:
        raise UriError("no scheme")
    if scheme == b"tel":
        match = _TEL.match(rest)
        if match is None:
            raise UriError("bad telephone number")
        number, params = match.groups()
        return SipUri(scheme, number, params=_params(params) if params else ())
    if _OPAQUE.match(rest) is None:
        raise UriError("bad character")
    return SipUri(scheme, rest)


def to_attempt_fields(uri: SipUri) -> tuple[str, str, tuple[tuple[str, str | None], ...]]:
    """(scheme, user, params) as a CallAttempt wants them. Parsed URIs are pure ASCII."""
    params = uri.params
    return (
        uri.scheme.decode("ascii"),
        uri.user.decode("ascii") if uri.user is not None else "",
        tuple(
            (name.decode("ascii"), None if value is None else value.decode("ascii")) for name, value in params
        )
        if params
        else (),
    )
