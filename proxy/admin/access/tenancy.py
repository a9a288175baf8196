"""Accounts as tokens mean them: by their ids, since names can be given again, to another customer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from proxy.admin.access.door import Find
from proxy.ledger.tokens import StoredToken
from proxy.objects.document import Document
from proxy.objects.editor import PolicyEditor

_FEW: Final = 10


class NoSuchAccount(ValueError):
    """No account has that name."""


def id_of_account(document: Document, name: str) -> str:
    """The id of the account of that name. Raises NoSuchAccount, which tells the names where they are few."""
    accounts = document.list("accounts")
    for one in accounts:
        if one.name == name:
            return one.id
    text = f"there is no account `{name}`"
    if 0 < len(accounts) <= _FEW:
        text += f"; there are {', '.join(f'`{one.name}`' for one in accounts)}"
    raise NoSuchAccount(text)


def in_force(find: Find, editor: PolicyEditor) -> Callable[[str], Awaitable[StoredToken | None]]:
    """`find`, but a token whose account is there no more is not found, like one that was revoked; one whose
    account was renamed has the present name. One that knows no account's id, only a name, is not found."""

    async def found(token_id: str) -> StoredToken | None:
        stored = await find(token_id)
        if stored is None or stored.account is None:
            return stored
        if stored.account_id is None:
            return None
        account = (await editor.current()).document.find("accounts", stored.account_id)
        if account is None or account.id != stored.account_id:
            return None
        return replace(stored, account=account.name)

    return found
