"""Messages that are hard to read, and what becomes of them here. RFC 4475 and RFC 5118 name the classes; the
messages are this project's own.

Each is written as a request of any method to a name, so that it can be turned into an INVITE for a number.
"""

from __future__ import annotations

import re
from typing import NamedTuple

RELAYED = 0
DROPPED = -1


class Case(NamedTuple):
    """expected: RELAYED (as an INVITE to an allowed number), DROPPED, or the status that it gets."""

    name: str
    expected: int
    data: bytes


def message(
    start: str = "OPTIONS sip:desk@example.net SIP/2.0",
    *,
    via: str = "SIP/2.0/UDP host.example.net;branch=z9hG4bK{name}",
    from_: str = "<sip:lamp@example.org>;tag=l1",
    to: str = "<sip:desk@example.net>",
    call_id: str = "{name}@example.org",
    cseq: str = "41 {method}",
    hops: str = "Max-Forwards: 70\r\n",
    extra: str = "",
    length: str = "Content-Length: {length}\r\n",
    body: str = "",
    name: str = "",
) -> bytes:
    """Text with its one oddity. `{name}` and `{method}` are filled in."""
    method = start.split()[0]
    head = (
        f"{start}\r\nVia: {via}\r\nFrom: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"
        f"Contact: <sip:lamp@192.0.2.9>\r\n{hops}{extra}{length}\r\n"
    )
    filled = head.replace("{name}", name).replace("{method}", method)
    return (filled.replace("{length}", str(len(body.encode()))) + body).encode("utf-8", "surrogateescape")


_SDP = "v=0\r\no=a 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
_LONG = "very" * 200

_WELL_FORMED: dict[str, bytes] = {
    "folds-everywhere": message(
        via="SIP / 2.0\r\n\t/ UDP\r\n  host.example.net  ;\r\n branch\r\n =\r\n z9hG4bKfolds",
        cseq="0041\r\n   {method}",
        extra="X-Folded: one,\r\n two,\r\n\tthree\r\nSUBJECT:\r\n  \r\n  late\r\n",
        name="folds",
    ),
    "compact-and-mixed-case": message(name="compact")
    .replace(b"Via:", b"V  :")
    .replace(b"From:", b"f:")
    .replace(b"To:", b"T\t:")
    .replace(b"Call-ID:", b"I:")
    .replace(b"CSeq:", b"cSEQ :")
    .replace(b"Contact:", b"m:")
    .replace(b"Content-Length:", b"l  :")
    .replace(b"Max-Forwards:", b"mAX-fORWARDS:"),
    "method-of-all-token-characters": message("!Odd-1_*+`.%~' sip:desk@example.net SIP/2.0", name="token"),
    "escapes-in-names": message(
        from_="<sip:l%61mp%3Ba%40b@example.org>;tag=l1", to="sip:%64esk@example.net", name="escapes"
    ),
    "escaped-null": message(
        to="<sip:a-%00-b@example.net>",
        extra="X-Also: <sip:%00@x>, <sip:%00%00@x>\r\n",
        name="null",
    ),
    "quoted-pairs": message(from_='"a \\"b\\" \\\\ <sip:no@x>, ;c" <sip:lamp@example.org>;tag=l1', name="qp"),
    "no-space-before-bracket": message(from_="lamp<sip:lamp@example.org>;tag=l1", name="tight"),
    "utf8-display": message(from_='"Лампа ☎" <sip:lamp@example.org>;tag=l1', name="utf8"),
    "not-utf8": message(extra="X-Latin: caf\udce9\r\n", name="latin"),
    "long-values": message(
        from_=f'"{_LONG}" <sip:lamp@example.org>;tag=l1;x={_LONG}',
        extra=f"X-{_LONG}: {_LONG}\r\n",
        name="long",
    ),
    "bytes-after-the-body": message(body=_SDP, length=f"Content-Length: {len(_SDP)}\r\n", name="after")
    + b"\r\nINVITE sip:+19005550100@x SIP/2.0\r\n\r\n",
    "user-with-semicolons": message(to="<sip:desk;phone=yes;x=1@example.net;user=phone>", name="semi"),
    "transports-in-vias": message(
        via="SIP/2.0/SCTP a.example;branch=z9hG4bKt1\r\nVia: SIP/2.0/ODD b.example;branch=z9hG4bKt2\r\n"
        "Via: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKt3, SIP/2.0/TCP c.example;branch=z9hG4bKt4",
        name="transports",
    ),
    "empty-header": message(extra="X-Empty:\r\nSubject: \r\n", name="empty"),
    "unknown-parameters": message(
        via="SIP/2.0/UDP host.example.net;branch=z9hG4bK{name};ttl=9;odd;more=\"a;b\"",
        to="<sip:desk@example.net;new;x=y>;new=1;plain",
        name="params",
    ),
    "unknown-schemes-in-headers": message(to="isbn:298379", from_="<http://x.example>;tag=l1", name="isbn"),
    "parts-in-the-body": message(
        extra="Content-Type: multipart/mixed;boundary=b\r\n",
        body="--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n\r\n\x00\x01\x02\r\n--b--\r\n",
        name="parts",
    ),
    "authorization-of-no-known-scheme": message(extra='Authorization: Odd a="b, c", d=e\r\n', name="auth"),
    "hops-absent": message(hops="", name="nohops"),
    "branch-of-2543": message(via="SIP/2.0/UDP host.example.net;branch=17", name="b2543"),
    "branch-absent": message(via="SIP/2.0/UDP host.example.net", name="nobranch"),
    "branch-of-the-cookie-alone": message(via="SIP/2.0/UDP host.example.net;branch=z9hG4bK", name="cookie"),
    "received-with-brackets": message(
        via="SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bK{name}", name="rcvb"
    ),
    "received-without-brackets": message(
        via="SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bK{name}", name="rcv"
    ),
    "ipv6-everywhere": message(
        "OPTIONS sip:desk@[2001:db8::10]:5070 SIP/2.0",
        via="SIP/2.0/UDP [2001:DB8::0:9:1]:5060;branch=z9hG4bK{name}",
        to="<sip:desk@[2001:db8::10]>",
        name="six",
    ),
    "date-of-no-known-zone": message(extra="Date: Fri, 01 Jan 2027 16:00:00 EST\r\n", name="date"),
    "contact-without-brackets": message(name="ct").replace(
        b"Contact: <sip:lamp@192.0.2.9>", b"Contact: sip:lamp@192.0.2.9?Route=%3Csip:x%3E"
    ),
    "expires-out-of-range": message(extra="Expires: 99999999999999999999\r\n", name="expires"),
    "headers-in-the-request-uri": message("OPTIONS sip:desk@x.net?Route=%3Csip:x%3E SIP/2.0", name="esc"),
    "version-in-lower-case": message("OPTIONS sip:desk@example.net sip/2.0", name="lower"),
    "no-content-length": message(length="", body=_SDP, name="nolength"),
}  # fmt: skip

_REFUSED: dict[str, tuple[int, bytes]] = {
    "separators-too-many": (400, message(via="SIP/2.0/UDP 192.0.2.15;;,;,,", name="sep")),
    "length-larger-than-the-body": (400, message(length="Content-Length: 9999\r\n", body="x", name="cl1")),
    "length-negative": (400, message(length="Content-Length: -9\r\n", name="cl2")),
    "lengths-that-disagree": (400, message(length="Content-Length: 0\r\nl: 4\r\n", name="cl3")),
    "cseq-too-large": (400, message(cseq="36893488147419103232 {method}", name="cseq")),
    "quote-without-end": (400, message(to='"Desk <sip:desk@example.net>', name="quote")),
    "brackets-round-the-request-uri": (400, message("OPTIONS <sip:desk@example.net> SIP/2.0", name="lt")),
    "space-in-the-request-uri": (400, message("OPTIONS sip:desk@example.net; lr SIP/2.0", name="sp")),
    "spaces-in-the-request-line": (400, message("OPTIONS  sip:desk@example.net  SIP/2.0", name="sps")),
    "space-after-the-version": (400, message("OPTIONS sip:desk@example.net SIP/2.0 ", name="end")),
    "space-in-an-address": (400, message(to='"Desk" < sip:desk@example.net >', name="aspec")),
    "comma-in-a-display-name": (400, message(to="Desk, Front <sip:desk@example.net>", name="dn")),
    "version-7": (505, message("OPTIONS sip:desk@example.net SIP/7.0", name="v7")),
    "method-and-cseq-differ": (400, message(cseq="41 ODD", name="mm")),
    "no-from-to-or-call-id": (
        400,
        b"OPTIONS sip:desk@example.net SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKinsuf\r\n"
        b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
    ),
    "two-call-ids": (400, message(call_id="a\r\nCall-ID: b", name="two")),
    "two-cseqs": (400, message(cseq="41 {method}\r\nCSeq: 42 {method}", name="twoc")),
    "two-froms": (400, message(from_="<sip:a@x>;tag=1\r\nf: <sip:b@x>;tag=2", name="twof")),
    "two-max-forwards": (400, message(hops="Max-Forwards: 9\r\nMax-Forwards: 8\r\n", name="twom")),
    "hops-too-many": (400, message(hops="Max-Forwards: 300\r\n", name="mf300")),
    "scheme-nobody-knows": (416, message("OPTIONS odd:opaque SIP/2.0", name="odd")),
    "scheme-of-another-trade": (416, message("OPTIONS soap.beep://192.0.2.3:3002 SIP/2.0", name="soap")),
    "extension-required": (420, message(extra="Require: odd\r\nProxy-Require: odd, more\r\n", name="req")),
    "hops-zero": (483, message(hops="Max-Forwards: 0\r\n", name="mf0")),
    "ipv6-without-brackets": (400, message("OPTIONS sip:desk@2001:db8::10 SIP/2.0", name="badsix")),
    "bare-line-feed": (400, message(extra="X-A: b\nX-C: d\r\n", name="lf")),
    "bare-null": (400, message(extra="X-A: b\0c\r\n", name="nul")),
    "line-that-is-no-header": (400, message(extra="odd line\r\n", name="nohdr")),
    "header-name-with-a-space": (400, message(extra="X A: b\r\n", name="hdrsp")),
}  # fmt: skip

_ANSWER = message("SIP/2.0 200 OK", cseq="41 OPTIONS", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx")

_DROPPED: dict[str, bytes] = {
    "response-to-nobody": _ANSWER,
    "response-with-a-broadcast-address": _ANSWER.replace(b"127.0.0.1:5060", b"255.255.255.255"),
    "response-with-an-unusual-phrase": _ANSWER.replace(b"200 OK", "200 = 2**3 ☎ %00".encode()),
    "response-without-a-phrase": _ANSWER.replace(b"200 OK", b"200 "),
    "response-code-out-of-range": _ANSWER.replace(b"200 OK", b"4294967301 no"),
    "response-cseq-out-of-range": _ANSWER.replace(b"CSeq: 41", b"CSeq: 9292394834772304023312"),
    "keepalive": b"\r\n\r\n",
    "noise": bytes(range(256)),
}

CASES = [
    *(Case(name, RELAYED, data) for name, data in _WELL_FORMED.items()),
    *(Case(name, status, data) for name, (status, data) in _REFUSED.items()),
    *(Case(name, DROPPED, data) for name, data in _DROPPED.items()),
]

_CSEQ_METHOD = re.compile(rb"(?im)^(cseq[ \t]*:[\s0-9]*)([^\s]+)")
_CALL_ID = re.compile(rb"(?im)^((?:call-id|i)[ \t]*:[ \t]*)(?=\S)")
_TO_TAG = re.compile(rb"(?im)^((?:to|t)[ \t]*:[^\r\n]*?);tag=[\w.-]+")
_USER = re.compile(rb"(sips?:)(?:[^@;?> ]*@)?")


def as_invite(data: bytes, number: str, serial: int) -> bytes:
    """The same request as an INVITE for `number`, with its oddity as it was: a method that differs from that
    in CSeq still does. No To-tag, and a Call-ID that
    `serial` makes its own."""
    start, _, rest = data.partition(b"\r\n")
    method, _, line = start.partition(b" ")
    line = _USER.sub(rb"\g<1>" + number.encode() + b"@", line, count=1)
    found = _CSEQ_METHOD.search(rest)
    agrees = found is None or found.group(2) == method
    rest = _CSEQ_METHOD.sub(rb"\g<1>" + (b"INVITE" if agrees else b"OPTIONS"), rest)
    rest = _CALL_ID.sub(rb"\g<1>n%d-" % serial, rest)
    return b"INVITE " + line + b"\r\n" + _TO_TAG.sub(rb"\g<1>", rest)


def busy(raw: bytes) -> bytes:
    """A 486 to whatever request, its lines copied with their folds."""
    lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    kept: list[bytes] = []
    keep = to = False
    for line in lines[1:]:
        if line[:1] not in (b" ", b"\t"):
            if to:
                kept[-1] += b";tag=busy"
            name = line.partition(b":")[0].strip().lower()
            to = name in (b"to", b"t")
            keep = to or name in (b"via", b"v", b"from", b"f", b"call-id", b"i", b"cseq", b"record-route")
        if keep:
            kept.append(line)
    if to:
        kept[-1] += b";tag=busy"
    return b"SIP/2.0 486 Busy Here\r\n" + b"\r\n".join(kept) + b"\r\nContent-Length: 0\r\n\r\n"
