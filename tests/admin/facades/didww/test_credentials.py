"""Generated logins."""

from __future__ import annotations

import re

from proxy.admin.facades.didww.credentials import Credentials, masked


def test_nobody_guesses_them() -> None:
    drawn = [Credentials.drawn() for _ in range(100)]
    assert len({one.username for one in drawn}) == len({one.password for one in drawn}) == 100
    for one in drawn:
        assert re.fullmatch("[a-z0-9]{10}", one.username)
        assert re.fullmatch("[a-z0-9]{24}", one.password)
        assert one.password not in repr(one)


def test_masks() -> None:
    assert masked("euc4fh2k1a") == "euc*******"
    assert masked("ab") == "ab***"
