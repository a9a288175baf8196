"""Rules over several sections; their messages are in tests/bad_config."""

from __future__ import annotations

from typing import Any

from config.references import check_references
from config.scopes import Report
from config.structure import read_structure

TRUNK = {"name": "a", "allowed_sip_ips": ["192.0.2.1"], "destination_whitelist": ["us"], "provider": "p"}
SOUND: dict[str, Any] = {
    "providers": [{"name": "p", "hostname": "b"}],
    "trunks": [TRUNK],
    "emergency": "none",
}


def check(**changes: Any) -> Report:
    draft, _ = read_structure({**SOUND, **changes})
    return check_references(draft)


def paths(**changes: Any) -> list[str]:
    return [finding.path for finding in check(**changes).problems]


def test_a_sound_file_has_no_findings() -> None:
    report = check()
    assert (report.problems, report.warnings) == ([], [])


def test_port_zero_may_be_listened_on_twice() -> None:
    assert paths(listen=["udp:127.0.0.1:0", "udp:127.0.0.1:0"]) == []
    assert paths(listen=["udp:127.0.0.1:1", "udp:127.0.0.2:1", "udp:[::1]:1"]) == []
    assert paths(listen=["udp:127.0.0.1:1", "udp:127.0.0.1:1"]) == ["listen[1]"]


def test_a_wildcard_listener_needs_its_own_or_the_common_advertise() -> None:
    assert paths(listen=["udp:0.0.0.0:5060"]) == ["listen[0]"]
    assert paths(listen=["udp:0.0.0.0:5060"], advertise="sip.example.org") == []
    assert paths(listen=[{"bind": "udp:0.0.0.0:5060", "advertise": "192.0.2.1"}]) == []


def test_a_token_is_required_off_loopback_only() -> None:
    assert paths(admin={"listen": "[::1]:8080"}) == []
    assert paths(admin={"listen": "192.0.2.1:8080"}) == ["admin.listen"]
    assert paths(admin={"listen": "192.0.2.1:8080", "token": "x"}) == []


def test_admit_needs_a_local_limit() -> None:
    assert paths(ledger={"on_unavailable": "admit"}) == ["ledger.on_unavailable"]
    assert paths(ledger={"on_unavailable": "admit", "local_capacity_limit": "5"}) == []


def test_a_foreign_deck_needs_its_exchange_rate() -> None:
    decks = {"retail": {"file": "a.csv", "currency": "EUR"}}
    assert paths(rate_decks=decks) == ["rate_decks.retail.currency"]
    assert paths(rate_decks=decks, exchange_rates={"EUR": "1.08"}) == []
    assert paths(rate_decks=decks, currency="EUR") == []


def test_a_broken_emergency_section_is_not_an_absent_one() -> None:
    assert [finding.path for finding in check(emergency=None).warnings] == [""]
    assert check(emergency={"numbers": "112"}).warnings == []
