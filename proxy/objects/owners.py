"""Whose a trunk is, by an id: a name can be given again, to another customer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from config.model import Config, TrunkConfig
from proxy.objects.document import Document
from proxy.objects.editor import open_editor
from proxy.objects.errors import EditError
from proxy.objects.seeding import document_of_file

IdOf = Callable[[str, str], str | None]
"""The id of an object by its kind and name; None: there is none of that name."""


def ids_of(document: Document) -> IdOf:
    """The ids in a document."""
    known = {(one.kind, one.name): one.id for one in document}
    return lambda kind, name: known.get((kind, name))


def owner_of(trunk: str, account: str | None, id_of: IdOf) -> str | None:
    """`accounts/ID`, or `trunks/ID` for a trunk of no account; None where there is no such object."""
    kind, name = ("trunks", trunk) if account is None else ("accounts", account)
    found = id_of(kind, name)
    return None if found is None else f"{kind}/{found}"


def owners_of(trunks: Iterable[TrunkConfig], id_of: IdOf) -> dict[str, str]:
    """Whose each trunk is, by its name, as far as that is known."""
    owners = {trunk.name: owner_of(trunk.name, trunk.account, id_of) for trunk in trunks}
    return {name: owner for name, owner in owners.items() if owner is not None}


async def document_in_force(path: Path, config: Config) -> Document:
    """The objects of the policy in force, for commands; `path` is the file of `config`. Raises ValueError, or
    LedgerUnavailable."""
    section, source = config.ledger, config.policy.source
    editor = open_editor(path, source, section.url, section.data_dir)
    try:
        version = await editor.current()
        if source == "store" and not version.number:  # the file's objects will be the store's first
            return document_of_file(path)[0]
        return version.document
    except (EditError, OSError) as error:
        raise ValueError(f"the policy cannot be read: {error}") from None
    finally:
        await editor.close()
