from __future__ import annotations

from config.objects import MASK
from proxy.objects.changes import diff
from proxy.objects.document import Document


def test_what_is_new_gone_and_different() -> None:
    old = (
        Document().create("accounts", "a", {"capacity_limit": 1}, id="1").create("accounts", "b", {}, id="2")
    )
    new = old.delete("accounts", "b").patch("accounts", "a", {"capacity_limit": 2, "name": "c"})
    new = new.create("trunks", "t", {"cps_limit": 1}, id="3", extra={"didww": {"k": 1}})
    assert [(one.change, one.kind, one.name, one.id, one.fields) for one in diff(old, new)] == [
        ("deleted", "accounts", "b", "2", {"name": ["b", None]}),
        ("updated", "accounts", "c", "1", {"name": ["a", "c"], "capacity_limit": [1, 2]}),
        (
            "created",
            "trunks",
            "t",
            "3",
            {"name": [None, "t"], "cps_limit": [None, 1], "extra.didww": [None, {"k": 1}]},
        ),
    ]
    assert diff(new, new) == ()
    assert diff(new, new.patch("trunks", "t", {})) == ()


def test_secrets_are_masked_wherever_they_are() -> None:
    spec = {"username": "u", "password": "hunter2", "ha1": "f" * 64}
    old = Document().create("trunks", "t", spec, id="1", extra={"didww": {"callback_secret": "hunter3"}})
    new = old.patch("trunks", "t", {"password": "hunter4"}, extra={"didww": {"callback_secret": "hunter5"}})
    (change,) = diff(old, new)
    assert change.fields["password"] == [MASK, MASK]
    assert change.fields["extra.didww"] == [{"callback_secret": MASK}, {"callback_secret": MASK}]
    assert "hunter" not in str(diff(Document(), new)) + str(diff(new, Document())) + str(change.to_json())
    (change,) = diff(old, old.patch("trunks", "t", {"password": "${SECRET}"}))
    assert change.fields["password"] == [MASK, "${SECRET}"]
