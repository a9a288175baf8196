"""Where a dialog's packets may go."""

from __future__ import annotations

import pytest

from proxy.call.dialog import is_literal


@pytest.mark.parametrize("host", ["127.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_addresses_are_literal(host: str) -> None:
    assert is_literal(host)


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2", "12345", "1.2.3.4.5", "host7", "a:b", "", "01.2.3.4"])
def test_what_only_looks_like_an_address_is_not(host: str) -> None:
    """Sending to it would ask the DNS, and stand still meanwhile."""
    assert not is_literal(host)
