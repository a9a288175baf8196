"""Who is told of what: taken from the configuration in force by the SIP process, handed as JSON to the HTTP
process, which tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final, Self

from pydantic import SecretStr

from config.model import Config
from config.web_address import Reach
from policy.compiled import Policy, Scope, Window
from proxy.webhooks.callback_key import callback_key

CALLBACK_EVENTS: Final = ("trunk.threshold_reached", "trunk.threshold_freed")
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
    """The section `webhooks` with what is needed of the policy. `retries`: seconds from one try to the next.
    `callback_secret`: the keys of callbacks are made of it."""

    recipients: dict[str, Recipient]
    trunks: dict[str, TrunkFacts]
    currency: str
    reach: Reach
    callback_reach: Reach
    timeout: float
    retries: tuple[int, ...]
    ca_file: str | None
    callback_secret: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, config: Config, policy: Policy, ids: Mapping[str, str], owners: Mapping[str, str]) -> Self:
        """Of the configuration in force and the policy made of it; `ids` and `owners` as in `rows_of`."""
        return cls.from_json(section_of(config), rows_of(config, policy, ids, owners))

    @classmethod
    def from_json(cls, section: Mapping[str, Any], rows: Iterable[Sequence[Any]]) -> Self:
        """Of what `section_of` and `rows_of` gave. Raises KeyError, TypeError or ValueError for anything
        else."""
        recipients = {}
        for name, url, secret, events, account in section["endpoints"]:
            recipients[name] = Recipient(name, url, secret, tuple(events), account)
        trunks = {}
        secret = section["callback_secret"]
        for name, account, active, threshold, window, shard, url, id_, owner in rows:
            trunks[name] = TrunkFacts(name, account, active, threshold, window, shard, url is not None, id_)
            if url is not None and owner is not None:
                wanted = callback_of(name)
                key = None if secret is None else callback_key(secret, owner)
                recipients[wanted] = Recipient(wanted, url, key, CALLBACK_EVENTS, callback=True)
        return cls(
            recipients,
            trunks,
            section["currency"],
            _reach(section["reach"]),
            _reach(section["callback_reach"]),
            section["timeout"],
            tuple(section["retries"]),
            section["ca_file"],
            secret,
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


def section_of(config: Config) -> dict[str, Any]:
    """The section `webhooks` as JSON, with the secrets that were read for it."""
    section = config.webhooks
    return {
        "endpoints": [
            [one.name, one.url, _plain(one.secret), list(one.events), one.account]
            for one in section.endpoints
        ],
        "callback_secret": _plain(section.callback_secret),
        "currency": config.currency,
        "reach": _plain_reach(section.reach),
        "callback_reach": _plain_reach(section.callback_reach),
        "timeout": float(section.timeout_seconds),
        "retries": list(section.retry_seconds),
        "ca_file": None if section.ca_file is None else str(section.ca_file),
    }


def rows_of(
    config: Config, policy: Policy, ids: Mapping[str, str], owners: Mapping[str, str]
) -> list[list[Any]]:
    """What is needed of each trunk, as JSON; nothing when nobody is told of anything. `ids`: of trunks, where
    the policy is in the store. `owners`: whose they are; one of nobody that is known tells nobody."""
    if not config.webhooks.endpoints and all(trunk.callback_url is None for trunk in config.trunks):
        return []
    rows = []
    for trunk in config.trunks:
        name, scope = trunk.name, policy.trunks[trunk.name].scope
        active, window = trunk.status == "active", scope.window.value
        url = trunk.callback_url
        whose = [url, ids.get(name), owners.get(name)]
        rows.append([name, trunk.account, active, scope.threshold, window, scope.shard, *whose])
    return rows


def _reach(plain: Sequence[Any]) -> Reach:
    allowed, denied, key = plain
    return Reach(tuple(map(ip_network, allowed)), tuple(map(ip_network, denied)), key)


def _plain_reach(reach: Reach) -> list[Any]:
    return [list(map(str, reach.allowed)), list(map(str, reach.denied)), reach.key]


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
