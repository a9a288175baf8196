"""The section `webhooks`: who is told of events, and how."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from config.address import is_address
from config.problem import Finding, join
from config.values import Name, SourceNetwork, integer, one_of
from config.web_address import Reach, WebUrl, forbidden, read_web_address

EVENTS: Final = (
    "trunk.threshold_reached",
    "trunk.threshold_freed",
    "trunk.blocked",
    "trunk.unblocked",
    "call.outbound_whitelist_rejected",
    "velocity.threshold_passed",
    "provider.down",
    "provider.up",
    "policy.changed",
)
"""What there is to be told of."""

SCHEDULE: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from one try to the next: the example of Standard Webhooks, three days in all."""

_LEAST_KEY: Final = 24
_LONGEST_KEY: Final = 64
_LEAST_SECRET: Final = 24  # characters; every customer has a key made of it, to guess by


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _all_events(value: Any) -> Any:
    return EVENTS if value == "all" else value


class EndpointConfig(_Section):
    """Who is told. `secret_file` is read into `secret` when the file is loaded. `account`: only what concerns
    its trunks is told."""

    name: Name
    url: WebUrl
    secret: SecretStr | None = None
    secret_file: Path | None = None
    events: Annotated[tuple[Annotated[str, one_of(*EVENTS)], ...], BeforeValidator(_all_events)] = EVENTS
    account: Name | None = None


def _some_try(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(value) > 32:
        raise ValueError("must have at most 32 pauses")
    return value


class WebhooksConfig(_Section):
    """`allow_networks`: addresses that are not public and where endpoints may be; `callback_networks`: such
    ones where a trunk's own `callback_url`, which a customer may choose, may lead; `deny_networks`: public
    ones that nothing leads to. `retry_seconds`: the pauses between tries; after the last try an event is
    given up. `ca_file`: authorities to trust in place of the system's. `callback_secret` signs callbacks."""

    endpoints: tuple[EndpointConfig, ...] = ()
    allow_networks: tuple[SourceNetwork, ...] = ()
    callback_networks: tuple[SourceNetwork, ...] = ()
    deny_networks: tuple[SourceNetwork, ...] = ()
    timeout_seconds: Annotated[int, integer(1, 60, " seconds")] = 15
    retry_seconds: Annotated[
        tuple[Annotated[int, integer(1, 604_800, " seconds")], ...], AfterValidator(_some_try)
    ] = SCHEDULE
    ca_file: Path | None = None
    callback_secret: SecretStr | None = None
    callback_secret_file: Path | None = None

    @property
    def reach(self) -> Reach:
        """Where endpoints may be."""
        return Reach(self.allow_networks, self.deny_networks)

    @property
    def callback_reach(self) -> Reach:
        """Where a trunk's `callback_url` may lead."""
        return Reach(self.callback_networks, self.deny_networks, "callback_networks")


def check_webhooks(webhooks: WebhooksConfig) -> tuple[list[Finding], list[Finding]]:
    """Problems and warnings of the section, references to accounts left out."""
    problems: list[Finding] = []
    warnings: list[Finding] = []
    names: dict[str, str] = {}
    for index, endpoint in enumerate(webhooks.endpoints):
        path = f"webhooks.endpoints[{index}]"
        if endpoint.name in names:
            text = f"`{endpoint.name}` is the name of {names[endpoint.name]} too"
            problems.append(Finding(join(path, "name"), text))
        names.setdefault(endpoint.name, path)
        if endpoint.secret is not None and endpoint.secret_file is not None:
            problems.append(Finding(join(path, "secret_file"), "give `secret` or `secret_file`, not both"))
        if endpoint.secret is None and endpoint.secret_file is None:
            text = "needs `secret_file` (or `secret`): what it is sent is signed"
            problems.append(Finding(path, text))
        if endpoint.events == ():
            warnings.append(Finding(join(path, "events"), "is empty: nothing is told"))
        wrong, doubtful = check_destination(endpoint.url, webhooks.reach)
        problems += [Finding(join(path, "url"), text) for text in wrong]
        warnings += [Finding(join(path, "url"), text) for text in doubtful]
    if webhooks.callback_secret is not None and webhooks.callback_secret_file is not None:
        text = "give `callback_secret` or `callback_secret_file`, not both"
        problems.append(Finding("webhooks.callback_secret_file", text))
    return problems, warnings


def check_callback(url: str, webhooks: WebhooksConfig) -> tuple[list[str], list[str]]:
    """As `check_destination`, of a trunk's own `callback_url`."""
    wrong, doubtful = check_destination(url, webhooks.callback_reach)
    if webhooks.callback_secret is None and webhooks.callback_secret_file is None:
        doubtful.append("is told without a signature: there is no `webhooks.callback_secret_file`")
    return wrong, doubtful


def check_destination(url: str, reach: Reach) -> tuple[list[str], list[str]]:
    """What is wrong and what is doubtful with where a URL leads, as far as its words tell. Where a name leads
    is judged each time that it is used."""
    address = read_web_address(url)
    if is_address(address.host):
        why = forbidden(address.host, reach)
        if why is not None:
            return [f"leads nowhere that is sent to: {why} of `webhooks`"], []
    if address.scheme == "http":
        return [], ["is not `https`: everybody on the way can read what is told"]
    return [], []


def secret_findings(webhooks: WebhooksConfig) -> list[Finding]:
    """Secrets, once their files are read, that are none of Standard Webhooks, or too short."""
    findings = []
    for index, endpoint in enumerate(webhooks.endpoints):
        if endpoint.secret is not None and not _is_key(endpoint.secret.get_secret_value()):
            key = "secret" if endpoint.secret_file is None else "secret_file"
            text = "must be `whsec_` and 24 to 64 random bytes in base64, as Standard Webhooks has it"
            findings.append(Finding(f"webhooks.endpoints[{index}].{key}", text))
    secret = webhooks.callback_secret
    if secret is not None and len(secret.get_secret_value()) < _LEAST_SECRET:
        key = "callback_secret" if webhooks.callback_secret_file is None else "callback_secret_file"
        text = f"must be at least {_LEAST_SECRET} characters, such as `openssl rand -hex 32` writes"
        findings.append(Finding(f"webhooks.{key}", text))
    return findings


def _is_key(secret: str) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return secret.startswith("whsec_") and _LEAST_KEY <= len(key) <= _LONGEST_KEY
