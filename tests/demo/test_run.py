"""The command as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.demo import rehearsal
from proxy.demo.rehearsal import CASES, Case
from proxy.demo.run import run

pytestmark = pytest.mark.usefixtures("loopback_addresses")

COMMAND = [sys.executable, "-m", "proxy.cli", "demo"]


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_decision(process: subprocess.Popen[str]) -> list[str]:
    """Read up to the first line below the heading."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) > 1 and lines[-2].startswith("time "):
            return lines
    raise AssertionError(f"it ended: {lines}")


def test_once_places_every_call_and_ends_well() -> None:
    done = subprocess.run([*COMMAND, "--once"], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines()]
    for case in CASES:
        decision = "admitted" if case.reason is None else "refused"
        cells = [case.number, decision, case.reason, str(case.status), case.cost]
        expected = [*case.title.split(), *(cell for cell in cells if cell)]
        assert any(row[: len(expected)] == expected and row[-1] == "yes" for row in rows), done.stdout
    assert {case.reason for case in CASES} >= {
        None, "COUNTRY", "PREFIX", "NUMBER", "SOURCE", "CAPACITY", "SPEND",
    }  # fmt: skip
    assert "0 leases left" in done.stdout


@pytest.mark.usefixtures("kept_logging")
def test_a_wrong_expectation_is_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Case("denied prefix", "office", "+19005550123", None, 200)
    monkeypatch.setattr(rehearsal, "CASES", (wrong,))
    assert run(True) == 1
    assert "0 of 1 calls as expected" in capsys.readouterr().out


@pytest.mark.usefixtures("kept_logging")
def test_what_cannot_be_had_is_said_and_is_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("proxy.demo.stage.PROVIDER", "192.0.2.77")
    assert run(True) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("cannot run the demo: ")
    assert "192.0.2.77" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_with_0_and_a_summary(number: signal.Signals) -> None:
    with demo() as process:
        lines = first_decision(process)
        url = lines[0].split()[-1]
        assert lines[0].startswith("dashboard ")
        with urllib.request.urlopen(url, timeout=30) as page:
            assert page.status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    assert "calls judged" in out


def test_a_signal_ends_once_with_1_and_leaves_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below tmp_path: the paths of Unix sockets must be short.
    with tempfile.TemporaryDirectory(prefix="tw") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        with demo("--once") as process:
            for _ in range(3000):
                if os.listdir(folder):
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        assert err == "interrupted\n"
        assert "as expected" not in out
        assert os.listdir(folder) == []


def test_a_reader_that_goes_away_ends_the_demo() -> None:
    with demo() as process:
        first_decision(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout = None
