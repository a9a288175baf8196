"""The two tokens of a call."""

from __future__ import annotations

import re

from proxy.call.tokens import tokens_of


def test_both_sides_have_tokens_of_their_own_that_each_instance_knows() -> None:
    callee, caller = tokens_of("ref", b"key")
    assert (callee, caller) == tokens_of("ref", b"key")
    assert callee != caller
    assert len(callee) == len(caller) == 3 + 1 + 12
    for token in (callee, caller):
        assert re.fullmatch(rb"ref\.[A-Za-z0-9_-]{12}", token)


def test_other_refs_and_other_keys_have_other_tokens() -> None:
    keys = (b"k", b"l", b"", b"l" * 64, b"l" * 65)
    drawn = [tokens_of(ref, key) for ref in ("a", "b", "c") for key in keys]
    signatures = {token.partition(b".")[2] for tokens in drawn for token in tokens}
    assert len(signatures) == 2 * len(drawn)
