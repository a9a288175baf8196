from __future__ import annotations

import pytest

from proxy.observe.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /v1/trunks/Büro 1", "GET /v1/trunks/Büro 1"),
        ("a\n2026 admin.token: b", r"a\n2026 admin.token: b"),
        ("\x1b[2J\x9b2J\x07", r"\x1b[2J\x9b2J\x07"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_is_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown
