"""INVITEs as different implementations write them, and as people write them who want two readers to read two
things. Each says what it means, where the RFC gives it a meaning, and how it departs from plain writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

DEVIANT = 0.45
"""How many of the messages break a rule of the grammar; each breaks one."""

BODY = b"v=0\r\nTo: <sip:body@example.com>;tag=body\r\n\r\nContent-Length: 1\r\n"


@dataclass(frozen=True)
class Reading:
    """What a reader finds. to_tag: b"" where there is none. routes: URI and parameters of each value, in
    order. user: still escaped, None where there is none. length: what Content-Length says, None where it is
    absent."""

    to_tag: bytes
    routes: tuple[bytes, ...]
    user: bytes | None
    length: int | None


@dataclass(frozen=True)
class Dialect:
    """One message. `ways`: how it writes each field and the other headers, "" where it does so plainly.
    `broken`: the rule that it breaks; where it is None, `meaning` is what every reader must find."""

    number: int
    meaning: Reading
    data: bytes
    ways: dict[str, str]
    broken: str | None

    def way(self, what: str) -> str:
        """What may make a reader find another value of this field."""
        return self.ways[what] or self.broken or self.ways["others"]


# The Request-URI: (name, URI, user). What stands after "!" breaks a rule.
_URIS: tuple[tuple[str, bytes, bytes | None], ...] = (
    ("", b"sip:+442071838750@127.0.0.1", b"+442071838750"),
    ("", b"sip:+442071838750@127.0.0.1:5060;user=phone", b"+442071838750"),
    ("escaped user", b"sip:%2B442071838750@127.0.0.1", b"%2B442071838750"),
    ("password", b"sip:+4420:se&c=ret,+$@127.0.0.1", b"+4420"),
    ("password", b"sip:+4420:secret@127.0.0.1", b"+4420"),
    ("semicolon in user", b"sip:+4420;npdi=yes@127.0.0.1;user=phone", b"+4420;npdi=yes"),
    ("question mark in user", b"sip:a?b@127.0.0.1", b"a?b"),
    ("slash and ampersand in user", b"sip:a/b&c=d+e$f@127.0.0.1", b"a/b&c=d+e$f"),
    ("comma in user", b"sip:a,b@127.0.0.1", b"a,b"),
    ("escaped @ in user", b"sip:a%40evil.example@127.0.0.1", b"a%40evil.example"),
    ("upper case scheme", b"SIP:+4420@127.0.0.1", b"+4420"),
    ("IPv6 host", b"sip:+4420@[2001:db8::1]:5060;lr", b"+4420"),
    ("no user", b"sip:127.0.0.1;lr", None),
    ("@ in parameters", b"sip:127.0.0.1;x=%40a", None),
    ("host and parameters in user", b"sip:127.0.0.1;x=a@b", b"127.0.0.1;x=a"),
    ("URI headers", b"sip:+4420@127.0.0.1?Route=%3Csip:x%3E", b"+4420"),
    ("sips", b"sips:+4420@127.0.0.1", b"+4420"),
    ("!two @", b"sip:a@b@127.0.0.1", None),
    ("!empty user", b"sip:@127.0.0.1", None),
    ("!hash in user", b"sip:12#34@127.0.0.1", None),
    ("!space in URI", b"sip:a b@127.0.0.1", None),
    ("!bad escape", b"sip:a%4g@127.0.0.1", None),
    ("!quote in user", b'sip:"a"@127.0.0.1', None),
    ("!bracket in user", b"sip:[a]@127.0.0.1", None),
    ("!@ in headers", b"sip:alice@127.0.0.1?x=a@b", None),
    ("!two colons in userinfo", b"sip:a:b:c@127.0.0.1", None),
    ("!no host", b"sip:a@", None),
    ("!port too large", b"sip:a@127.0.0.1:99999", None),
    ("!no port", b"sip:a@127.0.0.1:", None),
    ("!text after port", b"sip:a@127.0.0.1:5060x", None),
    ("!empty parameter", b"sip:a@127.0.0.1;;lr", None),
    ("!in angle brackets", b"<sip:a@127.0.0.1>", None),
    ("!NUL in user", b"sip:a\x00b@127.0.0.1", None),
    ("!high byte in user", b"sip:a\xe4b@127.0.0.1", None),
)

# To values, {t} being the tag: (name, value, whether {t} is its tag)
_TOS: tuple[tuple[str, bytes, bool], ...] = (
    ("", b"<sip:b@example.com>;tag={t}", True),
    ("", b"<sip:b@example.com>", False),
    ("bare To URI", b"sip:b@example.com;tag={t}", True),
    ("display name of words", b"Bob the Builder <sip:b@example.com>;tag={t}", True),
    ("display name of words", b"!%*_+`'~. <sip:b@example.com>;tag={t}", True),
    ("quoted display name", b'"Bob, <x>;tag=f" <sip:b@example.com>;tag={t}', True),
    ("quoted pair", b'"Bob \\" <sip:x>;tag=f" <sip:b@example.com>;tag={t}', True),
    ("quoted pair", b'"Bob\\\\" <sip:b@example.com>;tag={t}', True),
    ("quoted pair", b'"\\"\\"\\\\" <sip:b@example.com>', False),
    ("UTF-8 display name", '"Größe ☎" <sip:b@example.com>;tag={t}'.encode(), True),
    ("no space before <", b'"Bob"<sip:b@example.com>;tag={t}', True),
    ("tag of the URI", b"<sip:b@example.com;tag=inner>", False),
    ("tag of the URI", b"<sip:b@example.com;tag=inner>;tag={t}", True),
    ("tag in URI headers", b"<sip:b@example.com?x=;tag%3Dy>;tag={t}", True),
    ("tag in a quoted parameter", b'<sip:b@example.com>;x="a;tag=f";tag={t}', True),
    ("tag in a quoted parameter", b'<sip:b@example.com>;x="\\";tag=f;y=";tag={t}', True),
    ("tag in a quoted parameter", b'<sip:b@example.com>;x=";tag=f"', False),
    ("space around ; and =", b"<sip:b@example.com> ; tag = {t}", True),
    ("space around ; and =", b"<sip:b@example.com>\t;\ttag\t=\t{t} ; x", True),
    ("fold in To", b"\r\n <sip:b@example.com>\r\n\t;tag={t}", True),
    ("fold in To", b"<sip:b@example.com>;tag\r\n =\r\n {t}", True),
    ("fold in To", b'"Bob\r\n ;tag=f" <sip:b@example.com>;tag={t}', True),
    ("TAG in upper case", b"<sip:b@example.com>;TAG={t}", True),
    ("parameters around the tag", b"<sip:b@example.com>;a=b;tag={t};c", True),
    ("parameter ending in tag", b"<sip:b@example.com>;xtag=f;tag={t}", True),
    ("parameter ending in tag", b"<sip:b@example.com>;x=tag;tagx=f", False),
    ("IPv6 in a parameter", b"<sip:b@example.com>;x=[::1];tag={t}", True),
    ("space at the end of To", b"<sip:b@example.com>;tag={t} \t", True),
    ("tel in To", b"<tel:+4420;phone-context=x>;tag={t}", True),
    ("!two tags", b"<sip:b@example.com>;tag={t};tag=f", False),
    ("!empty tag", b"<sip:b@example.com>;tag=", False),
    ("!tag without value", b"<sip:b@example.com>;tag", False),
    ("!quoted tag", b'<sip:b@example.com>;tag="{t}"', False),
    ("!odd character in tag", b"<sip:b@example.com>;tag=a@b", False),
    ("!odd character in tag", b"<sip:b@example.com>;tag=a/b", False),
    ("!two words for a tag", b"<sip:b@example.com>;tag=a b", False),
    ("!empty To parameter", b"<sip:b@example.com>;;tag={t}", False),
    ("!empty To parameter", b"<sip:b@example.com>;tag={t};", False),
    ("!two To values", b"<sip:b@example.com>;tag={t},<sip:c@example.com>;tag=f", False),
    ("!text after >", b"<sip:b@example.com> x;tag={t}", False),
    ("!comma after To", b"<sip:b@example.com>;tag={t},", False),
    ("!comma before To", b",<sip:b@example.com>;tag={t}", False),
    ("!open quote", b'"Bob <sip:b@example.com>;tag={t}', False),
    ("!open quote", b'"Bob\\" <sip:b@example.com>;tag={t}', False),
    ("!quote in words", b'Bob"x" <sip:b@example.com>;tag={t}', False),
    ("!open bracket", b"<sip:b@example.com;tag={t}", False),
    ("!closed twice", b"<sip:b@example.com>>;tag={t}", False),
    ("!opened twice", b"<<sip:b@example.com>;tag={t}", False),
    ("!comment in To", b"<sip:b@example.com>(;tag=f);tag={t}", False),
    ("!odd display name", b"Bob, Jr. <sip:b@example.com>;tag={t}", False),
    ("!odd display name", b"Bob;tag=f <sip:b@example.com>;tag={t}", False),
    ("!space in brackets", b"< sip:b@example.com >;tag={t}", False),
    ("!bracket in a parameter", b"<sip:b@example.com>;x=<;tag=f>;tag={t}", False),
    ("!open quote in a parameter", b'<sip:b@example.com>;x="a;tag={t}', False),
    ("!text after a quoted parameter", b'<sip:b@example.com>;x="a"b;tag={t}', False),
    ("!empty value", b"<sip:b@example.com>;x=;tag={t}", False),
    ("!nothing", b"", False),
    ("!no URI", b'"Bob";tag={t}', False),
    ("!empty brackets", b"<>;tag={t}", False),
    ("!question mark in bare URI", b"sip:b@example.com?x=y;tag={t}", False),
    ("!comma in bare URI", b"sip:b,c@example.com;tag={t}", False),
    ("!NUL in To", b"<sip:b@example.com>;x=\x00;tag={t}", False),
    ("!bare LF in To", b"<sip:b@example.com>\n;tag={t}", False),
    ("!bare LF in To", b"<sip:b@example.com>;x=y\nTo: <sip:c@example.com>;tag=f", False),
    ("!bare CR in To", b"<sip:b@example.com>\r;tag={t}", False),
    ("!vertical tab", b"<sip:b@example.com>\x0b;tag={t}", False),
)

# Route lines: (name, header lines, what their values are)
_ROUTES: tuple[tuple[str, tuple[bytes, ...], tuple[bytes, ...]], ...] = (
    ("", (), ()),
    ("", (b"Route: <sip:a.example;lr>",), (b"<sip:a.example;lr>",)),
    (
        "",
        (b"Route: <sip:a.example;lr>", b"Route: <sip:b.example;lr>"),
        (b"<sip:a.example;lr>", b"<sip:b.example;lr>"),
    ),
    (
        "several Routes a line",
        (b"Route: <sip:a.example;lr>,<sip:b.example>", b"Route: <sip:c.example>"),
        (b"<sip:a.example;lr>", b"<sip:b.example>", b"<sip:c.example>"),
    ),
    (
        "several Routes a line",
        (b"Route: <sip:a.example;lr> ,\t<sip:b.example>;x=y",),
        (b"<sip:a.example;lr>", b"<sip:b.example>;x=y"),
    ),
    (
        "comma in quotes",
        (b'Route: "a, <sip:x>" <sip:a.example;lr>, <sip:b.example>',),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "comma in a quoted pair",
        (b'Route: "a\\", <sip:x>" <sip:a.example;lr>, <sip:b.example>',),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "comma in brackets",
        (b"Route: <sip:u,v@a.example;lr>, <sip:b.example>",),
        (b"<sip:u,v@a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "comma in a quoted parameter",
        (b'Route: <sip:a.example;lr>;x="p,q", <sip:b.example>',),
        (b'<sip:a.example;lr>;x="p,q"', b"<sip:b.example>"),
    ),
    (
        "fold in Route",
        (b"Route: <sip:a.example;lr>,\r\n <sip:b.example>",),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "fold in Route",
        (b"Route:\r\n\t<sip:a.example;lr>\r\n ,<sip:b.example>",),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "Route in another case",
        (b"rOUTE : <sip:a.example;lr>", b"ROUTE\t:<sip:b.example>"),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    (
        "Routes apart",
        (b"Route: <sip:a.example;lr>", b"Subject: x", b"Route: <sip:b.example>"),
        (b"<sip:a.example;lr>", b"<sip:b.example>"),
    ),
    ("IPv6 in Route", (b"Route: <sip:[2001:db8::9]:5070;lr>",), (b"<sip:[2001:db8::9]:5070;lr>",)),
    ("!empty Route", (b"Route:",), ()),
    ("!Route without brackets", (b"Route: sip:a.example;lr",), ()),
    ("!Route without brackets", (b"Route: sip:a.example;lr, <sip:b.example>",), ()),
    ("!empty Route value", (b"Route: <sip:a.example;lr>,,<sip:b.example>",), ()),
    ("!comma after Route", (b"Route: <sip:a.example;lr>,",), ()),
    ("!open bracket in Route", (b"Route: <sip:a.example;lr, <sip:b.example>",), ()),
    ("!open quote in Route", (b'Route: "a <sip:a.example;lr>, <sip:b.example>',), ()),
    ("!no comma between Routes", (b"Route: <sip:a.example;lr> <sip:b.example>",), ()),
    ("!semicolon between Routes", (b"Route: <sip:a.example;lr>;<sip:b.example>",), ()),
    ("!text in Route", (b"Route: nonsense",), ()),
    ("!bare LF in Route", (b"Route: <sip:a.example;lr>\nRoute: <sip:b.example>",), ()),
)

# Content-Length lines, {n} being the length of the body, {m} two less: (name, header lines, difference to the
# length of the body, or None where it is absent or broken)
_LENGTHS: tuple[tuple[str, tuple[bytes, ...], int | None], ...] = (
    ("", (b"Content-Length: {n}",), 0),
    ("", (b"Content-Length: {n}",), 0),
    ("compact Content-Length", (b"l: {n}",), 0),
    ("compact Content-Length", (b"L:{n}",), 0),
    ("leading zeros", (b"Content-Length: 000000000000{n}",), 0),
    ("space around Content-Length", (b"Content-Length \t : \t {n} \t",), 0),
    ("fold in Content-Length", (b"Content-Length:\r\n {n}",), 0),
    ("Content-Length in another case", (b"cONTENT-lENGTH: {n}",), 0),
    ("no Content-Length", (), None),
    ("bytes after the body", (b"Content-Length: {m}",), -2),
    ("!same Content-Length twice", (b"Content-Length: {n}", b"l: {n}"), 0),
    ("!two Content-Lengths", (b"Content-Length: {n}", b"Content-Length: {m}"), None),
    ("!two Content-Lengths", (b"l: {m}", b"Content-Length: {n}"), None),
    ("!Content-Length with a sign", (b"Content-Length: +{n}",), None),
    ("!Content-Length with a sign", (b"Content-Length: -{n}",), None),
    ("!hexadecimal Content-Length", (b"Content-Length: 0x{n}",), None),
    ("!list in Content-Length", (b"Content-Length: {n}, {n}",), None),
    ("!list in Content-Length", (b"Content-Length: {m} {n}",), None),
    ("!parameter of Content-Length", (b"Content-Length: {n};x=y",), None),
    ("!fraction in Content-Length", (b"Content-Length: {n}.0",), None),
    ("!comment in Content-Length", (b"Content-Length: {n} (x)",), None),
    ("!empty Content-Length", (b"Content-Length:",), None),
    ("!words in Content-Length", (b"Content-Length: many",), None),
    ("!Content-Length too large", (b"Content-Length: 9{n}",), None),
    ("!Content-Length over 2**32", (b"Content-Length: 42949672960",), None),
    ("!quoted Content-Length", (b'Content-Length: "{n}"',), None),
    ("!Arabic digits in Content-Length", ("Content-Length: ٣".encode(),), None),
    ("!split digits", (b"Content-Length: 1\r\n 2",), None),
)

# Lines that mean nothing here, and must not seem to.
_OTHERS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("", ()),
    ("", (b"User-Agent: Phone/1.0",)),
    ("comment", (b'User-Agent: Phone/1.0 (nested (\\) ; \\" deep) end)',)),
    ("fold that looks like a header", (b"Subject: x\r\n To: <sip:f@example.com>;tag=f",)),
    ("fold that looks like a header", (b"X-Odd: y\r\n\tContent-Length: 1\r\n\tRoute: <sip:f.example>",)),
    ("fold of nothing", (b"X-Odd: y\r\n \r\n z",)),
    ("empty header", (b"Subject:", b"X-Empty:   ")),
    (
        "names that begin alike",
        (b"To-X: <sip:f@example.com>;tag=f", b"Content-Length-X: 1", b"Routes: <sip:f>"),
    ),
    ("UTF-8 in a header", ("Subject: größer ☎".encode(),)),
    ("quoted line end", (b'Warning: 399 x "a\r\n To: b"',)),
    ("!not UTF-8 in a header", (b"Subject: \xff\xfe",)),
    ("!space in a name", (b"To X: <sip:f@example.com>;tag=f",)),
    ("!no colon", (b"Nonsense",)),
    ("!empty name", (b": <sip:f@example.com>",)),
    ("!space before a name", (b"\xa0To: <sip:f@example.com>;tag=f",)),
    ("!bare LF", (b"Subject: x\nTo: <sip:f@example.com>;tag=f",)),
    ("!bare CR", (b"Subject: x\rTo: <sip:f@example.com>;tag=f",)),
    ("!CR CR LF", (b"Subject: x\r",)),
    ("!NUL in a header", (b"Subject: x\x00y",)),
    ("!second To", (b"To: <sip:f@example.com>;tag=f",)),
    ("!second To", (b"t: <sip:f@example.com>;tag=f",)),
    ("!line end in a quoted pair", (b'Subject: "a\\\r\nTo: <sip:f@example.com>;tag=f',)),
)

_TO_NAMES = (b"To: ", b"To: ", b"To: ", b"t:", b"T : ", b"tO\t:", b"To:")


def _choose(random: Random, table: tuple, broken: bool) -> tuple:
    return random.choice([row for row in table if row[0].startswith("!") == broken])


def dialect(number: int, random: Random) -> Dialect:
    """The next message; `number` makes its Call-ID and its branch."""
    break_at = random.randrange(5) if random.random() < DEVIANT else -1
    uri_name, uri, user = _choose(random, _URIS, break_at == 0)
    to_name, to_value, tagged = _choose(random, _TOS, break_at == 1)
    route_name, routes, values = _choose(random, _ROUTES, break_at == 2)
    length_name, lengths, off = _choose(random, _LENGTHS, break_at == 3)
    other_name, others = _choose(random, _OTHERS, break_at == 4)
    tag = random.choice((b"a6c85cf", b"T-1.x!%*_+`'~", b"1", b"x" * 60))
    body = random.choice((BODY, b"\x00\xff\r\n\r\n", b"x" * 30))
    length = len(body)
    lines = [random.choice(_TO_NAMES) + to_value.replace(b"{t}", tag), *others]
    lines += [line.replace(b"{n}", b"%d" % length).replace(b"{m}", b"%d" % (length - 2)) for line in lengths]
    if random.random() < 0.5:
        random.shuffle(lines)
    for line in reversed(routes):  # anywhere, in their order
        place = random.randint(0, lines.index(after) if (after := _next(routes, line, lines)) else len(lines))
        lines.insert(place, line)
    head = [
        b"INVITE " + uri + b" SIP/2.0",
        b"Via: SIP/2.0/UDP 127.0.0.1:5062;rport;branch=z9hG4bKdialect%d" % number,
        b"From: <sip:alice@example.com>;tag=a1",
        b"Call-ID: dialect-%d" % number,
        b"CSeq: 1 INVITE",
        b"Max-Forwards: 70",
        b"Contact: <sip:alice@127.0.0.1:5062>",
    ]
    names = (uri_name, to_name, route_name, length_name, other_name)
    return Dialect(
        number,
        Reading(tag if tagged else b"", values, user, None if off is None else length + off),
        b"\r\n".join(head + lines) + b"\r\n\r\n" + body,
        dict(
            zip(("user", "to_tag", "routes", "length", "others"), (n.lstrip("!") for n in names), strict=True)
        ),
        next((name[1:] for name in names if name.startswith("!")), None),
    )


def _next(routes: tuple[bytes, ...], line: bytes, lines: list[bytes]) -> bytes | None:
    """The line of `routes` that follows `line` and stands already."""
    at = routes.index(line) + 1
    return routes[at] if at < len(routes) and routes[at] in lines else None
