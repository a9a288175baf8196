"""What the HTTP process has to know, handed from the SIP process to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from proxy.admin.control_protocol import decode, encode


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """What the operator says.

    host, port: where to listen; port 0 takes a free one.
    token: what callers must show; None is allowed on a loopback listener only.
    ledger_url, data_dir, lease_seconds: as `connect_ledger` takes them.
    shard_by: as the configuration has it.
    log_level: one of `proxy.observe.logs.LEVELS`.
    config_file, policy_source: where the policy is, as `open_editor` takes them.
    metrics_need_token: `/readyz` and `/metrics` do, too.
    certificate, key: with them it speaks TLS; client_ca: whoever connects shows a certificate of these
        authorities.
    """

    host: str
    port: int
    token: str | None
    ledger_url: str
    data_dir: Path
    lease_seconds: int = 30
    shard_by: str = "none"
    log_level: str = "info"
    config_file: Path = Path("trunkwarden.yaml")
    policy_source: str = "file"
    metrics_need_token: bool = False
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What the HTTP process reads from its standard input: secrets stand neither in its arguments nor in its
    environment. `listener` is the inherited descriptor of the bound socket."""

    control_path: str
    listener: int
    sip_pid: int
    token: str | None
    ledger_url: str
    data_dir: str
    lease_seconds: int
    shard_by: str
    log_level: str
    version: str
    config_file: str = "trunkwarden.yaml"
    policy_source: str = "file"
    metrics_need_token: bool = False
    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    def to_json(self) -> bytes:
        return encode(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Raises ValueError or TypeError when that is not what to_json wrote."""
        return cls(**decode(data))
