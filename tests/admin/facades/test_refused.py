"""What the policy has against a change, told to who made it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from config.problem import Finding
from proxy.admin.access.identity import Identity, everything
from proxy.admin.facades.refused import Fault, Faulty, belongs_to, change_one
from proxy.objects.document import Document, new_id
from proxy.objects.errors import Invalid, ReadOnly

ACME = Identity("acme", frozenset({"write"}), "acme")
KEY = new_id()
BEFORE = Document().create("trunks", "theirs", {"account": "zenith"}, id=new_id())


class Editor:
    """An editor of a policy that is never good enough: what it says is the test's."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def change(self, author: str, comment: str, operation: Callable[[Document], Document]) -> None:
        operation(BEFORE)
        raise self._error


async def faults_of(who: Identity, *problems: tuple[str, str]) -> list[Fault]:
    editor = Editor(Invalid([Finding(*problem) for problem in problems]))

    def operation(document: Document) -> Document:
        return document.create("trunks", "acme.mine", {"account": "acme"}, id=KEY)

    with pytest.raises(Faulty) as error:
        await change_one(editor, who, "", "trunks", KEY, operation)  # type: ignore[arg-type]
    return error.value.faults


async def test_faults_are_of_fields() -> None:
    assert await faults_of(
        everything("ops"),
        ("trunks[acme.mine].dst_prefixes.deny[0]", "is in `allow` too"),
        ("trunks[acme.mine]", "needs a `rate_deck`"),
        ("trunks[acme.mine-2].name", "is of another trunk"),
        ("default_provider", "there is no provider"),
    ) == [
        Fault("dst_prefixes", "is in `allow` too"),
        Fault("", "needs a `rate_deck`"),
        Fault("", "trunks[acme.mine-2].name: is of another trunk"),
        Fault("", "default_provider: there is no provider"),
    ]


async def test_an_account_is_not_told_of_others() -> None:
    (own, other) = await faults_of(
        ACME,
        ("trunks[acme.mine].allowed_sip_ips", "cannot be told from trunk `theirs`: both have 192.0.2.1/32"),
        ("trunks[theirs].profile", "there is no profile"),
    )
    assert own == Fault(
        "allowed_sip_ips", "cannot be told from trunk of somebody else: both have 192.0.2.1/32"
    )
    assert other == Fault("", "there is no profile")


async def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ReadOnly):
        await change_one(Editor(ReadOnly("no")), ACME, "", "trunks", KEY, lambda old: old)  # type: ignore[arg-type]


def test_whose_an_object_is() -> None:
    document = BEFORE.create("accounts", "acme", {}, id=new_id()).create("profiles", "p", {}, id=new_id())
    assert [belongs_to(one) for one in document] == ["acme", None, "zenith"]
