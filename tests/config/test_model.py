"""The model from Python, as the policy and the tests build it."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from pydantic import ValidationError

from config.model import (
    UNENFORCED,
    AccountConfig,
    Config,
    Emergency,
    LedgerConfig,
    Listener,
    ProviderConfig,
    TrunkConfig,
    unenforced_fields,
)


def test_an_empty_configuration_has_the_defaults_of_the_contract() -> None:
    config = Config()
    assert [(item.transport, item.host, item.port) for item in config.listen] == [
        ("udp", "127.0.0.1", 5060),
        ("tcp", "127.0.0.1", 5060),
    ]
    assert (config.admin.host, config.admin.port) == ("127.0.0.1", 8080)
    assert (config.unknown_source, config.currency, config.emergency) == ("reject", "USD", None)
    assert config.timers.model_dump() == {
        "t1_ms": 500,
        "provider_response_seconds": 6,
        "no_answer_seconds": 185,
        "session_expires_seconds": 1800,
    }
    assert (config.ledger.url, config.ledger.lease_seconds, config.ledger.on_unavailable) == (
        "embedded",
        30,
        "reject",
    )


def test_defaults_of_a_trunk() -> None:
    trunk = TrunkConfig(name="office", allowed_sip_ips=("192.0.2.10",))  # type: ignore[arg-type]
    assert trunk.allowed_sip_ips == (IPv4Network("192.0.2.10/32"),)
    assert (trunk.status, trunk.threshold_window, trunk.on_threshold) == ("active", "rolling_24h", "cut_off")
    assert (trunk.reserve_seconds, trunk.call_probe_seconds, trunk.max_call_seconds) == (60, 0, 14400)
    assert trunk.trust_identity
    assert trunk.destination_whitelist is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp:127.0.0.1:0", ("udp", "127.0.0.1", 0)),
        ("tcp:[::1]:5070", ("tcp", "::1", 5070)),
        ("tls:[::1]", ("tls", "::1", 5061)),
        ("udp:::1", ("udp", "::1", 5060)),
    ],
)
def test_listeners(text: str, expected: tuple[str, str, int]) -> None:
    listener = Listener.model_validate(text)
    assert (listener.transport, listener.host, listener.port) == expected


def test_a_provider_gives_host_and_port() -> None:
    provider = ProviderConfig(name="a", hostname="[2001:db8::1]:5080")
    assert (provider.host, provider.port) == ("2001:db8::1", 5080)
    assert ProviderConfig(name="a", hostname="sip.example.org").port is None


def test_nothing_can_be_changed_or_added() -> None:
    with pytest.raises(ValidationError):
        Config().currency = "EUR"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Config.model_validate({"curency": "EUR"})


def test_emergency_none_is_not_the_same_as_no_emergency() -> None:
    meant = Config.model_validate({"emergency": "none"}).emergency
    assert meant == Emergency.model_construct(numbers=(), providers=())
    assert Config.model_validate({"emergency": None}).emergency is None


def test_secrets_are_not_printed() -> None:
    config = Config.model_validate(
        {
            "admin": {"token": "canary-1"},
            "ledger": {"url": "redis://:canary-2@127.0.0.1", "secret": "canary-3"},
            "trunks": [{"name": "a", "password": "canary-4", "ha1": "0" * 32}],
        }
    )
    assert "canary" not in f"{config!r} {config}"
    assert "0" * 32 not in repr(config)
    assert config.admin.token is not None
    assert config.admin.token.get_secret_value() == "canary-1"
    with pytest.raises(ValidationError) as error:
        LedgerConfig(url="http://canary")
    assert "canary" not in str(error.value)


def test_fields_that_are_not_enforced() -> None:
    plain = TrunkConfig(name="a")
    used = TrunkConfig(name="a", allowed_rtp_ips=(), media_encryption_mode="srtp_sdes")
    assert unenforced_fields(plain, AccountConfig(name="b")) == ()
    assert unenforced_fields(used, AccountConfig(name="b", codecs=("PCMA",))) == UNENFORCED
