"""The section `webhooks`."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import Loaded, load_config
from config.webhooks import EVENTS, SCHEDULE

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LONG = "as-many-as-24-characters-and-more"
HEAD = "emergency: none\ntrunks: []\n"


def load(folder: Path, text: str) -> Loaded:
    file = folder / "trunkwarden.yaml"
    file.write_text(HEAD + text)
    return load_config(file)


def test_without_the_section_nobody_is_told(tmp_path: Path) -> None:
    config = load(tmp_path, "webhooks:\n").config
    assert config is not None
    assert config.webhooks.endpoints == ()
    assert config.webhooks.retry_seconds == SCHEDULE
    assert sum(SCHEDULE) == 75 * 3600 + 35 * 60 + 5  # as Standard Webhooks says


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "ops.secret").write_text(SECRET + "\n")
    (tmp_path / "didww.secret").write_text(LONG + "\n")
    text = """webhooks:
  endpoints: [{name: ops, url: https://hooks.example.org/, secret_file: ops.secret, events: [provider.down]}]
  callback_secret_file: didww.secret
  retry_seconds: [1]
"""
    loaded = load(tmp_path, text)
    assert loaded.problems == []
    config = loaded.config
    assert config is not None
    (endpoint,) = config.webhooks.endpoints
    assert endpoint.secret is not None
    assert endpoint.secret.get_secret_value() == SECRET
    assert endpoint.events == ("provider.down",)
    assert config.webhooks.callback_secret is not None
    assert config.webhooks.callback_secret.get_secret_value() == LONG
    assert SECRET not in repr(config)
    plain = load(
        tmp_path, f"webhooks: {{endpoints: [{{name: a, url: https://a.example/, secret: {SECRET}}}]}}\n"
    )
    other = load(
        tmp_path,
        f"webhooks: {{endpoints: [{{name: a, url: https://a.example/, secret: {SECRET[:-4]}AAAA}}]}}\n",
    )
    assert plain.digest == other.digest


def test_all_events_unless_some_are_named(tmp_path: Path) -> None:
    for events in ("", ", events: all"):
        text = f"webhooks: {{endpoints: [{{name: a, url: https://a.example/, secret: {SECRET}{events}}}]}}\n"
        config = load(tmp_path, text).config
        assert config is not None
        assert config.webhooks.endpoints[0].events == EVENTS


@pytest.mark.parametrize("secret", ["whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "!" * 40])
def test_secret_is_one_of_standard_webhooks(tmp_path: Path, secret: str) -> None:
    (tmp_path / "a").write_text(secret)
    loaded = load(tmp_path, "webhooks: {endpoints: [{name: a, url: https://a.example/, secret_file: a}]}\n")
    (problem,) = loaded.problems
    assert problem.path == "webhooks.endpoints[0].secret_file"
    assert "whsec_" in problem.message
    assert secret not in problem.message


def test_callback_secret_is_long_enough_to_be_no_customers_to_guess(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(LONG[:23] + "\n")
    (problem,) = load(tmp_path, "webhooks: {callback_secret_file: a}\n").problems
    assert problem.path == "webhooks.callback_secret_file"
    assert "must be at least 24 characters" in problem.message


def test_callback_of_a_trunk_is_held_to_networks_of_its_own(tmp_path: Path) -> None:
    text = """emergency: none
providers: [{name: p, hostname: 192.0.2.1}]
trunks:
  - {name: t, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us], provider: p, callback_url: "%s"}
webhooks: {callback_secret: a-secret-of-24-characters, allow_networks: [10.0.0.0/8], callback_networks: [%s]}
"""
    file = tmp_path / "trunkwarden.yaml"
    file.write_text(text % ("http://10.0.0.1/", ""))
    (problem,) = load_config(file).problems
    assert problem.path == "trunks[0].callback_url"
    assert "10.0.0.1 is not a public address, and not in `callback_networks` of `webhooks`" in problem.message
    file.write_text(text % ("http://10.0.0.1/", "10.0.0.0/8"))
    assert load_config(file).problems == []
    file.write_text(
        text.replace("callback_secret: a-secret-of-24-characters, ", "") % ("https://a.example/", "")
    )
    loaded = load_config(file)
    assert loaded.problems == []
    assert any("callback_secret" in warning.message for warning in loaded.warnings)
