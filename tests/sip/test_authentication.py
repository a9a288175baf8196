from __future__ import annotations

import pytest

from proxy.sip.authentication import (
    Challenge,
    challenge_lines,
    challenges,
    credentials_value,
    digest_params,
)
from proxy.sip.message import Flow, SipResponse
from proxy.sip.parse import parse_message

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))


@pytest.mark.parametrize(
    ("value", "params"),
    [
        (b'Digest realm="r", nonce=n', {b"realm": b"r", b"nonce": b"n"}),
        (
            b'digest  Realm = "a \\"b\\\\", qop="auth,auth-int"',
            {b"realm": b'a "b\\', b"qop": b"auth,auth-int"},
        ),
        (b'Digest realm="",nc=00000001', {b"realm": b"", b"nc": b"00000001"}),
        (b'Digest realm="r" , \t nonce="n"', {b"realm": b"r", b"nonce": b"n"}),
        (b"Digest", None),
        (b"Digest ", None),
        (b"Basic dTpw", None),
        (b'Digest realm="r", realm="s"', None),
        (b'Digest realm="r" nonce="n"', None),
        (b'Digest realm="r",', None),
        (b'Digest realm="open', None),
        (b"Digest " + b'a="' + b"x" * 5000 + b'"', None),
    ],
)
def test_parameters(value: bytes, params: dict[bytes, bytes] | None) -> None:
    assert digest_params(value) == params


def test_many_parameters_are_read_in_linear_time() -> None:
    value = b"Digest " + b",".join(b"a%d=1" % index for index in range(500))
    assert len(digest_params(value) or {}) == 500


def response_with(*lines: bytes) -> SipResponse:
    head = [
        b"SIP/2.0 407 Proxy Authentication Required",
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        b"From: <sip:a@h>;tag=1",
        b"To: <sip:b@h>;tag=2",
        b"Call-ID: c",
        b"CSeq: 1 INVITE",
        *lines,
        b"Content-Length: 0",
    ]
    message = parse_message(b"\r\n".join(head) + b"\r\n\r\n", FLOW)
    assert isinstance(message, SipResponse)
    return message


def test_challenges_in_the_order_of_the_server() -> None:
    message = response_with(
        b'Proxy-Authenticate: Digest realm="r", nonce="n1", algorithm=SHA-512',
        b'Proxy-Authenticate: Digest realm="r", nonce="n2", algorithm=sha-256, qop="auth-int, auth",'
        b' opaque="o"',
        b'Proxy-Authenticate: Digest realm="r", nonce="n3", stale=TRUE',
        b'Proxy-Authenticate: Digest realm="r", nonce="n4", qop="new"',
        b'WWW-Authenticate: Digest realm="r", nonce="n5"',
    )
    assert challenges(message, b"proxy-authenticate", ("MD5", "SHA-256")) == [
        Challenge(b"r", b"n2", b"o", "SHA-256", (b"auth-int", b"auth"), False),
        Challenge(b"r", b"n3", None, "MD5", (), True),
    ]


def test_our_own_lines_are_read_back() -> None:
    lines = challenge_lines(b"Proxy-Authenticate", "the realm", b"nonce", ["SHA-256", "MD5"], True)
    found = challenges(response_with(*lines), b"proxy-authenticate", ["SHA-256", "MD5"])
    assert [(each.realm, each.algorithm, each.qops, each.stale) for each in found] == [
        (b"the realm", "SHA-256", (b"auth", b"auth-int"), True),
        (b"the realm", "MD5", (b"auth", b"auth-int"), True),
    ]


def test_credentials_cannot_be_broken_out_of() -> None:
    challenge = Challenge(b'r", x="', b"n", b"o\\", "MD5", (b"auth",), False)
    value = credentials_value("u", challenge, b"sip:h", b"abc", b"auth", b"00000001", b"c")
    assert digest_params(value) == {
        b"username": b"u", b"realm": b'r", x="', b"nonce": b"n", b"uri": b"sip:h", b"response": b"abc",
        b"algorithm": b"MD5", b"qop": b"auth", b"nc": b"00000001", b"cnonce": b"c", b"opaque": b"o\\",
    }  # fmt: skip
