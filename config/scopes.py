"""What the rules over a draft share: their report, and the draft's parts by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from config.model import (
    AccountConfig,
    Digest,
    LedgerConfig,
    ProfileConfig,
    ProviderConfig,
    StirConfig,
    TrunkConfig,
)
from config.problem import Finding
from config.structure import Draft, nearest


@dataclass(slots=True)
class Report:
    """What the rules found: problems refuse the file, warnings do not."""

    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Finding(path, message))

    def warn(self, path: str, message: str) -> None:
        self.warnings.append(Finding(path, message))


class Scopes:
    """The draft's parts by name, for the rules of trunks."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.providers: dict[str, ProviderConfig] = self._by_name("providers")
        self.accounts: dict[str, AccountConfig] = self._by_name("accounts")
        self.profiles: dict[str, ProfileConfig] = self._by_name("profiles")
        self.trunks: dict[str, TrunkConfig] = self._by_name("trunks")
        self.accepted = frozenset(item for _, item in draft.items.get("accept_unenforced", []))
        self.default_provider: str | None = draft.sections.get("default_provider")
        self.default_rate_deck: str | None = draft.sections.get("default_rate_deck")
        stir: StirConfig | None = draft.sections.get("stir")
        self.stir_trusted = "stir" in draft.broken or (stir is not None and bool(stir.trusted))
        ledger: LedgerConfig | None = draft.sections.get("ledger", LedgerConfig())
        self.ledger = LedgerConfig() if ledger is None else ledger
        self.digest: Digest = draft.sections.get("digest") or Digest()
        self.profile_users: dict[str, TrunkConfig] = {}
        self._known: dict[str, frozenset[str]] = {}

    def _by_name(self, key: str) -> dict[str, Any]:
        items = self._draft.items.get(key, [])
        return {item.name: item for path, item in items if path not in self._draft.faulty}

    def faulty(self, path: str) -> frozenset[str]:
        """The fields that the item at `path` lacks because they have a fault."""
        return self._draft.faulty.get(path, frozenset())

    def known(self, key: str) -> frozenset[str]:
        """The names of a list or mapping, of entries with faults too."""
        found = self._known.get(key)
        if found is None:
            names = {item.name for _, item in self._draft.items.get(key, [])}
            found = frozenset(
                names | set(self._draft.entries.get(key, {})) | self._draft.broken.get(key, set())
            )
            self._known[key] = found
        return found

    def refer(self, report: Report, key: str, name: str | None, path: str) -> None:
        """A problem unless `name` is None or the name of an entry of `key`."""
        if name is None or self._draft.objects_elsewhere or name in self.known(key):
            return
        known = self.known(key)
        what = key.removesuffix("s").replace("_", " ")
        hint = nearest(name, known) if known else f"; `{key}` is empty"
        report.problem(path, f"there is no {what} `{name}`{hint}")
