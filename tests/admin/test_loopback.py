from __future__ import annotations

import pytest

from proxy.admin.loopback import host_is_loopback, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("[localhost]", False),
        ("", False),
    ],
)
def test_loopback_names(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("localhost:8080", True),
        ("localhost", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("::1", False),
        ("localhost:", False),
        ("localhost:99999999", False),
        ("evil.example:8080", False),
        ("localhost@evil.example", False),
        ("evil.example/localhost", False),
        ("localhost, evil.example", False),
        ("localhost:8080\n", False),
        ("", False),
    ],
)
def test_host_headers(value: str, expected: bool) -> None:
    assert host_is_loopback(value) is expected
