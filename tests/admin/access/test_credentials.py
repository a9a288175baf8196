from __future__ import annotations

import base64

import pytest

from proxy.admin.access.credentials import Ambiguous, shown

TOKEN = "a-long-and-random-token"


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer  {TOKEN} ", TOKEN),
        (_basic(f"anybody:{TOKEN}"), TOKEN),
        (_basic(f":{TOKEN}"), TOKEN),
        (_basic("me:with:colons"), "with:colons"),
        (_basic("me:schlüssel"), "schlüssel"),
        ("Bearer schlüssel".encode().decode("latin-1"), "schlüssel"),
        ("", ""),
        ("Bearer", ""),
        ("Bearer ", ""),
        (TOKEN, ""),
        (f"Token {TOKEN}", ""),
        (_basic(TOKEN), ""),
        ("Basic %%%", ""),
        ("Basic ", ""),
    ],
)
def test_authorization(header: str, expected: str) -> None:
    assert shown("/v1/calls", {"authorization": header}, b"") == (expected, b"")


def test_nothing_shown() -> None:
    assert shown("/v1/calls", {}, b"limit=1") == (None, b"limit=1")


@pytest.mark.parametrize(
    ("path", "expected"), [("/didww/v3/voice_out_trunks", TOKEN), ("/v1/calls", None), ("/didww", None)]
)
def test_the_api_key_of_didww(path: str, expected: str | None) -> None:
    assert shown(path, {"api-key": TOKEN}, b"")[0] == expected


@pytest.mark.parametrize(
    ("query", "token", "left"),
    [
        (b"token=abc", "abc", b""),
        (b"page_size=5&accesskey=a%62c&x=1", "abc", b"page_size=5&x=1"),
        (b"%74oken=abc", "abc", b""),
        (b"Token=abc", None, b"Token=abc"),
        (b"token", "", b""),
        (b"token=&a=b", "", b"a=b"),
        (b"token_id=abc", None, b"token_id=abc"),
    ],
)
def test_the_query_of_voipbin(query: bytes, token: str | None, left: bytes) -> None:
    assert shown("/voipbin/v1.0/providers", {}, query) == (token, left)


def test_elsewhere_the_query_is_no_place_for_a_token() -> None:
    assert shown("/v1/calls", {}, b"token=abc") == (None, b"token=abc")
    assert shown("/telnyx/v2/x", {}, b"accesskey=abc") == (None, b"accesskey=abc")


@pytest.mark.parametrize(
    ("path", "headers", "query"),
    [
        ("/voipbin/v1.0/x", {}, b"token=a&accesskey=a"),
        ("/voipbin/v1.0/x", {}, b"token=a&token=a"),
        ("/voipbin/v1.0/x", {"authorization": "Bearer a"}, b"token=a"),
        ("/didww/v3/x", {"authorization": "Bearer a", "api-key": "a"}, b""),
    ],
)
def test_two_tokens_are_one_too_many(path: str, headers: dict[str, str], query: bytes) -> None:
    with pytest.raises(Ambiguous):
        shown(path, headers, query)
