from __future__ import annotations

import pytest

from policy.attempts import Threshold, Tries, Velocity, WindowCount
from policy.compiled import Window
from proxy.ledger.packing import MOST_MICRO, PackedScopes, micro, packed_tries, window_code
from tests.ledger.servers import scope


def test_scopes_as_arguments() -> None:
    packed = PackedScopes((scope("trunk:é", capacity=0, threshold=5), scope("provider:p", cps=7)))
    # EVALSHA, digest, how many keys; five keys and two a scope; eight arguments and five a scope
    assert packed.count == 3 + 5 + 4 + 8 + 10
    assert packed.numkeys == b"$1\r\n9\r\n"
    assert packed.keys.count(b"$") == 4
    assert "{tw}:s:trunk:é\r\n".encode() in packed.keys
    assert packed.args.startswith(
        "$1\r\n2\r\n$8\r\ntrunk:é\r\n$1\r\n0\r\n$0\r\n\r\n$1\r\n5\r\n$1\r\nr\r\n".encode()
    )
    assert packed.limits == [b"2", "trunk:é".encode(), b"5", b"r", b"provider:p", b"", b"r"]


def test_windows() -> None:
    assert window_code(scope(window=Window.UTC_DAY)) == b"d"
    assert window_code(scope(window=Window.ROLLING_24H)) == b"r"


@pytest.mark.parametrize("value", [-1, MOST_MICRO + 1])
def test_amounts_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        micro(value)


def test_amounts() -> None:
    assert micro(0) == 0
    assert micro(MOST_MICRO) == MOST_MICRO


def test_attempts_as_arguments() -> None:
    velocity = Velocity(Threshold(1, 2), Threshold(), Threshold(None, 3))
    tries = Tries("44", "t/GB", "trunk:t", velocity, (WindowCount("profile:p", "20260101", 4),))
    head = [b"44", b"t/GB", b"trunk:t", b"1", b"2", b"", b"", b"", b"3"]
    assert packed_tries(tries) == [*head, b"profile:p", b"20260101", b"4"]
    assert packed_tries(Tries("44", "", "trunk:t", None)) == [b"44", b"", b"trunk:t", *[b""] * 6]
