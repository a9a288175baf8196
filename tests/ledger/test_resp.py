from __future__ import annotations

import pytest

from proxy.ledger.resp import ServerError, bulk, bulks, command, error_kind


def test_commands() -> None:
    assert bulk(b"") == b"$0\r\n\r\n"
    assert bulks((b"a", b"\r\n")) == b"$1\r\na\r\n$2\r\n\r\n\r\n"
    assert command(b"PING", b"x") == b"*2\r\n$4\r\nPING\r\n$1\r\nx\r\n"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("READONLY You can't write against a read only replica.", "readonly"),
        ("MISCONF Redis is configured to save RDB snapshots, but it can't", "readonly"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "oom"),
        ("NOAUTH Authentication required.", "noauth"),
        ("WRONGPASS invalid username-password pair", "noauth"),
        ("NOPERM User x has no permissions to run the 'evalsha' command", "noauth"),
        ("BUSY Redis is busy running a script.", "busy"),
        ("ERR max number of clients reached", "busy"),
        ("NOSCRIPT No matching script. Please use EVAL.", "script"),
        ("ERR user_script:3: attempt to index nil script: ab, on @user_script:3.", "script"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "other"),
        ("", "other"),
    ],
)
def test_error_kinds(message: str, kind: str) -> None:
    assert error_kind(ServerError(message)) == kind
