"""Messages to begin with, and the words that SIP is made of."""

from __future__ import annotations

import os
from pathlib import Path

from tests.call.playbook import invite
from tests.playbook import request_bytes, response_to
from tests.sip.test_parse import HOSTILE, REFUSED, WELL_FORMED

LARGEST_SEED = 4096

RICH = (
    b"INVITE sip:%2B442071838750:pw@127.0.0.1:5060;user=phone;lr?Subject=x&Priority=urgent SIP/2.0\r\n"
    b'v: SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-1;rport ,'
    b' SIP / 2.0 / TCP [2001:db8::1] ;branch="q\\"uoted"\r\n'
    b"Via: SIP/2.0/TLS pbx.example;branch=z9hG4bK77;received=192.0.2.1;ttl=3;maddr=224.0.0.1\r\n"
    b'Route: "one, two" <sip:127.0.0.1;lr>, <sip:[::1]:5070;lr;x="a,b">;y=z,\r\n <sip:c.example;lr>\r\n'
    b'f: "A \\"quoted\\" (comment) name" <sip:alice@pbx.example;transport=udp?x=y>'
    b' ; tag = a1 ; epid="1;tag=2"\r\n'
    b"t: sip:+442071838750@127.0.0.1 ;x=y\r\n"
    b"i: 3848276298220188511@pbx.example\r\n"
    b"CSeq:\t0000000001 \t INVITE\r\n"
    b"m: *, <sip:a@b>;q=0.5;expires=3600, sips:c@d;+sip.instance=\"<urn:uuid:0>\"\r\n"
    b"P-Asserted-Identity: <tel:+15551230001;phone-context=+1>\r\n"
    b"Warning: 399 pbx \"text, with comma\"\r\n"
    b"User-Agent: Phone/1.0 (a (nested \\) comment), b)\r\n"
    b"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nTimestamp: 54.1 .5\r\n"
    b"Max-Forwards: 0070\r\n"
    b"Proxy-Authorization: Digest username=\"a\", realm=\"b,c\", uri=\"sip:x\", response=\"00\"\r\n"
    b"X-Unknown\t :\t\xff\xfe folded\r\n\t value \r\n"
    b"c: multipart/mixed;boundary=\"x\r\n y\"\r\n"
    b"l : 004\r\n\r\nv=0\n"
)  # fmt: skip

_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY", "ODD!")

MESSAGES: tuple[bytes, ...] = (
    RICH,
    *(invite(method=method, to_tag="b1" if method != "INVITE" else "") for method in _METHODS),
    *(response_to(request_bytes(), status) for status in (100, 180, 200, 302, 407, 486, 503, 603)),
    *WELL_FORMED.values(),
)
"""Small messages, all well formed."""

BROKEN: tuple[bytes, ...] = tuple(data for data, _, _ in REFUSED.values() if len(data) <= LARGEST_SEED)
"""Small messages that are refused."""

LARGE: tuple[bytes, ...] = tuple(HOSTILE.values())
"""What was made to be slow."""

WORDS: tuple[bytes, ...] = (
    b"", b" ", b"\t", b"\r\n", b"\r\n ", b"\r", b"\n", b"\x00", b"\\", b'"', b'\\"', b"<", b">", b"<>", b",",
    b";", b":", b"=", b"?", b"&", b"@", b"%", b"%00", b"%2B", b"%25", b"/", b"(", b")", b"[", b"]", b"*",
    b"0", b"-1", b"+5", b"65535", b"65536", b"2147483647", b"2147483648", b"4294967295", b"4294967296",
    b"99999999999999999999", b"00000000000000000001", "١".encode(), b"\xff\xfe", b"\x0b", b"\x0c", b"\x85",
    b"\x7f", b"SIP/2.0", b"SIP/3.0", b"sip:", b"sips:", b"tel:", b"urn:service:sos", b"sip:[::1]:0",
    b"sip:a@999.1.1.1", b"INVITE", b"ACK", b"CANCEL", b"BYE", b"1 INVITE", b"1 BYE", b"z9hG4bK",
    b"z9hG4bKtw", b";branch=", b";tag=", b";tag=a;tag=b", b';tag="a"', b";rport", b";rport=1",
    b";received=127.0.0.1", b";lr", b";maddr=127.0.0.9", b";transport=tcp", b";phone-context=+1",
    b"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK", b"<sip:x@y;lr>,<sip:z>",
    b"<sip:127.0.0.1;lr;tw=ref0.signature>", b'"\\"" <sip:x@y>', b"<sip:%s@y>" % (b"a" * 300), b"()",
    b"(\\))",
)  # fmt: skip
"""What is put where it does not belong."""

NAMES: tuple[bytes, ...] = (
    b"Via", b"v", b"From", b"f", b"To", b"t", b"Call-ID", b"i", b"CSeq", b"Max-Forwards", b"Content-Length",
    b"l", b"Contact", b"m", b"Route", b"Record-Route", b"Proxy-Require", b"Require", b"Supported", b"k",
    b"Content-Type", b"P-Asserted-Identity", b"Privacy", b"Session-Expires", b"x", b"Min-SE", b"Max-Breadth",
    b"Replaces", b"Reason", b"Timestamp", b"X-Unknown", b"", b"a b", b"\xc4",
)  # fmt: skip


def torture() -> tuple[bytes, ...]:
    """The messages of RFC 4475 and RFC 5118, where TRUNKWARDEN_TORTURE_DIR names their folder."""
    root = os.environ.get("TRUNKWARDEN_TORTURE_DIR")
    if root is None:
        return ()
    return tuple(path.read_bytes() for path in sorted(Path(root).glob("rfc*/*")) if path.is_file())
