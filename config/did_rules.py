"""The numbers of `dids` among those that accounts and trunks list themselves, and the rules about both."""

from __future__ import annotations

from collections.abc import Iterator

from config.model import AccountConfig, DidConfig, TrunkConfig
from config.problem import join
from config.scopes import Report, Scopes
from config.structure import Draft

_Holder = AccountConfig | TrunkConfig


def place_dids(draft: Draft) -> None:
    """Put every number into the `dids` of its trunk, or of its account where it names no trunk. From there on
    nothing has to know that there are two places to say it."""
    entries: list[DidConfig] = [did for _, did in draft.items.get("dids", [])]
    of_trunks: dict[str, list[str]] = {}
    of_accounts: dict[str, list[str]] = {}
    for did in entries:
        if did.trunk is not None:
            of_trunks.setdefault(did.trunk, []).append(did.number)
        elif did.account is not None:
            of_accounts.setdefault(did.account, []).append(did.number)
    for key, numbers in (("trunks", of_trunks), ("accounts", of_accounts)):
        if numbers and key in draft.items:
            draft.items[key] = [
                (path, _with(item, numbers.get(item.name, []))) for path, item in draft.items[key]
            ]


def _with(holder: _Holder, numbers: list[str]) -> _Holder:
    # To one that may show any number of its account none is given: a rule below says so.
    if not numbers or (isinstance(holder, TrunkConfig) and holder.allow_any_did_as_cli):
        return holder
    return holder.model_copy(update={"dids": tuple(dict.fromkeys([*holder.dids, *numbers]))})


def check_dids(draft: Draft, scopes: Scopes, report: Report) -> None:
    """A number is there once, and of one account."""
    names: dict[str, str] = {}
    numbers: dict[str, DidConfig] = {}
    owners: dict[str, str] = {}
    for path, did in draft.items.get("dids", []):
        scopes.refer(report, "accounts", did.account, join(path, "account"))
        scopes.refer(report, "trunks", did.trunk, join(path, "trunk"))
        if "number" in scopes.faulty(path):
            continue
        other = numbers.setdefault(did.number, did)
        if other is not did:
            report.problem(join(path, "number"), f"`{did.number}` is the number of did `{other.name}` too")
            continue
        first = names.setdefault(did.name, path)
        if first != path:
            report.problem(join(path, "name"), f"`{did.name}` is the name of {first} too")
        if _agrees(did, path, scopes, report):
            trunk = scopes.trunks.get(did.trunk or "")
            owner = did.account if trunk is None else trunk.account
            if owner is not None:
                owners[did.number] = owner
    _check_holders(draft, scopes, owners, report)


def _agrees(did: DidConfig, path: str, scopes: Scopes, report: Report) -> bool:
    """Whether account and trunk go together."""
    trunk = scopes.trunks.get(did.trunk or "")
    if trunk is None:
        return True
    if trunk.allow_any_did_as_cli:
        text = f"`{trunk.name}` has `allow_any_did_as_cli`, so it lists no numbers: give the `account` alone"
        report.problem(join(path, "trunk"), text)
    if did.account in (None, trunk.account):
        return True
    whose = "of no account" if trunk.account is None else f"of account `{trunk.account}`"
    report.problem(join(path, "account"), f"is `{did.account}`, and trunk `{trunk.name}` is {whose}")
    return False


def _check_holders(draft: Draft, scopes: Scopes, owners: dict[str, str], report: Report) -> None:
    """Nobody lists or shows a number of another account."""
    if not owners:
        return
    for key in ("accounts", "trunks"):
        for path, item in draft.items.get(key, []):
            account = item.name if key == "accounts" else item.account
            if "account" in scopes.faulty(path):
                continue
            for below, number in _listed(path, item):
                owner = owners.get(number, account)
                if owner != account:
                    report.problem(below, f"`{number}` is of account `{owner}`, as `dids` says")


def _listed(path: str, holder: _Holder) -> Iterator[tuple[str, str]]:
    for index, number in enumerate(holder.dids):
        yield join(join(path, "dids"), index), number
    if holder.default_did is not None:
        yield join(path, "default_did"), holder.default_did
