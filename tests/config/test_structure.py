"""Sections and items are read by themselves."""

from __future__ import annotations

import pytest

from config.structure import nearest, read_structure


def test_a_fault_in_one_item_leaves_the_others() -> None:
    draft, findings = read_structure(
        {
            "currency": "usd",
            "timers": {"t1_ms": "fast", "no_answer_seconds": "60"},
            "accounts": [
                {"name": "a"},
                {"name": "b", "capacity_limit": "x", "status": "blocked"},
                {"nme": "c"},
            ],
            "rate_decks": {"good": {"file": "a.csv"}, "bad": {"fiel": "b.csv"}},
        }
    )
    assert [finding.path for finding in findings] == [
        "currency",
        "timers.t1_ms",
        "accounts[1].capacity_limit",
        "accounts[2].name",
        "accounts[2].nme",
        "rate_decks.bad.fiel",
    ]
    assert [(path, item.name, item.status) for path, item in draft.items["accounts"]] == [
        ("accounts[0]", "a", "active"),
        ("accounts[1]", "b", "blocked"),
    ]
    assert draft.faulty["accounts[1]"] == {"capacity_limit"}
    assert list(draft.entries["rate_decks"]) == ["good"]
    assert draft.broken["rate_decks"] == {"bad"}
    assert draft.broken["accounts"] == {"b"}


def test_a_sound_tree_is_a_configuration() -> None:
    draft, findings = read_structure(
        {"accounts": [{"name": "a"}], "exchange_rates": {"EUR": "1.08"}, "trunks": None}
    )
    assert findings == []
    config = draft.config()
    assert [account.name for account in config.accounts] == ["a"]
    assert config.trunks == ()


@pytest.mark.parametrize("value", [None, "text", ["list"]])
def test_the_whole_must_be_a_mapping(value: str | list[str] | None) -> None:
    _, findings = read_structure(value)  # type: ignore[arg-type]
    assert [finding.path for finding in findings] == [""]


def test_nearest() -> None:
    assert nearest("Capacity_Limt", ["cps_limit", "capacity_limit"]) == "; did you mean `capacity_limit`?"
    assert nearest("zzz", ["cps_limit"]) == ""
    assert nearest("acme", []) == ""
