from __future__ import annotations

import pytest

from policy.compiled import Scope, Window
from proxy.admin.control_protocol import decode, encode, limits_of, scope_of


def test_a_message_is_one_line() -> None:
    message = {"id": 1, "op": "explain", "args": {"to": "a\r\nb\u2028c"}}
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b"{", b"null", b"\xff{}"])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_what_json_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError):
        encode({"x": float("nan")})
    with pytest.raises(TypeError):
        encode({"x": b"bytes"})


def test_a_scope_arrives_as_it_was_sent() -> None:
    limits = {"capacity_limit": 3, "cps_limit": 2, "threshold": 100}
    scope = Scope("trunk:a", "trunk", "a", **limits, window=Window.UTC_DAY, shard="acme")
    sent = limits_of(scope, "acme")
    assert sent["account"] == "acme"
    assert scope_of(decode(encode(dict(sent)))) == scope  # type: ignore[arg-type]
