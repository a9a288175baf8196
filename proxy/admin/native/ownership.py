"""What a token for one account sees of the policy's objects, and what it may write, over whichever API.

Limits that customers must not move belong on the account, which its own tokens cannot change: every scope can
only narrow what the others allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from config.objects import canonical
from config.problem import Finding
from proxy.admin.access.identity import Identity
from proxy.admin.access.room import without_room
from proxy.admin.access.territory import let_go, logs_in, shown_freely, taken_from_others, widened
from proxy.objects.document import Document, PolicyObject
from proxy.objects.errors import EditError, Invalid
from proxy.objects.numbers import account_of

_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_ELSEWHERE: Final = "does not go with what is set up for others: choose another value"

_OWNED: Final = frozenset({"trunks", "profiles", "outplans", "dids"})
"""Kinds whose objects belong to an account."""
_MADE: Final = frozenset({"trunks", "profiles", "outplans"})
"""Those that an account makes and changes itself."""

_WRITABLE: Final[Mapping[str, frozenset[str]]] = {
    "trunks": frozenset({
        "status", "profile", "allowed_sip_ips", "auth", "username", "password", "ha1", "default_did",
        "tech_prefix", "destination_whitelist", "default_dst_action", "dst_prefixes", "capacity_limit",
        "cps_limit", "threshold_amount", "threshold_window", "on_threshold", "max_destination_rate",
        "dial_plan", "call_probe_seconds", "max_call_seconds", "calling_window", "velocity",
        "destination_limits", "allowed_rtp_ips", "media_encryption_mode", "callback_url", "dids",
        "allow_any_did_as_cli", "on_cli_mismatch_action",
    }),
    "profiles": frozenset({
        "enabled", "destination_whitelist", "concurrent_call_limit", "cps_limit", "daily_spend_limit",
        "daily_spend_limit_enabled", "threshold_window", "max_destination_rate", "calling_window",
    }),
    "outplans": frozenset({
        "detail", "source", "dial_timeout", "try_interval", "max_try_count_0", "max_try_count_1",
        "max_try_count_2", "max_try_count_3", "max_try_count_4",
    }),
    # As carriers' APIs write them: which of its trunks a number is for, and the outbound config that an
    # operator has handed to the customer.
    "dids": frozenset({"trunk", "account"}),
    "accounts": frozenset({"destination_whitelist", "codecs", "default_did"}),
}  # fmt: skip
"""What an account may set itself. A field that is new to the program is not among them until somebody has
thought about it."""

_HIDDEN: Final = frozenset({
    "provider", "rate_deck", "refuse_below_margin", "on_ledger_unavailable", "local_capacity_limit",
    "password_file",
})  # fmt: skip
"""What is the operator's own business."""


class Forbidden(EditError):
    """A token for one account may not write this (403)."""

    def __init__(self, problems: Iterable[Finding]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{path}: {text}" for path, text in self.problems))


def sees(who: Identity, one: PolicyObject, document: Document) -> bool:
    """Whether the object, of this document, is there for this caller."""
    if who.account is None:
        return True
    if one.kind == "accounts":
        return one.name == who.account
    return one.kind in _OWNED and account_of(document, one) == who.account


def may_write(who: Identity, kind: str) -> bool:
    """Whether this caller may write objects of the kind at all, as far as they are its own."""
    return who.account is None or kind in _MADE


def fields_of(who: Identity, one: PolicyObject) -> dict[str, Any]:
    """The fields that this caller sees, secrets masked."""
    shown = one.shown
    return shown if who.account is None else {key: shown[key] for key in shown if key not in _HIDDEN}


def whole_spec(
    who: Identity, kind: str, old: PolicyObject | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """A spec that replaces another one, or is new: with `account`, and with what the caller may not write and
    leaves out."""
    if who.account is None:
        return dict(given)
    kept = {} if old is None else {key: old.spec[key] for key in old.spec if key not in _WRITABLE[kind]}
    return {**kept, **given} if old is not None else {"account": who.account, **given}


def check_name(who: Identity, kind: str, old: PolicyObject | None, name: str) -> None:
    """Raises Forbidden when this caller may not call an object so. Before anybody looks whether the name is
    taken: the names of others are not to be found out."""
    if who.account is None or (old is not None and old.name == name):
        return
    word = name.removeprefix(f"{who.account}.")
    # What begins with `acme.x.` is of the account `acme.x`, also where there is none yet.
    if word in ("", name) or "." in word:
        text = f"must be `{who.account}.` and then no dot, where a token for this account chooses it"
        raise Forbidden([Finding(f"{kind}[{name}].name", text)])


def check(who: Identity, document: Document, old: PolicyObject | None, new: PolicyObject) -> None:
    """Raises Forbidden with all that this caller may not make of an object (`old` None: of a new one), and
    Invalid where there is no room for it."""
    if who.account is None:
        return
    problems = list(_overreach(who, document, old, new))
    if problems:
        raise Forbidden(problems)
    if new.kind in _MADE:
        full = without_room(document, who.account, old, new)
        if full is not None:
            raise Invalid([Finding(f"{new.kind}[{new.name}]", full)])


def check_all(who: Identity, old: Document, new: Document) -> None:
    """As `check_name` and `check`, of all that differs between two documents."""
    if who.account is None:
        return
    foreign = "a token for one account may not change this"
    for one in old:
        after = new.find(one.kind, one.id)
        gone = after is None and one.kind not in _MADE
        if after is not one and (gone or not sees(who, one, old)):
            raise Forbidden([Finding(one.kind, foreign)])
    for one in new:
        before = old.find(one.kind, one.id)
        if before is not one:
            if not sees(who, one, new):
                raise Forbidden([Finding(one.kind, foreign)])
            check_name(who, one.kind, before, one.name)
            check(who, old, before, one)


def _overreach(
    who: Identity, document: Document, old: PolicyObject | None, new: PolicyObject
) -> Iterator[Finding]:
    before = PolicyObject(new.kind, new.id, new.name, {"account": who.account}) if old is None else old
    was, now = _comparable(before), _comparable(new)
    for field in sorted((was.keys() | now.keys()) - _writable(new.kind, now)):
        if was.get(field) != now.get(field):
            yield Finding(f"{new.kind}[{new.name}].{field}", "may not be set with a token for one account")
    countries = widened(document, who, was, now)
    if countries is not None:
        yield Finding(f"{new.kind}[{new.name}].destination_whitelist", countries)
    if new.kind == "trunks":
        taken = taken_from_others(document, who, {} if old is None else was, now)
        if taken is not None:
            yield Finding(f"trunks[{new.name}].{taken[0]}", taken[1])
        freely = shown_freely(document, who, was, now)
        if freely is not None:
            yield Finding(f"trunks[{new.name}].{freely[0]}", freely[1])
    if new.kind == "accounts":
        given_up = let_go(who, was, now)
        if given_up is not None:
            yield Finding(f"accounts[{new.name}].default_did", given_up)
    if new.kind == "trunks" and was.get("profile") != now.get("profile"):
        for name in (was.get("profile"), now.get("profile")):
            profile = document.find("profiles", str(name)) if name is not None else None
            if name is not None and (profile is None or not sees(who, profile, document)):
                text = "may be changed between profiles of this account only"
                yield Finding(f"trunks[{new.name}].profile", text)
                break


def _writable(kind: str, now: Mapping[str, Any]) -> frozenset[str]:
    """Callers from anywhere are an account's own to take where they log in, or to give up."""
    anywhere = kind == "trunks" and (logs_in(now) or not now.get("allow_any_source"))
    own = _WRITABLE.get(kind, frozenset())
    return own | {"allow_any_source"} if anywhere else own


def _comparable(one: PolicyObject) -> dict[str, Any]:
    full = one.full
    return canonical(one.kind, one.name, full, {}) if full else {}


def without_others(who: Identity, document: Document, own: str, problems: Iterable[Finding]) -> list[Finding]:
    """Problems as this caller may read them: without a word about objects that it does not see. `own` is how
    paths into its own object begin."""
    if who.account is None:
        return list(problems)
    others = {text for one in document if not sees(who, one, document) for text in (one.name, one.id)}
    found = []
    for path, text in problems:
        if not path.startswith(own):
            found.append(Finding("", _ELSEWHERE))
        elif others.isdisjoint(word.strip(".") for word in _WORD.findall(text)):
            found.append(Finding(path, text))
        else:
            found.append(Finding(path, _ELSEWHERE))
    return list(dict.fromkeys(found))
