from __future__ import annotations

import pytest

from proxy.call.nonce import LIFETIME_SECONDS, SKEW_SECONDS, Nonces

KEY = b"k" * 32


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


def test_any_instance_with_the_key_knows_it() -> None:
    clock = Clock()
    nonce = Nonces(KEY, clock).make("192.0.2.1", b"branch")
    assert Nonces(KEY, clock).fresh(nonce, "192.0.2.1")
    assert not Nonces(b"x" * 32, clock).fresh(nonce, "192.0.2.1")
    assert not Nonces(KEY, clock).fresh(nonce, "192.0.2.2")


@pytest.mark.parametrize(
    ("seconds", "fresh"),
    [
        (LIFETIME_SECONDS, True),
        (LIFETIME_SECONDS + 1, False),
        (-SKEW_SECONDS, True),
        (-SKEW_SECONDS - 1, False),
    ],
)
def test_it_lives_as_long_as_it_says(seconds: int, fresh: bool) -> None:
    clock = Clock()
    nonces = Nonces(KEY, clock)
    nonce = nonces.make("192.0.2.1", b"branch")
    clock.ms += seconds * 1000
    assert nonces.fresh(nonce, "192.0.2.1") is fresh


def test_every_bit_counts() -> None:
    nonces = Nonces(KEY, Clock())
    nonce = nonces.make("192.0.2.1", b"branch")
    for at in range(len(nonce)):
        other = b"A" if nonce[at : at + 1] != b"A" else b"B"
        assert not nonces.fresh(nonce[:at] + other + nonce[at + 1 :], "192.0.2.1"), at
    for wrong in (b"", nonce[:-1], nonce + b"A", nonce[:-1] + b"\n", nonce[:-1] + b"="):
        assert not nonces.fresh(wrong, "192.0.2.1")


def test_copies_of_one_request_get_one_nonce_and_others_others() -> None:
    nonces = Nonces(KEY, Clock())
    assert nonces.make("192.0.2.1", b"a") == nonces.make("192.0.2.1", b"a")
    assert nonces.make("192.0.2.1", b"a") != nonces.make("192.0.2.1", b"b")
    assert nonces.make("192.0.2.1", b"a") != nonces.make("192.0.2.2", b"a")
