"""Our reading of some generated INVITEs beside that of others; `make fuzz` compares many more."""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random

import pytest

from tests.fuzz import readers
from tests.fuzz.dialects import dialect
from tests.fuzz.differences import KNOWN, TOLERATED, compare

MESSAGES = 4_000
SEED = 20261121


def messages(count: int = MESSAGES) -> list:
    random = Random(SEED)
    return [dialect(number, random) for number in range(count)]


def test_ours_beside_what_they_mean_and_sipmessage() -> None:
    found = compare(messages(), None)

    assert not found.failures, found.failures[:3]
    assert found.counts["well formed"] > 0.4 * MESSAGES
    assert found.counts["malformed, refused"] > 0.3 * MESSAGES
    assert found.counts["read as sipmessage does"] > 0.1 * MESSAGES


def test_ours_beside_kamailio(tmp_path) -> None:
    missing = readers.Kamailio.missing()
    if missing is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    peer = readers.Kamailio(tmp_path)
    try:
        those = messages()
        found = compare(those, list(peer.read([one.data for one in those])))
    finally:
        peer.stop()

    assert not found.failures, found.failures[:3]
    assert found.counts["read as kamailio does"] > 0.4 * MESSAGES
    # an explanation of what does not happen explains nothing
    assert set(found.differences) == set(KNOWN)


def test_all_that_is_tolerated_is_generated() -> None:
    assert set(TOLERATED) <= {one.broken for one in messages()}


@pytest.mark.parametrize("field", ["to_tag", "routes", "user", "length"])
def test_a_wrong_reading_is_found(monkeypatch, field: str) -> None:
    read = readers.ours
    wrong = {"to_tag": b"x", "routes": (b"<sip:x>",), "user": b"x", "length": 1}

    def careless(data: bytes):
        reading = read(data)
        return None if reading is None else replace(reading, **{field: wrong[field]})

    monkeypatch.setattr(readers, "ours", careless)
    assert compare(messages(50), None).failures


def test_a_tolerance_that_nobody_decided_is_found(monkeypatch) -> None:
    monkeypatch.delitem(TOLERATED, "empty user")
    assert "empty user" in compare(messages(), None).failures[0]
