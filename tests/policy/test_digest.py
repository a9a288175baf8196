from __future__ import annotations

import pytest

from policy.digest import HASHES, Login, ha1, response

# RFC 7616 §3.9.1
NONCE = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", b"8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, expected: bytes) -> None:
    key = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    answer = response(algorithm, key, b"GET", b"/dir/index.html", NONCE, b"", b"auth", b"00000001", CNONCE)
    assert answer == expected


def test_without_qop_it_is_rfc_2069() -> None:
    # RFC 2069 §2.4 as corrected by its erratum
    key = ha1("MD5", "Mufasa", "testrealm@host.com", "CircleOfLife")
    answer = response("MD5", key, b"GET", b"/dir/index.html", b"dcd98b7102dd2f0e8b11d0f600bfb0c093", b"")
    assert answer == b"1949323746fe6a43ef61f9606e7febea"


@pytest.mark.parametrize("algorithm", HASHES)
def test_auth_int_covers_the_body(algorithm: str) -> None:
    key = ha1(algorithm, "u", "r", "p")
    bodies = [b"", b"v=0\r\n", b"v=1\r\n"]
    answers = {
        response(algorithm, key, b"INVITE", b"sip:1@h", b"n", body, b"auth-int", b"00000001", b"c")
        for body in bodies
    }
    plain = {
        response(algorithm, key, b"INVITE", b"sip:1@h", b"n", body, b"auth", b"00000001", b"c")
        for body in bodies
    }
    assert len(answers) == 3
    assert len(plain) == 1


def test_a_login_keeps_no_password_and_shows_no_secret() -> None:
    login = Login.of_password("pbx", "trunkwarden", "canary-secret")
    assert set(login.ha1s) == {"SHA-256", "SHA-512-256", "MD5"}
    assert "canary" not in repr(login)
    assert not any(key.decode() in repr(login) for key in login.ha1s.values())
    assert b"canary-secret" not in login.ha1s.values()
