"""Who is told of what: taken from the configuration in force by the SIP process, handed as JSON to the HTTP
process, which tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from typing import Any, Final, Self

from config.address import Network
from config.model import Config
from policy.compiled import Policy, Scope, Window

CALLBACK_EVENTS: Final = frozenset({"trunk.threshold_reached", "trunk.threshold_freed"})
_CALLBACK: Final = "trunk:"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is told. `callback`: in the form of DIDWW's callbacks. `secret` None: nothing signs it. `account`:
    only what concerns its trunks is told."""

    name: str
    url: str
    secret: str | None
    events: tuple[str, ...]
    account: str | None = None
    callback: bool = False


@dataclass(frozen=True, slots=True)
class TrunkFacts:
    """What events say of a trunk, and what its threshold is judged by. `id`: of the store's object; None: the
    policy is in the file."""

    name: str
    account: str | None
    active: bool
    threshold: int | None
    window: str
    shard: str
    callback: bool
    id: str | None = None

    @property
    def scope(self) -> Scope:
        """The trunk's own scope, as the ledger counts it."""
        window = Window(self.window)
        return Scope(
            f"trunk:{self.name}",
            "trunk",
            self.name,
            threshold=self.threshold,
            window=window,
            shard=self.shard,
        )


@dataclass(frozen=True, slots=True)
class HookSettings:
    """The section `webhooks` with what is needed of the policy. `retries`: seconds from one try to the
    next."""

    recipients: dict[str, Recipient]
    trunks: dict[str, TrunkFacts]
    currency: str
    allow_networks: tuple[Network, ...]
    deny_networks: tuple[Network, ...]
    timeout: float
    retries: tuple[int, ...]
    ca_file: str | None

    @classmethod
    def of(cls, config: Config, policy: Policy, ids: Mapping[str, str] | None = None) -> Self:
        """Of the configuration in force and the policy made of it. `ids` of trunks, where they have any."""
        section = config.webhooks
        recipients = {}
        for endpoint in section.endpoints:
            secret = None if endpoint.secret is None else endpoint.secret.get_secret_value()
            recipients[endpoint.name] = Recipient(
                endpoint.name, endpoint.url, secret, endpoint.events, endpoint.account
            )
        key = None if section.callback_secret is None else section.callback_secret.get_secret_value()
        trunks = {}
        for trunk in config.trunks:
            scope = policy.trunks[trunk.name].scope
            told = trunk.callback_url is not None
            trunks[trunk.name] = TrunkFacts(
                trunk.name, trunk.account, trunk.status == "active", scope.threshold, scope.window.value,
                scope.shard, told, (ids or {}).get(trunk.name),
            )  # fmt: skip
            if trunk.callback_url is not None:
                name = callback_of(trunk.name)
                recipients[name] = Recipient(
                    name, trunk.callback_url, key, tuple(sorted(CALLBACK_EVENTS)), callback=True
                )
        return cls(
            recipients, trunks, config.currency, section.allow_networks, section.deny_networks,
            float(section.timeout_seconds), section.retry_seconds,
            None if section.ca_file is None else str(section.ca_file),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        for key in ("allow_networks", "deny_networks"):
            fields[key] = [str(network) for network in fields[key]]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """What `to_json` made. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            {
                name: Recipient(**{**one, "events": tuple(one["events"])})
                for name, one in fields["recipients"].items()
            },
            {name: TrunkFacts(**one) for name, one in fields["trunks"].items()},
            fields["currency"],
            tuple(ip_network(text) for text in fields["allow_networks"]),
            tuple(ip_network(text) for text in fields["deny_networks"]),
            fields["timeout"],
            tuple(fields["retries"]),
            fields["ca_file"],
        )

    def told_of(self, event: str, trunk: str | None = None) -> Iterator[str]:
        """The names of those who are told of an event, of a trunk or of nobody's in particular."""
        facts = None if trunk is None else self.trunks.get(trunk)
        account = None if facts is None else facts.account
        for name, recipient in self.recipients.items():
            if event not in recipient.events:
                continue
            if recipient.callback:
                if trunk is not None and name == callback_of(trunk):
                    yield name
            elif recipient.account is None or recipient.account == account:
                yield name


def callback_of(trunk: str) -> str:
    """Under which name a trunk's own callback waits in the queue. No endpoint can have it."""
    return f"{_CALLBACK}{trunk}"
