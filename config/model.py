"""The configuration as it stands in the YAML file: one frozen model a section, attributes named as the keys.

Pure: no file is read here. Everything may be given as the text of the file or as the Python value. Rules that
look at more than one field or section are in config.references. A limit of None is no limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    model_validator,
)

from config.address import is_address, split_host_port
from config.attempts import CallingWindowConfig, DestinationLimits, VelocityConfig
from config.credentials import DigestAlgorithm, Realm, Username, some_algorithm, stored_ha1
from config.deck import DeckRow
from config.did import Did, DidConfig
from config.ledger_url import ledger_url
from config.outplan import OutplanConfig
from config.policy_source import PolicyConfig, RateDeckRef
from config.values import (
    REASON_CODES,
    Amount,
    CallsPerSecond,
    Capacity,
    Country,
    Currency,
    ExchangeRate,
    Flag,
    HighRiskList,
    HttpsAddress,
    Kind,
    Name,
    NonGeographicCode,
    NumberPrefix,
    Price,
    ProviderAffix,
    SourceNetwork,
    TrunkTechPrefix,
    integer,
    not_empty,
    one_of,
    show,
)
from config.web_address import WebUrl
from config.webhooks import WebhooksConfig

__all__ = [
    "UNENFORCED", "AccountConfig", "Admin", "Config", "DeckRow", "DialPlanConfig", "DidConfig", "Digest",
    "DstPrefixes", "Emergency",
    "LedgerConfig", "Listener", "OutplanConfig", "PolicyConfig", "ProfileConfig", "ProviderConfig",
    "RateDeckRef", "Records", "StirConfig",
    "TimersConfig",
    "TrunkConfig", "WebhooksConfig", "unenforced_fields",
]  # fmt: skip

Transport = Literal["udp", "tcp", "tls"]
OnUnavailable = Annotated[Literal["reject", "admit"], one_of("reject", "admit")]
ThresholdWindow = Annotated[Literal["rolling_24h", "utc_day"], one_of("rolling_24h", "utc_day")]
Status = Annotated[Literal["active", "blocked"], one_of("active", "blocked")]

_DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="constants"
    )


def _bind(value: Any) -> str:
    """`transport:address[:port]`; the address is one of this machine's, so a name is refused."""
    if not isinstance(value, str):
        raise ValueError("must be text such as `udp:127.0.0.1:5060`")
    transport, colon, rest = value.partition(":")
    if not colon or transport not in get_args(Transport):
        raise ValueError(f"`{value}` must begin with `udp:`, `tcp:` or `tls:`, such as `udp:127.0.0.1:5060`")
    return f"{transport}:{_own_address(rest)}"


def _own_address(value: str) -> str:
    host, _ = split_host_port(value)
    if not is_address(host):
        raise ValueError(
            f"`{host}` is a name: write an address of this machine, such as `127.0.0.1` or `[::1]`"
        )
    return value


def _host_port(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text such as `sip.example.org:5060`, not {show(value)}")
    if value.startswith(("sip:", "sips:")):
        raise ValueError(
            f"`{value}` is a URI: write the host, or host and port, such as `sip.example.org:5060`"
        )
    split_host_port(value)
    return value


HostPort = Annotated[str, BeforeValidator(_host_port)]


class Listener(_Section):
    """A SIP socket: `udp:127.0.0.1:5060`, or a mapping where it has a certificate or a name of its own."""

    bind: Annotated[str, BeforeValidator(_bind)]
    advertise: HostPort | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"bind": value} if isinstance(value, str) else value

    @property
    def transport(self) -> Transport:
        transport = self.bind.partition(":")[0]
        return "tls" if transport == "tls" else "tcp" if transport == "tcp" else "udp"

    @property
    def host(self) -> str:
        """The address, IPv6 without brackets."""
        return split_host_port(self.bind.partition(":")[2])[0]

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose; not written: 5060, for tls 5061."""
        port = split_host_port(self.bind.partition(":")[2])[1]
        return _DEFAULT_PORT[self.transport] if port is None else port


def _admin_listen(value: Any) -> str:
    if not isinstance(value, str) or split_host_port(value)[1] is None:
        raise ValueError("must be an address and a port, such as `127.0.0.1:8080`")
    return _own_address(value)


class Admin(_Section):
    """The HTTP side. `token_file` is read into `token` when the file is loaded. With a certificate it speaks
    TLS only; with `client_ca_file` whoever connects shows a certificate of one of these authorities."""

    listen: Annotated[str, BeforeValidator(_admin_listen)] = "127.0.0.1:8080"
    token: SecretStr | None = None
    token_file: Path | None = None
    metrics_need_token: Flag = False
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None

    @property
    def host(self) -> str:
        return split_host_port(self.listen)[0]

    @property
    def port(self) -> int:
        return split_host_port(self.listen)[1] or 0


class LedgerConfig(_Section):
    """Where calls and money are counted. `secret_file` is read into `secret` when the file is loaded."""

    url: Annotated[str, BeforeValidator(ledger_url)] = Field(default="embedded", repr=False)
    data_dir: Annotated[Path, BeforeValidator(not_empty)] = Path("var")
    lease_seconds: Annotated[int, integer(2, 3600, " seconds")] = 30
    on_unavailable: OnUnavailable = "reject"
    local_capacity_limit: Capacity | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    shard_by: Annotated[Literal["none", "account"], one_of("none", "account")] = "none"


class TimersConfig(_Section):
    """T1 in milliseconds; how long a provider may say nothing at all; how long a call may ring (Timer C); the
    longest interval between two refreshes of a session (RFC 4028), at least 90, or 0 to ask for none."""

    t1_ms: Annotated[int, integer(10, 4000, " milliseconds")] = 500
    provider_response_seconds: Annotated[int, integer(1, 60, " seconds")] = 6
    no_answer_seconds: Annotated[int, integer(1, 3600, " seconds")] = 185
    session_expires_seconds: Annotated[int, integer(0, 86400, " seconds")] = 1800


class Records(_Section):
    """Where decision and call detail records go: a file of JSON lines, `-` for stdout, None for neither."""

    file: Annotated[str, BeforeValidator(not_empty)] | None = None


def _dialled_prefix(value: Any) -> str:
    if not isinstance(value, str) or not (
        value == "" or (value.isascii() and value.isdigit() and len(value) <= 15)
    ):
        raise ValueError("must be digits as they are dialled, such as `00`")
    return value


def _country_code(value: Any) -> str:
    text = value.removeprefix("+") if isinstance(value, str) else ""
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 3 and not text.startswith("0")):
        raise ValueError("must be a calling code of 1 to 3 digits that does not begin with 0, such as `44`")
    return text


DialledPrefix = Annotated[str, BeforeValidator(_dialled_prefix)]
CountryCode = Annotated[str, BeforeValidator(_country_code)]


class Digest(_Section):
    """How trunks are asked for credentials: the realm, and the algorithms in the order in which they are
    offered."""

    realm: Realm = "trunkwarden"
    algorithms: Annotated[tuple[DigestAlgorithm, ...], AfterValidator(some_algorithm)] = (
        "SHA-256",
        "SHA-512-256",
    )


class TrustedSigner(_Section):
    """A certificate whose PASSporTs are believed: where it is published, and the copy that is read here."""

    x5u: HttpsAddress
    certificate_file: Path


class StirConfig(_Section):
    """STIR/SHAKEN: what calls are signed with, `x5u` being where the certificate is published, and whose
    signatures are believed."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    x5u: HttpsAddress | None = None
    trusted: tuple[TrustedSigner, ...] = ()


class ProviderConfig(_Section):
    """A carrier that calls are sent to. Over TLS: `ca_file` verifies its certificate (None: the system's
    authorities), `certificate_file` and `key_file` are shown where it asks for one (None: the listener's).
    `rate_deck` is what it charges.

    `username` and `password_file` answer its challenges, of `realm` alone (None: its host).
    `register_seconds`: it wants REGISTER, kept up for so long at a time; 0: it does not."""

    name: Name
    hostname: HostPort
    transport: Annotated[Transport, one_of("udp", "tcp", "tls")] = "udp"
    tech_prefix: ProviderAffix = ""
    tech_postfix: ProviderAffix = ""
    tech_headers: dict[str, str] = {}
    strip_plus: Flag = False
    trusted: Flag = True
    cli_format: (
        Annotated[Literal["e164", "plus_e164", "national"], one_of("e164", "plus_e164", "national")] | None
    ) = None
    cli_country_code: CountryCode | None = None
    cli_national_prefix: DialledPrefix = ""
    networks: tuple[SourceNetwork, ...] | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    username: Username | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    realm: Realm | None = None
    register_seconds: Annotated[int, integer(0, 86400, " seconds")] = 0
    status: Status = "active"
    capacity_limit: Capacity | None = None
    cps_limit: CallsPerSecond | None = None
    rate_deck: Name | None = None

    @property
    def host(self) -> str:
        """The host name or address, IPv6 without brackets."""
        return split_host_port(self.hostname)[0]

    @property
    def port(self) -> int | None:
        """The port that was written; None: found by the name."""
        return split_host_port(self.hostname)[1]


class AccountConfig(_Section):
    """A customer: limits over all of his trunks. `dids`: numbers that are not one trunk's, for those with
    `allow_any_did_as_cli`. `default_did`: shown for callers that have none of the customer's numbers, on
    trunks that would send what the caller says."""

    name: Name
    status: Status = "active"
    destination_whitelist: tuple[Country, ...] | None = None
    capacity_limit: Capacity | None = None
    cps_limit: CallsPerSecond | None = None
    threshold_amount: Amount | None = None
    threshold_window: ThresholdWindow = "rolling_24h"
    deny_kinds: tuple[Kind, ...] = ()
    high_risk: tuple[HighRiskList, ...] = ()
    dids: tuple[Did, ...] = ()
    default_did: Did | None = None
    codecs: tuple[str, ...] = ()


class ProfileConfig(_Section):
    """A named outbound policy that several trunks share; its limits are totals over all of them.

    The daily spend limit counts only while enabled, in `threshold_window`: a UTC day unless said otherwise.
    `account`: the only account whose trunks may use it; None: any trunk may.
    """

    name: Name
    account: Name | None = None
    enabled: Flag = True
    destination_whitelist: tuple[Country, ...] | None = None
    concurrent_call_limit: Capacity | None = None
    cps_limit: CallsPerSecond | None = None
    daily_spend_limit: Amount | None = None
    daily_spend_limit_enabled: Flag = False
    threshold_window: ThresholdWindow = "utc_day"
    deny_kinds: tuple[Kind, ...] = ()
    high_risk: tuple[HighRiskList, ...] = ()
    max_destination_rate: Price | None = None
    calling_window: CallingWindowConfig | None = None


class DstPrefixes(_Section):
    """Prefix rules: the longest match of both lists decides; no match: the trunk's `default_dst_action`."""

    allow: tuple[NumberPrefix, ...] = ()
    deny: tuple[NumberPrefix, ...] = ()


class DialPlanConfig(_Section):
    """How a PBX's dialled digits are read as E.164; see the contract of `dial_plan`."""

    country_code: CountryCode | None = None
    international_prefixes: tuple[DialledPrefix, ...] = ()
    national_prefixes: tuple[DialledPrefix, ...] = ()
    bare_e164: Flag = False


class TrunkConfig(_Section):
    """A customer's connection. `password_file` is read into `password` when the file is loaded.

    `refuse_below_margin`: what a minute must be sold for above what its provider charges, in the accounting
    currency; None: not looked at. `deny_kinds` None: premium and satellite, but for calling codes that
    `allow_non_geographic` names. `high_risk`: lists of ranges known for fraud that are denied.
    `allowed_rtp_ips` None: media may come from anywhere. `callback_url` is told of the trunk's threshold.
    """

    name: Name
    status: Status = "active"
    account: Name | None = None
    profile: Name | None = None
    provider: Name | None = None
    allowed_sip_ips: tuple[SourceNetwork, ...] = ()
    allow_any_source: Flag = False
    auth: Annotated[Literal["ip", "digest", "ip_and_digest"], one_of("ip", "digest", "ip_and_digest")] = "ip"
    username: Username | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ha1: Annotated[SecretStr, BeforeValidator(stored_ha1)] | None = None
    dids: tuple[Did, ...] = ()
    allow_any_did_as_cli: Flag = False
    on_cli_mismatch_action: Annotated[
        Literal["send_original_cli", "reject_call", "replace_cli", "randomize_cli"],
        one_of("send_original_cli", "reject_call", "replace_cli", "randomize_cli"),
    ] = "send_original_cli"
    default_did: Did | None = None
    identity_header: Annotated[
        Literal["pass", "remove", "verify", "require"], one_of("pass", "remove", "verify", "require")
    ] = "pass"
    tech_prefix: TrunkTechPrefix | None = None
    destination_whitelist: tuple[Country, ...] | None = None
    allow_any_country: Flag = False
    default_dst_action: Annotated[Literal["allow_all", "reject_all"], one_of("allow_all", "reject_all")] = (
        "allow_all"
    )
    dst_prefixes: DstPrefixes = DstPrefixes()
    deny_kinds: tuple[Kind, ...] | None = None
    high_risk: tuple[HighRiskList, ...] = ()
    capacity_limit: Capacity | None = None
    cps_limit: CallsPerSecond | None = None
    threshold_amount: Amount | None = None
    threshold_window: ThresholdWindow = "rolling_24h"
    on_threshold: Annotated[Literal["cut_off", "finish"], one_of("cut_off", "finish")] = "cut_off"
    max_destination_rate: Price | None = None
    rate_deck: Name | None = None
    refuse_below_margin: Price | None = None
    dial_plan: DialPlanConfig | None = None
    reserve_seconds: Annotated[int, integer(1, 3600, " seconds")] = 60
    call_probe_seconds: Annotated[int, integer(0, 86400, " seconds")] = 0
    trust_identity: Flag = True
    allow_non_geographic: tuple[NonGeographicCode, ...] = ()
    on_ledger_unavailable: OnUnavailable | None = None
    local_capacity_limit: Capacity | None = None
    max_call_seconds: Annotated[int, integer(1, 604800, " seconds")] = 14400
    calling_window: CallingWindowConfig | None = None
    velocity: VelocityConfig | None = None
    destination_limits: DestinationLimits = ()
    allowed_rtp_ips: tuple[SourceNetwork, ...] | None = None
    media_encryption_mode: Annotated[
        Literal["disabled", "srtp_sdes", "srtp_dtls", "zrtp"],
        one_of("disabled", "srtp_sdes", "srtp_dtls", "zrtp"),
    ] = "disabled"
    callback_url: WebUrl | None = None


def _emergency_number(value: Any) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and 2 <= len(value) <= 8):
        raise ValueError("must be 2 to 8 digits as they are dialled, such as `112`")
    return value


class Emergency(_Section):
    """Numbers that nothing of ours refuses, and the providers that they are tried at, in order.

    The word `none` says that the operator wants no emergency calls: both are then empty. (No such section at
    all is `Config.emergency` None, of which `check` warns.)
    """

    numbers: tuple[Annotated[str, BeforeValidator(_emergency_number)], ...] = Field(min_length=1)
    providers: tuple[Name, ...] = Field(min_length=1)

    @model_validator(mode="wrap")
    @classmethod
    def _meant(cls, value: Any, handler: ModelWrapValidatorHandler[Emergency]) -> Emergency:
        if value == "none":
            return cls.model_construct(numbers=(), providers=())
        return handler(value)


def _some_listener(value: tuple[Listener, ...]) -> tuple[Listener, ...]:
    if not value:
        raise ValueError("must name at least one listener, such as `udp:127.0.0.1:5060`")
    return value


class Config(_Section):
    """The whole file."""

    listen: Annotated[tuple[Listener, ...], AfterValidator(_some_listener)] = (
        Listener(bind="udp:127.0.0.1:5060"),
        Listener(bind="tcp:127.0.0.1:5060"),
    )
    advertise: HostPort | None = None
    unknown_source: Annotated[Literal["reject", "drop"], one_of("reject", "drop")] = "reject"
    admin: Admin = Admin()
    ledger: LedgerConfig = LedgerConfig()
    timers: TimersConfig = TimersConfig()
    records: Records = Records()
    refusals: dict[Annotated[str, one_of(*REASON_CODES)], Annotated[int, integer(400, 699)]] = {}
    currency: Currency = "USD"
    exchange_rates: dict[Currency, ExchangeRate] = {}
    digest: Digest = Digest()
    accept_unenforced: tuple[str, ...] = ()
    policy: PolicyConfig = PolicyConfig()
    default_provider: Name | None = None
    default_rate_deck: Name | None = None
    rate_decks: dict[Name, RateDeckRef] = {}
    providers: tuple[ProviderConfig, ...] = ()
    accounts: tuple[AccountConfig, ...] = ()
    profiles: tuple[ProfileConfig, ...] = ()
    trunks: tuple[TrunkConfig, ...] = ()
    dids: tuple[DidConfig, ...] = ()
    outplans: tuple[OutplanConfig, ...] = ()
    emergency: Emergency | None = None
    stir: StirConfig | None = None
    webhooks: WebhooksConfig = WebhooksConfig()


UNENFORCED = ("codecs", "allowed_rtp_ips", "media_encryption_mode")
"""Fields that restrict, stored but not enforced by this version: what `accept_unenforced` may list."""


def unenforced_fields(trunk: TrunkConfig, account: AccountConfig | None = None) -> tuple[str, ...]:
    """Those of UNENFORCED that `trunk` or its account uses; with one not accepted, its calls are DISABLED."""
    used = {
        "codecs": account is not None and bool(account.codecs),
        "allowed_rtp_ips": trunk.allowed_rtp_ips is not None,
        "media_encryption_mode": trunk.media_encryption_mode != "disabled",
    }
    return tuple(field for field in UNENFORCED if used[field])
