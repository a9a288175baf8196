"""Names that a trunk may refer to."""

from __future__ import annotations

from config.scopes import Report, Scopes
from config.structure import read_structure

TREE = {
    "providers": [
        {"name": "sound", "hostname": "a"},
        {"name": "partly", "hostname": "b", "capacity_limit": "x"},
        {"name": "lost"},
    ],
    "rate_decks": {"retail": {"file": "a.csv"}},
}


def test_broken_entries_are_known_but_not_given() -> None:
    draft, _ = read_structure(TREE)  # type: ignore[arg-type]
    scopes = Scopes(draft)
    assert scopes.known("providers") == {"sound", "partly", "lost"}
    assert set(scopes.providers) == {"sound"}
    assert scopes.faulty("providers[1]") == {"capacity_limit"}


def test_refer_reports_unknown_names_only() -> None:
    draft, _ = read_structure(TREE)  # type: ignore[arg-type]
    scopes, report = Scopes(draft), Report()
    for name in (None, "sound", "partly", "lost"):
        scopes.refer(report, "providers", name, "p")
    scopes.refer(report, "rate_decks", "retail", "p")
    assert report.problems == []
    scopes.refer(report, "providers", "sond", "p")
    assert report.problems == [("p", "there is no provider `sond`; did you mean `sound`?")]
