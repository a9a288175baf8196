"""From the configuration in force to who is told of what."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

from config.model import Config
from config.web_address import Reach
from policy.compiled import Policy, Window
from proxy.configuration import load_policy
from proxy.webhooks.callback_key import callback_key
from proxy.webhooks.settings import HookSettings, rows_of, section_of

SECRET = "a-secret-of-twenty-four-characters"
OWNERS = {"a": "accounts/1", "b": "trunks/2"}
CONFIG = """emergency: none
currency: EUR
providers: [{name: p, hostname: 192.0.2.1}]
accounts: [{name: acme}]
trunks:
  - {name: a, account: acme, provider: p, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us],
     threshold_amount: "10.00", threshold_window: utc_day, rate_deck: retail, callback_url: "https://a.example/cb"}
  - {name: b, provider: p, allowed_sip_ips: [192.0.2.11], destination_whitelist: [us], status: blocked}
rate_decks: {retail: {file: retail.csv, currency: EUR}}
webhooks:
  allow_networks: [10.0.0.0/8, "fd00::/8"]
  callback_networks: [10.1.0.0/16]
  deny_networks: [198.41.0.0/24]
  retry_seconds: [1, 2]
  timeout_seconds: 3
  callback_secret: a-secret-of-twenty-four-characters
  endpoints:
    - {name: ops, url: "https://ops.example/", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
    - {name: acme, url: "https://acme.example/", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,
       account: acme, events: [trunk.threshold_reached, policy.changed]}
"""


def compiled(folder: Path, text: str = CONFIG) -> tuple[Config, Policy]:
    (folder / "retail.csv").write_text(
        "prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment\n1,US,0.06,0,60,60\n"
    )
    file = folder / "trunkwarden.yaml"
    file.write_text(text)
    loaded = load_policy(file)
    assert loaded.problems == ()
    assert loaded.config is not None
    assert loaded.policy is not None
    return loaded.config, loaded.policy


def settings(folder: Path) -> HookSettings:
    return HookSettings.of(*compiled(folder), {}, OWNERS)


def test_they_cross_from_process_to_process(tmp_path: Path) -> None:
    config, policy = compiled(tmp_path)
    told = json.loads(json.dumps([section_of(config), rows_of(config, policy, {"a": "an id"}, OWNERS)]))
    made = HookSettings.from_json(*told)
    assert made == HookSettings.of(config, policy, {"a": "an id"}, OWNERS)
    assert (made.trunks["a"].id, made.trunks["b"].id) == ("an id", None)
    assert (made.currency, made.timeout, made.retries) == ("EUR", 3.0, (1, 2))
    denied = (ip_network("198.41.0.0/24"),)
    assert made.reach == Reach((ip_network("10.0.0.0/8"), ip_network("fd00::/8")), denied)
    assert made.callback_reach == Reach((ip_network("10.1.0.0/16"),), denied, "callback_networks")


def test_trunks_are_not_told_of_while_nobody_listens(tmp_path: Path) -> None:
    quiet = CONFIG.partition("webhooks:")[0].replace(', callback_url: "https://a.example/cb"', "")
    config, policy = compiled(tmp_path, quiet)
    assert rows_of(config, policy, {}, OWNERS) == []


def test_who_is_told(tmp_path: Path) -> None:
    made = settings(tmp_path)
    assert list(made.told_of("trunk.threshold_reached", "a")) == ["ops", "acme", "trunk:a"]
    assert list(made.told_of("trunk.threshold_reached", "b")) == ["ops"]
    assert list(made.told_of("trunk.blocked", "a")) == ["ops"]
    # What concerns nobody's trunk in particular is not a customer's to know.
    assert list(made.told_of("policy.changed")) == ["ops"]


def test_trunks(tmp_path: Path) -> None:
    made = settings(tmp_path)
    scope = made.trunks["a"].scope
    assert (scope.id, scope.threshold, scope.window) == ("trunk:a", 10_000_000, Window.UTC_DAY)
    assert [facts.active for facts in made.trunks.values()] == [True, False]
    assert made.recipients["trunk:a"].callback


def test_callbacks_are_signed_with_the_key_of_the_account(tmp_path: Path) -> None:
    config, policy = compiled(tmp_path)
    made = HookSettings.of(config, policy, {}, OWNERS)
    assert made.recipients["trunk:a"].secret == callback_key(SECRET, "accounts/1")
    assert SECRET not in repr(made)
    # Nothing is told of a trunk whose owner is not known: it would be signed for somebody else.
    assert "trunk:a" not in HookSettings.of(config, policy, {}, {}).recipients
    config, policy = compiled(tmp_path, CONFIG.replace(f"  callback_secret: {SECRET}\n", ""))
    assert HookSettings.of(config, policy, {}, OWNERS).recipients["trunk:a"].secret is None
