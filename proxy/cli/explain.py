"""The `explain` command: asks, and shows the answer as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.admission.inquiry import add_headroom, inquire
from proxy.configuration import Compiled
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.ledger.sharded_ledger import connector_of

_FACTS = (
    "decision", "reason", "sip_status", "sip_reason", "trunk", "provider", "called", "country", "destination",
    "rate", "request_uri", "policy_version",
)  # fmt: skip


async def ask(
    compiled: Compiled,
    source: str,
    to: str,
    from_uri: str | None,
    message: str | None,
    live: bool,
    user: str | None = None,
) -> dict[str, Any]:
    """The fields of the contract. Raises ValueError for what cannot be asked or, with `live`, not be
    answered."""
    if compiled.policy is None or compiled.config is None:
        raise ValueError("there is no policy to ask")
    verdict, fields = inquire(compiled.policy, source, to, from_uri, message, user)
    if live:
        try:
            section = compiled.config.ledger
            ledger = await connector_of(section.shard_by)(section.url, section.data_dir)
            try:
                await add_headroom(compiled.policy, fields, verdict, ledger)
            finally:
                await ledger.close()
        except (LedgerUnavailable, LedgerRefused) as error:
            raise ValueError(f"the ledger cannot be asked: {error}") from error
    return fields


def render(fields: dict[str, Any]) -> None:
    """Every check with its outcome, then what the caller would see."""
    console = Console()
    checks = Table(title="checks")
    for column in ("check", "scope", "outcome", "detail"):
        checks.add_column(column, overflow="fold")
    styles = {"pass": "green", "refuse": "red"}
    for check in fields["checks"]:
        outcome = Text(check["outcome"], style=styles.get(check["outcome"], ""))
        checks.add_row(Text(check["name"]), Text(check["scope"]), outcome, Text(check["detail"]))
    console.print(checks)
    if fields.get("headroom"):
        room = Table(title="headroom")
        rows = [[_value(value) for value in row.values()] for row in fields["headroom"]]
        for heading, shown in zip(fields["headroom"][0], zip(*rows, strict=True), strict=True):
            # Where there is little room, headings are wrapped between words, scopes anywhere, numbers never.
            least = None if heading == "scope" else max(map(len, shown))
            room.add_column(heading.replace("_", " "), overflow="fold", min_width=least)
        for row in rows:
            room.add_row(*map(Text, row))
        console.print(room)
    elif fields["decision"] == "admitted" and fields.get("headroom") is None:
        console.print("headroom: not asked; --live asks the ledger what the limits leave", soft_wrap=True)
    for name in _FACTS:
        value = fields.get(name)
        if value is not None:
            console.print(Text(f"{name}: {value}"), soft_wrap=True)


def _value(value: object) -> str:
    return "unlimited" if value is None else str(value)
