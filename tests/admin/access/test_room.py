"""How much of the policy an account's own tokens may fill."""

from __future__ import annotations

import pytest

from proxy.admin.access import room
from proxy.admin.access.room import without_room
from proxy.objects.document import Document, PolicyObject, new_id
from tests.admin.house import ROOT, House


def _document(**kinds: int) -> Document:
    document = Document()
    for kind, count in kinds.items():
        for number in range(count):
            account = {"account": "acme"}
            document = document.create(kind, f"acme.{number}", account, id=f"{kind}{number}")
    return document


def _new(kind: str, size: int = 0) -> PolicyObject:
    return PolicyObject(kind, new_id(), "acme.new", {"account": "acme", "username": "x" * size})


def test_so_many_of_each_kind() -> None:
    document = _document(trunks=room.MOST_OBJECTS, profiles=room.MOST_OBJECTS - 1)
    full = f"the account has {room.MOST_OBJECTS} trunks, and its own tokens make no more than that"
    assert without_room(document, "acme", None, _new("trunks")) == full
    assert without_room(document, "acme", None, _new("profiles")) is None
    assert without_room(document, "umbrella", None, _new("trunks")) is None
    old = document.get("trunks", "trunks0")
    assert without_room(document, "acme", old, old) is None


def test_so_much_of_all_kinds_together() -> None:
    document = _document(outplans=1).create(
        "trunks", "acme.large", {"account": "acme", "username": "x" * (room.MOST_BYTES - 1000)}, id="large"
    )
    for kind in ("trunks", "profiles"):
        assert without_room(document, "acme", None, _new(kind, 100)) is None
        assert without_room(document, "acme", None, _new(kind, 1000)) is not None
        assert without_room(document, "umbrella", None, _new(kind, 1000)) is None
    large = document.get("trunks", "large")
    smaller = PolicyObject("trunks", "large", "acme.large", {"account": "acme", "username": "x"})
    assert without_room(document, "acme", large, smaller) is None
    assert without_room(document, "acme", smaller, large) is None
    with_more = document.create("profiles", "acme.p", {"account": "acme", "detail": "x" * 2000}, id="p")
    assert without_room(with_more, "acme", smaller, large) is not None
    assert without_room(with_more, "acme", large, smaller) is None


async def test_operators_are_not_bound(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_OBJECTS", 1)
    await house.put("accounts", name="acme", destination_whitelist=["us"])
    async with await house.tenant("acme", "write") as acme, house.client(ROOT) as root:
        for kind in ("profiles", "outplans"):
            assert (await acme.post(f"/v1/{kind}", json={"name": "acme.a"})).status_code == 201
            more = await acme.post(f"/v1/{kind}", json={"name": "acme.b"})
            assert more.status_code == 422, more.text
            assert f"the account has 1 {kind}" in more.json()["problems"][0]["message"]
            fields = {"name": "acme.b", "account": "acme"}
            assert (await root.post(f"/v1/{kind}", json=fields)).status_code == 201
            assert (await acme.patch(f"/v1/{kind}/acme.b", json={"name": "acme.c"})).status_code == 200
            for name in ("a", "c"):
                assert (await acme.delete(f"/v1/{kind}/acme.{name}")).status_code == 204
            assert (await acme.post(f"/v1/{kind}", json={"name": "acme.d"})).status_code == 201
