"""`trunkwarden policy`: the commands as processes would run them, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.console import app
from proxy.ledger.versions import Versions
from proxy.objects.editor import PolicyEditor
from tests.ledger.servers import Server

DECK = "prefix,destination,rate_per_minute\n44,United Kingdom,0.01\n1,,0.02\n"
PASSWORD = "hunter2-in-the-store"
OBJECTS = """\
rate_decks:
  retail: {file: retail.csv, currency: USD}
providers:
  - name: carrier
    hostname: sip.example.org
    tech_headers: {X-Key: "${TW_TEST_KEY}", X-Plain: "$${literal"}
    username: us
    password: hunter2-in-the-store
accounts:
  - {name: acme, destination_whitelist: [no, us], codecs: []}
profiles:
  - {name: office, concurrent_call_limit: 10, calling_window: {start_time: 08:30, end_time: "18:00"}}
trunks:
  - name: desk
    account: acme
    profile: office
    provider: carrier
    allowed_sip_ips: [192.0.2.10, "2001:db8::/48"]
    rate_deck: retail
    threshold_amount: 100.10
    dst_prefixes: {deny: [+1900]}
    auth: ip_and_digest
    username: desk
    password_file: secret
    dial_plan: {country_code: "44", international_prefixes: ["00"], national_prefixes: ["0"]}
dids:
  - {name: london-desk, number: +442071838750, trunk: desk}
  - {number: "442071838751", account: acme}
outplans:
  - {name: evening, dial_timeout: 30000, max_try_count_0: 5, source: {type: tel, target: "+15559876543"}}
"""


@pytest.fixture
def folder(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TW_TEST_KEY", "hunter2-in-the-environment")
    (short_folder / "retail.csv").write_text(DECK)
    (short_folder / "secret").write_text("hunter2-in-a-file\n")
    return short_folder


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    started = Server("redis", folder)
    yield started
    started.kill()


@pytest.fixture
def config(folder: Path, server: Server) -> Path:
    path = folder / "trunkwarden.yaml"
    path.write_text(f"ledger: {{url: '{server.url}'}}\npolicy: {{source: store}}\nemergency: none\n")
    (folder / "objects.yaml").write_text(OBJECTS)
    return path


def policy(config: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, arguments), "-c", str(config)])


def applied(config: Path, file: str = "objects.yaml", *options: str) -> Result:
    result = policy(config, "apply", config.parent / file, *options)
    assert result.exit_code == 0, result.output
    return result


def test_plan_apply_and_plan_again(config: Path) -> None:
    file = config.parent / "objects.yaml"
    planned = policy(config, "plan", file)
    assert planned.exit_code == 3
    assert "+ trunks[desk]\n" in planned.stdout
    assert '    threshold_amount: "100.10"\n' in planned.stdout
    assert policy(config, "history", "--json").stdout == "[]\n"
    done = applied(config)
    assert done.stdout == planned.stdout + "version 1 is in force\n"
    again = policy(config, "plan", file)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "version" not in applied(config).stdout


def test_decks_of_a_plan_need_not_be_in_the_store(config: Path) -> None:
    text = OBJECTS.replace("rate_decks:", "rate_decks:\n  a: {file: a.csv}\n  b: {file: b.csv}")
    for name in ("a", "b"):
        (config.parent / f"{name}.csv").write_text(f"{DECK}7,{name},0.1\n")
    (config.parent / "objects.yaml").write_text(text)
    assert policy(config, "plan", config.parent / "objects.yaml").exit_code == 3
    applied(config)
    (config.parent / "a.csv").write_text(f"{DECK}7,a,free\n")
    result = policy(config, "apply", config.parent / "objects.yaml")
    told = f"{config.parent}/objects.yaml:2: rate_decks.a: line 4: rate_per_minute: must be "
    assert (result.exit_code, result.stderr.startswith(told)) == (1, True), result.stderr


def test_apply_changes_and_deletes(config: Path) -> None:
    applied(config)
    text = OBJECTS.replace("100.10", "50").replace("outplans:", "ignored:").split("ignored:")[0]
    (config.parent / "objects.yaml").write_text(text)
    result = applied(config, "objects.yaml", "-m", "less")
    assert result.stdout.splitlines() == [
        "- outplans[evening]",
        "~ trunks[desk]",
        '    threshold_amount: "100.10" -> "50"',
        "version 2 is in force",
    ]
    entries = json.loads(policy(config, "history", "--json").stdout)
    assert [(entry["number"], entry["comment"]) for entry in entries] == [
        (2, "less"),
        (1, "apply objects.yaml"),
    ]
    assert {entry["author"] for entry in entries} == {pwd.getpwuid(os.getuid()).pw_name}
    compared = policy(config, "diff", 1, 2)
    assert (compared.exit_code, compared.stdout.splitlines()[0]) == (0, "- outplans[evening]")
    back = policy(config, "rollback", 1)
    assert (back.exit_code, back.stdout) == (0, "version 3 is in force\n")
    assert policy(config, "diff", 1, 3).stdout == ""
    assert policy(config, "rollback", 77).exit_code == 1


def test_numbers_are_moved_and_hold_their_trunk(config: Path) -> None:
    applied(config)
    file = config.parent / "objects.yaml"
    file.write_text(OBJECTS.replace("account: acme}\noutplans", "account: acme, trunk: desk}\noutplans"))
    planned = policy(config, "plan", file)
    assert planned.stdout.splitlines()[:2] == ["~ dids[442071838751]", '    trunk: null -> "desk"']
    applied(config)
    assert policy(config, "plan", file).stdout == ""
    # Without its trunk a number has nowhere to go.
    file.write_text(OBJECTS.replace("name: desk", "name: renamed"))
    refused = policy(config, "plan", file)
    line = 1 + file.read_text().splitlines().index(
        "  - {name: london-desk, number: +442071838750, trunk: desk}"
    )
    assert refused.exit_code == 1
    told = f"{file}:{line}: dids[london-desk].trunk: there is no trunk `desk`\n"
    assert told in refused.stderr


@pytest.mark.parametrize("with_rows", [False, True])
def test_what_is_exported_is_applied_unchanged(config: Path, with_rows: bool) -> None:
    applied(config)
    options = ["--decks", str(config.parent / "decks")] if with_rows else []
    exported = policy(config, "export", *options)
    assert exported.exit_code == 0
    (config.parent / "exported.yaml").write_text(exported.stdout)
    again = policy(config, "plan", config.parent / "exported.yaml")
    assert (again.exit_code, again.stdout) == (0, ""), again.output
    assert policy(config, "export", *options).stdout == exported.stdout
    objects = yaml.safe_load(exported.stdout)
    assert objects["providers"][0]["tech_headers"] == {"X-Key": "${TW_TEST_KEY}", "X-Plain": "$${literal"}
    assert objects["accounts"][0]["destination_whitelist"] == ["NO", "US"]
    assert objects["trunks"][0]["password_file"] == "secret"
    if with_rows:
        assert Path(objects["rate_decks"]["retail"]["file"]).read_text() == DECK


def test_no_secret_is_shown_anywhere(config: Path) -> None:
    text = OBJECTS.replace("password_file: secret", "password: hunter2-of-a-trunk")
    (config.parent / "objects.yaml").write_text(text)
    shown = policy(config, "plan", config.parent / "objects.yaml").output
    shown += applied(config).output
    (config.parent / "objects.yaml").write_text(text.replace(PASSWORD, "hunter2-another"))
    shown += applied(config).output
    for command in (["export"], ["history"], ["history", "--json"], ["diff", 0], ["diff", 1, 2]):
        result = policy(config, *command)
        assert result.exit_code == 0
        shown += result.output
    assert "hunter2" not in shown
    assert '    password: "********" -> "********"' in shown
    exported = yaml.safe_load(policy(config, "export").stdout)
    assert exported["trunks"][0]["ha1"].startswith("SHA-256:")
    assert exported["providers"][0]["password"] == "********"


def test_a_masked_secret_that_nobody_has_is_refused(config: Path) -> None:
    (config.parent / "objects.yaml").write_text(OBJECTS.replace(PASSWORD, '"********"'))
    result = policy(config, "apply", config.parent / "objects.yaml")
    assert result.exit_code == 1
    assert f"{config.parent}/objects.yaml:8: providers[carrier].password: is masked" in result.stderr


def test_problems_have_their_lines(config: Path) -> None:
    text = OBJECTS.replace("provider: carrier", "provider: carier").replace("30000", "soon")
    (config.parent / "objects.yaml").write_text(text)
    result = policy(config, "apply", config.parent / "objects.yaml")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    file = config.parent / "objects.yaml"
    one, two = (1 + text[: text.index(word)].count("\n") for word in ("carier", "evening"))
    wrong = "there is no provider `carier`; did you mean `carrier`?"
    assert lines[0] == f"{file}:{one}: trunks[desk].provider: {wrong}"
    assert lines[1].startswith(f"{file}:{two}: outplans[evening].dial_timeout: must be")
    assert len(lines) == 2
    assert json.loads(policy(config, "plan", file, "--json").stdout)["problems"] == lines
    assert policy(config, "history", "--json").stdout == "[]\n"
    for text in (
        "trunks: [",
        "trunks: {a: b}",
        "trunks: [{status: active}]",
        "- a",
        "rate_decks: {a: {file: x}}",
    ):
        file.write_text(text)
        result = policy(config, "plan", file)
        assert (result.exit_code, str(file) in result.stderr) == (1, True), text


def test_a_writer_who_was_overtaken(config: Path) -> None:
    applied(config)
    result = policy(config, "apply", config.parent / "objects.yaml", "--expect", 0)
    assert (result.exit_code, result.stderr) == (1, "the store is at version 1, not 0\n")


def test_what_others_stored_with_an_object_stays(config: Path, server: Server) -> None:
    applied(config)

    async def tag() -> tuple[str, str]:
        editor = PolicyEditor(config, Versions(server.url, config.parent))
        extra = {"telnyx": {"tags": ["a"]}}
        await editor.change("x", "", lambda document: document.patch("profiles", "office", {}, extra=extra))
        one = (await editor.current()).document.get("profiles", "office")
        await editor.close()
        return one.id, str(one.extra)

    async def read() -> tuple[str, str, int]:
        editor = PolicyEditor(config, Versions(server.url, config.parent))
        one = (await editor.current()).document.get("profiles", "office")
        await editor.close()
        return one.id, str(one.extra), one.spec["concurrent_call_limit"]

    before = asyncio.run(tag())
    (config.parent / "objects.yaml").write_text(
        OBJECTS.replace("concurrent_call_limit: 10", "concurrent_call_limit: 3")
    )
    applied(config)
    assert asyncio.run(read()) == (*before, 3)


def test_where_the_file_is_the_policy(config: Path) -> None:
    alone = config.parent / "alone.yaml"
    alone.write_text(f"emergency: none\n{OBJECTS}")
    for command in (["plan"], ["apply"], ["rollback", "1"], ["history"], ["diff", "1"]):
        result = policy(alone, *command)
        assert result.exit_code == 1, command
        assert "policy: {source: store}" in result.stderr, command
    assert yaml.safe_load(policy(alone, "export").stdout)["trunks"][0]["name"] == "desk"


def test_a_ledger_that_is_away(config: Path, server: Server) -> None:
    server.kill()
    for command in (["plan", config.parent / "objects.yaml"], ["history"], ["export"]):
        assert policy(config, *command).exit_code == 4


def test_usage(config: Path) -> None:
    assert policy(config, "diff").exit_code == 2
    assert policy(config, "nonsense").exit_code == 2
    result = policy(config.parent / "none.yaml", "history")
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)


def test_the_other_commands_ask_the_policy_of_the_store(config: Path, server: Server) -> None:
    applied(config)
    called = ["--to", "+12025550123", "--source", "192.0.2.10", "-c", str(config)]
    asked = CliRunner().invoke(app, ["explain", *called])
    assert "reason: AUTH" in asked.stdout, asked.output
    priced = CliRunner().invoke(app, ["rate", "+442071838750", "--deck", "retail", "-c", str(config)])
    assert (priced.exit_code, "United Kingdom" in priced.stdout) == (0, True)
    checked = CliRunner().invoke(app, ["check", "-c", str(config)])
    assert (checked.exit_code, checked.stdout) == (0, f"{config}: ok\n")
    server.kill()
    asked = CliRunner().invoke(app, ["explain", *called])
    assert (asked.exit_code, "the store, which cannot be asked" in asked.stderr) == (1, True)
