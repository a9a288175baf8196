"""Each customer's callbacks are signed with a key of their own."""

from __future__ import annotations

from proxy.webhooks.callback_key import callback_key

SECRET = "a-secret-of-twenty-four-characters"


def test_it_is_what_openssl_makes() -> None:
    # printf accounts/4ea8edca | openssl dgst -sha256 -hmac a-secret-of-twenty-four-characters
    expected = "4a20b4bb58a7019ad70fc870ce1ff280277db0b91c103352bad8997b13df9a27"
    assert callback_key(SECRET, "accounts/4ea8edca") == expected


def test_no_two_customers_share_one() -> None:
    keys = {callback_key(SECRET, owner) for owner in ("accounts/1", "accounts/2", "trunks/1")}
    assert len(keys | {callback_key(SECRET + "x", "accounts/1")}) == 4
