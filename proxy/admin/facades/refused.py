"""Changes of one object, and what the policy has against them, told in that object's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from proxy.admin.access.identity import Identity
from proxy.admin.native.ownership import Forbidden, check_all
from proxy.objects.document import Document, PolicyObject
from proxy.objects.editor import PolicyEditor
from proxy.objects.errors import Invalid
from proxy.objects.numbers import account_of


class Fault(NamedTuple):
    """`field` of the object; empty: the fault is not in one field of it."""

    field: str
    text: str


class Faulty(Exception):
    """The policy would have problems."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults = faults


def belongs_to(one: PolicyObject) -> str | None:
    """The account of an object; None: nobody's own."""
    if one.kind == "accounts":
        return one.name
    account = one.spec.get("account")
    return None if account is None else str(account)


def wanted_name(who: Identity, said: str) -> str:
    """What a new object of the caller's would be called: an account's names are its own, a dot, and then
    none."""
    return said if who.account is None else f"{who.account}.{said.replace('.', '-')}"


async def change_one(
    editor: PolicyEditor,
    who: Identity,
    comment: str,
    kind: str,
    key: str,
    operation: Callable[[Document], Document],
) -> Document:
    """The document after `operation` made, changed or deleted the object `key`. Who sees one account only
    may do what it may over the native API, and no more. Raises Faulty in place of Invalid and Forbidden, what
    the operation raises, and otherwise as the editor does."""
    tried = Document()

    def watched(document: Document) -> Document:
        nonlocal tried
        tried = document
        tried = operation(document)
        check_all(who, document, tried)
        return tried

    try:
        version = await editor.change(who.name, comment, watched)
    except (Invalid, Forbidden) as error:
        one = tried.find(kind, key) or tried.find(kind, key.lower())
        raise Faulty(list(_faults(error, kind, one, tried, who))) from None
    return version.document


def _faults(
    error: Invalid | Forbidden, kind: str, one: PolicyObject | None, document: Document, who: Identity
) -> Iterator[Fault]:
    """Who sees one account only is not told the names of what others have."""
    own = "" if one is None else f"{kind}[{one.name}]"
    hidden = [f"`{other.name}`" for other in document if not who.sees(account_of(document, other))]
    for path, text in error.problems:
        for name in hidden:
            text = text.replace(name, "of somebody else")
        if own and (path == own or path.startswith(f"{own}.")):
            yield Fault(path.removeprefix(own).removeprefix(".").partition(".")[0].partition("[")[0], text)
        else:
            yield Fault("", f"{path}: {text}" if path and who.account is None else text)
