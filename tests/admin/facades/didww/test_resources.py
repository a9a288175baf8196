"""Voice OUT trunks as resources."""

from __future__ import annotations

from datetime import UTC, datetime

from proxy.admin.facades.didww.dids import Numbers, derived_id
from proxy.admin.facades.didww.listing import Query, select
from proxy.admin.facades.didww.resources import TRUNKS, included, trunk_record, trunk_resource
from proxy.admin.facades.spending import Spent
from proxy.objects.document import Document, PolicyObject

LONDON, PARIS = "+442071838750", "+33142685300"
ONE = PolicyObject(
    "trunks", "1d", "a",
    {"allowed_sip_ips": ["192.0.2.1/32"], "dids": [LONDON], "default_did": LONDON},
    {"didww": {"name": "A"}}, datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
ENTRY = PolicyObject("dids", "3d", "paris", {"number": PARIS, "trunk": "a"})
NUMBERS = Numbers(Document([ONE, ENTRY]))
BARE = PolicyObject("trunks", "2d", "b", {}, {"didww": {"name": "B"}}, datetime(2026, 1, 2, tzinfo=UTC))


def test_relationships_have_their_data_where_they_are_included() -> None:
    query = Query(include=frozenset({"dids", "default_did"}))
    shown = trunk_resource(ONE, Spent(), query, "http://a", numbers=NUMBERS, version="2026-04-16", shown=None)
    relations = shown["relationships"]
    assert [one["id"] for one in relations["dids"]["data"]] == [derived_id(LONDON), "3d"]
    assert relations["default_did"]["data"]["id"] == derived_id(LONDON)
    assert "data" not in relations["emergency_dids"]
    assert relations["dids"]["links"] == {
        "self": "http://a/voice_out_trunks/1d/relationships/dids",
        "related": "http://a/voice_out_trunks/1d/dids",
    }
    numbers = [one["attributes"]["number"] for one in included([ONE, BARE], query, "http://a", NUMBERS) or []]
    assert numbers == [LONDON[1:], PARIS[1:]]  # each once
    bare = trunk_resource(BARE, Spent(), query, "http://a", numbers=NUMBERS, version="2026-04-16", shown=None)
    assert (bare["relationships"]["dids"]["data"], bare["relationships"]["default_did"]["data"]) == ([], None)
    assert included([ONE], Query(), "http://a", NUMBERS) is None


def test_older_versions_know_no_emergency_numbers() -> None:
    flat = trunk_resource(
        ONE, Spent(), Query(), "http://a", numbers=NUMBERS, version="2021-12-15", shown=None
    )
    assert flat["relationships"].keys() == {"default_did", "dids"}


def test_sparse_fieldsets() -> None:
    query = Query(fields={"voice_out_trunks": frozenset({"name", "dids"})})
    shown = trunk_resource(
        ONE, Spent(5_000_000), query, "http://a", numbers=NUMBERS, version="2026-04-16", shown=None
    )
    assert shown["attributes"] == {"name": "A"}
    assert shown["relationships"].keys() == {"dids"}
    assert shown["meta"] == {"spent_amount": "5.0"}


def test_what_lists_look_at() -> None:
    records = [trunk_record(ONE, Spent(1, reached=True), NUMBERS), trunk_record(BARE, Spent(), NUMBERS)]
    for name, value, names in (
        ("default_did.id", derived_id(LONDON), ["A"]),
        ("threshold_reached", "true", ["A"]),
        ("authentication_method.type", "ip_only", ["A", "B"]),
        ("name_contains", "b", ["B"]),
    ):
        found = select(records, Query(filters={name: frozenset({value})}), TRUNKS)
        assert [record["name"] for record in found] == names
    assert [one["name"] for one in select(records, Query(sort=[("created_at", True)]), TRUNKS)] == ["B", "A"]
