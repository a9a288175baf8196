"""Whose numbers are whose, in a document: those that accounts and trunks list, and the objects of `dids`."""

from __future__ import annotations

from proxy.objects.document import Document, PolicyObject


def account_of(document: Document, one: PolicyObject) -> str | None:
    """The account that an object belongs to; None: nobody's own. A number that names none is of the account
    of its trunk."""
    if one.kind == "accounts":
        return one.name
    account = one.spec.get("account")
    if account is None and one.kind == "dids" and one.spec.get("trunk") is not None:
        trunk = document.find("trunks", str(one.spec["trunk"]))
        account = None if trunk is None else trunk.spec.get("account")
    return None if account is None else str(account)


def numbers_of_account(document: Document, account: str) -> list[str]:
    """The numbers of an account and of its trunks, each once."""
    found: list[str] = []
    for kind in ("accounts", "trunks"):
        for one in document.list(kind):
            if account_of(document, one) == account:
                found += one.spec.get("dids", ())
    found += [did.spec["number"] for did in document.list("dids") if account_of(document, did) == account]
    return list(dict.fromkeys(found))
