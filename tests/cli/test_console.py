"""The commands as a user runs them: what they print where, and their exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from proxy.cli.console import app
from proxy.ledger import redis_ledger
from tests.call.playbook import invite
from tests.ledger.servers import Server, until
from tests.live import PBX_HOST, Line, aside, configuration, running, write

COLOR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38;)[0-9;]*m")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, configuration(ledger={"data_dir": str(tmp_path / "data")}))


# --- all commands ---


@pytest.mark.parametrize(
    "name", ["", "serve", "demo", "check", "explain", "rate", "hangup", "tokens", "audit"]
)
def test_help(name: str) -> None:
    done = command(*([name] if name else []), "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["check", "--unknown"],
        ["serve", "--workers", "0"],
        ["serve", "--workers", "many"],
        ["serve", "--drain-seconds", "-1"],
        ["explain", "--to", "112"],
        ["rate"],
        ["rate", "+442071838750"],
        ["rate", "--deck", "retail", "--seconds", "-1", "+442071838750"],
        ["hangup"],
        ["hangup", "--trunk", "a", "--call", "b"],
    ],
)
def test_wrong_command_lines(arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.output or done.stderr.startswith(f"{arguments[0]} needs ")


def test_version() -> None:
    done = command("--version")
    assert (done.exit_code, done.stdout) == (0, f"trunkwarden {version('trunkwarden')}\n")


def test_more_than_one_worker_is_refused_clearly(file: Path) -> None:
    done = command("serve", "-c", str(file), "--workers", "2")
    assert done.exit_code == 2
    assert "--workers: this version runs one SIP worker" in done.stderr
    assert done.stdout == ""


def run_in_terminal(*arguments: str, **environment: str) -> str:
    """What the command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.cli", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
        env={**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")},
             "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(ours)
    process.wait(10)
    return shown.decode("utf-8", "replace")


def test_no_color(file: Path) -> None:
    asked = ("explain", "-c", str(file), "--source", PBX_HOST, "--to", "+442071838750")
    assert COLOR.search(run_in_terminal(*asked))
    assert not COLOR.search(run_in_terminal(*asked, NO_COLOR="1"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_results_that_cannot_be_written(file: Path) -> None:
    with open("/dev/full", "wb") as full:
        arguments = [sys.executable, "-m", "proxy.cli", "check", "-c", str(file)]
        done = subprocess.run(
            arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, "cannot write: No space left on device\n")


def test_a_closed_stdout(tmp_path: Path) -> None:
    """As `>&-` in a shell."""
    python = f"{sys.executable} -m proxy.cli"
    arguments = ["sh", "-c", f"exec {python} demo --once >&-"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


# --- check ---


def test_check_of_a_good_file(file: Path) -> None:
    done = command("check", "-c", str(file))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{file}: ok\n", "")


def test_check_prints_all_problems_on_stdout(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "listn: []\n"
        "providers:\n"
        "  - {name: carrier, hostname: sip:carrier}\n"
        "trunks:\n"
        "  - name: office\n"
        "    provider: nobody\n"
        "    capacity_limit: 40000\n"
        "    allowed_sip_ips: [192.0.2.300]\n",
    )
    done = command("check", "-c", str(path))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) >= 5
    assert all(re.fullmatch(re.escape(str(path)) + r":\d+: [^:]+: .+", line) for line in lines)
    for place in (":1: listn: ", ":3: providers[0].hostname: ", ":7: trunks[0].capacity_limit: "):
        assert [line for line in lines if place in line], place


def test_check_of_no_file(tmp_path: Path) -> None:
    done = command("check", "-c", str(tmp_path / "none.yaml"))
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{tmp_path / 'none.yaml'}: ")


def test_check_warns_on_stderr(tmp_path: Path) -> None:
    content = configuration()
    del content["emergency"]
    path = write(tmp_path, content)
    done = command("check", "-c", str(path))
    assert done.exit_code == 0
    assert done.stdout == f"{path}: ok\n"
    assert done.stderr.startswith("warning: ")
    assert "112" in done.stderr


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("check").exit_code == 1
    write(tmp_path, configuration())
    assert command("check").stdout == "trunkwarden.yaml: ok\n"


# --- rate ---


@pytest.fixture
def priced(tmp_path: Path) -> Path:
    (tmp_path / "retail.csv").write_text("prefix,destination,rate_per_minute\n44,United Kingdom,0.006\n")
    changes = {
        "rate_decks": {"retail": {"file": "retail.csv"}},
        "ledger": {"data_dir": str(tmp_path / "data")},
    }
    return write(tmp_path, configuration(**changes))


def test_rate_shows_the_row_and_the_cost(priced: Path) -> None:
    done = command("rate", "-c", str(priced), "--deck", "retail", "--seconds", "90", "+442071838750")
    assert (done.exit_code, done.stderr) == (0, "")
    for line in ("prefix: +44", "rate_per_minute: 0.006", "billed_seconds: 120", "cost: 0.012"):
        assert line in done.stdout.splitlines()
    asked = command("rate", "-c", str(priced), "--deck", "retail", "--json", "442071838750")
    assert json.loads(asked.stdout)["cost"] == "0.006"


def test_rate_of_what_is_not_known(priced: Path) -> None:
    done = command("rate", "-c", str(priced), "--deck", "retail", "+33142685300")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "deck `retail` has no rate for +33142685300\n"
    done = command("rate", "-c", str(priced), "--deck", "wholesale", "+442071838750")
    assert done.exit_code == 2
    assert "no rate deck `wholesale`" in done.stderr


# --- explain ---


def explain(file: Path, *arguments: str, source: str = PBX_HOST) -> Result:
    return command("explain", "-c", str(file), "--source", source, *arguments)


def test_explain_tells_by_its_exit_code(file: Path) -> None:
    assert explain(file, "--to", "+442071838750").exit_code == 0
    assert explain(file, "--to", "+33142685300").exit_code == 3
    assert explain(file, "--to", "112", source="203.0.113.9").exit_code == 3


def test_explain_json_has_the_fields_of_the_contract(file: Path) -> None:
    done = explain(file, "--to", "+442071838750", "--json")
    fields = json.loads(done.stdout)
    assert set(fields) == {
        "decision", "reason", "sip_status", "sip_reason", "trunk", "provider", "called", "country",
        "destination", "rate", "request_uri", "checks", "headroom", "policy_version", "kinds",
    }  # fmt: skip
    assert (fields["decision"], fields["trunk"], fields["country"]) == ("admitted", "office", "GB")
    assert {frozenset(check) for check in fields["checks"]} == {
        frozenset({"name", "scope", "outcome", "detail"})
    }
    assert done.stderr == ""


def test_explain_a_captured_message(file: Path, tmp_path: Path) -> None:
    captured = tmp_path / "invite.sip"
    captured.write_bytes(invite("sip:+33142685300@proxy") + b"\xff\xfe")
    done = explain(file, "--message", str(captured), "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["reason"] == "COUNTRY"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "needs --to"),
        (["--to", "1 2"], "is no number or URI"),
        (["--to", "mailto:a@b"], "not a SIP message"),
        (
            ["--message", "/nowhere/invite.sip"],
            "--message: `/nowhere/invite.sip` cannot be read: No such file",
        ),
    ],
)
def test_explain_what_makes_no_sense(file: Path, arguments: list[str], complaint: str) -> None:
    done = explain(file, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_explain_a_source_that_is_none(file: Path) -> None:
    done = explain(file, "--to", "112", source="pbx.example")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "`pbx.example` is no IP address" in done.stderr


def test_explain_with_a_bad_file(tmp_path: Path) -> None:
    done = explain(write(tmp_path, "nonsense: 1\n"), "--to", "112")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nonsense" in done.stderr


def test_explain_live_without_a_ledger(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_ledger, "PATIENCE", 0.05)
    done = explain(file, "--to", "+442071838750", "--live", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the ledger cannot be asked" in done.stderr


async def test_explain_live(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    content = configuration(phones, ledger={"url": empty_server.url}, trunk={"capacity_limit": "1"})
    async with running(tmp_path, content, phones) as instance:

        def asked() -> tuple[int, dict[str, Any]]:
            done = explain(instance.path, "--to", "+442071838750", "--live", "--json")
            return done.exit_code, json.loads(done.stdout)

        code, fields = await aside(asked)
        assert (code, fields["headroom"][0]["capacity_left"]) == (0, 1)
        await aside(phones.talk)
        code, fields = await aside(asked)
        assert (code, fields["reason"], fields["headroom"][0]["capacity_left"]) == (3, "CAPACITY", 0)


# --- hangup ---


async def test_hangup(empty_server: Server, phones: Line, tmp_path: Path) -> None:
    content = configuration(phones, ledger={"url": empty_server.url})
    async with running(tmp_path, content, phones) as instance:
        await instance.ledger.hears_hangups()
        file = str(instance.path)
        done = await aside(command, "hangup", "-c", file, "--trunk", "office")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "0 calls ended\n")
        await aside(phones.talk)
        (ref,) = instance.accounting.live
        done = await aside(command, "hangup", "-c", file, "--call", "nobody")
        assert (done.exit_code, done.stdout) == (1, "")
        done = await aside(command, "hangup", "-c", file, "--call", ref)
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{ref}\n", "1 call ended\n")
        await aside(phones.take_byes)
        await until(lambda: not instance.accounting.live)
        done = await aside(command, "hangup", "-c", file, "--trunk", "nobody")
        assert done.exit_code == 1
        assert "no trunk is called `nobody`" in done.stderr


def test_hangup_without_an_instance(empty_server: Server, tmp_path: Path) -> None:
    path = write(tmp_path, configuration(ledger={"url": empty_server.url}))
    done = command("hangup", "-c", str(path), "--trunk", "office")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no instance is running" in done.stderr
