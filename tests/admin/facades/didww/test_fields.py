"""The limits of DIDWW's attributes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.admin.facades.didww.fields import TrunkAttributes


def method(**attributes: Any) -> dict[str, Any]:
    return {"authentication_method": {"type": "ip_only", "attributes": attributes}}


TAKEN: list[dict[str, Any]] = [
    {"allowed_sip_ips": [f"192.0.2.{last}" for last in range(60)]},
    {"allowed_sip_ips": ["2001:db8::1", "2001:db8::/48"]},
    {"allowed_rtp_ips": None},
    {"capacity_limit": 0},
    {"capacity_limit": 32767},
    {"capacity_limit": None},
    {"threshold_amount": "0.0"},
    {"threshold_amount": "100000.0"},
    {"threshold_amount": 12.5},
    {"dst_prefixes": None},
    {"dst_prefixes": ["1", "0044", "+353"]},
    {"callback_url": None},
    {"rtp_timeout": None},
    {"rtp_timeout": 600},
    {"status": None},
    {"callback_url": "http://example.com"},
    method(allowed_sip_ips=["192.0.2.1"], tech_prefix="1234567#"),
    method(allowed_sip_ips=["192.0.2.1"], tech_prefix=None),
    {"authentication_method": {"type": "credentials_and_ip",
                               "attributes": {"username": "euc***", "password": "******"}}},
]  # fmt: skip
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": None}, "name"),
    ({"name": "a" * 256}, "name"),
    ({"allowed_sip_ips": [f"192.0.2.{last}" for last in range(61)]}, "allowed_sip_ips"),
    ({"allowed_sip_ips": ["192.0.2.300"]}, "allowed_sip_ips"),
    ({"allowed_sip_ips": ["192.0.2.1/24"]}, "allowed_sip_ips"),
    ({"capacity_limit": -1}, "capacity_limit"),
    ({"capacity_limit": 32768}, "capacity_limit"),
    ({"threshold_amount": "100000.1"}, "threshold_amount"),
    ({"threshold_amount": "-1"}, "threshold_amount"),
    ({"threshold_amount": "1e3"}, "threshold_amount"),
    ({"threshold_amount": True}, "threshold_amount"),
    ({"dst_prefixes": ["0"]}, "dst_prefixes"),
    ({"dst_prefixes": ["44x"]}, "dst_prefixes"),
    ({"dst_prefixes": [44]}, "dst_prefixes"),
    ({"status": "paused"}, "status"),
    ({"on_cli_mismatch_action": "drop"}, "on_cli_mismatch_action"),
    ({"media_encryption_mode": "tls"}, "media_encryption_mode"),
    ({"default_dst_action": "allow"}, "default_dst_action"),
    ({"allow_any_did_as_cli": "true"}, "allow_any_did_as_cli"),
    ({"callback_url": "ftp://example.com"}, "callback_url"),
    ({"rtp_timeout": -1}, "rtp_timeout"),
    ({"username": "me"}, "username"),
    ({"threshold_reached": False}, "threshold_reached"),
    (method(tech_prefix="123456789"), "authentication_method"),
    (method(tech_prefix="12*"), "authentication_method"),
    (method(username="me"), "authentication_method"),
    ({"authentication_method": {"type": "magic", "attributes": {}}}, "authentication_method"),
]


@pytest.mark.parametrize("said", TAKEN)
def test_what_is_taken(said: dict[str, Any]) -> None:
    assert TrunkAttributes.model_validate(said).given == said.keys()


@pytest.mark.parametrize(("said", "attribute"), REFUSED)
def test_what_is_refused(said: dict[str, Any], attribute: str) -> None:
    with pytest.raises(ValidationError) as error:
        TrunkAttributes.model_validate(said)
    assert error.value.errors()[0]["loc"][0] == attribute


def test_a_status_of_null_is_the_default_one() -> None:
    assert TrunkAttributes.model_validate({"status": None}).status == "active"
