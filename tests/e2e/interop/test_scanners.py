"""SIPVicious against a proxy with logins: no user found, no password guessed, no call through.

It gives up on users after a few answers, even when it is told not to.
"""

from __future__ import annotations

import re
import subprocess
import venv
from pathlib import Path

import pytest

from tests.e2e.configuration import configuration, trunk
from tests.e2e.ports import STRANGER
from tests.e2e.trunkwarden_process import Trunkwarden

PASSWORD = "1900"  # one of those that it tries
INSTALL_SECONDS = 90.0
SCAN_SECONDS = 40.0
MOST = ("--maximumtime", "4")


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Path:
    """SIPVicious in an environment of its own; a dependency it is not."""
    folder = tmp_path_factory.mktemp("scanners")
    try:
        venv.create(folder, with_pip=True)
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "-q", "install", "sipvicious==0.3.8"],
            check=True, capture_output=True, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"SIPVicious cannot be installed: {error}")
    return folder / "bin"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    folder = tmp_path_factory.mktemp("scanned")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    login = {"username": "1003", "password_file": str(secret)}
    road = trunk("road", "", allowed_sip_ips=[], auth="digest", **login)
    home = trunk("home", "127.0.0.20", auth="ip_and_digest", username="1005", password_file=str(secret))
    return serve_module(
        configuration(
            folder,
            redis_server.url,
            [{"name": "carrier", "hostname": provider.host_port}],
            [road, home],
            digest={"algorithms": ["MD5"]},
        )
    )


def scan(tools: Path, tool: str, proxy: Trunkwarden, *arguments: str) -> str:
    """What it printed, run to its end or its limit."""
    host, port = proxy.address
    try:
        done = subprocess.run(
            [tools / f"sipvicious_{tool}", "-b", STRANGER, "-x", STRANGER, "-p", str(port), *arguments, host],
            capture_output=True, text=True, errors="replace", timeout=SCAN_SECONDS, check=False,
            stdin=subprocess.DEVNULL, cwd=tools,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return f"{error.stdout!r} {error.stderr!r}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_no_user_is_found(tools: Path, proxy: Trunkwarden, provider, method: str) -> None:
    said = scan(tools, "svwar", proxy, "-m", method, "-e", "1000-1010", "--force", *MOST)
    assert proxy.metric("trunkwarden_sip_messages_total", direction="in", kind=method) >= 1, said
    # All of them or none: those that there are look like those that there are not.
    assert _found(said) in (set(), {str(number) for number in range(1000, 1011)}), said
    provider.stays_quiet()


def test_no_password_is_guessed(tools: Path, proxy: Trunkwarden, provider) -> None:
    said = scan(tools, "svcrack", proxy, "-u", "1003", "-r", "1000-2000", "-m", "INVITE", *MOST)
    assert proxy.metric("trunkwarden_sip_messages_total", direction="in", kind="INVITE") >= 1, said
    assert proxy.metric("trunkwarden_authentications_total", outcome="accepted") == 0
    assert _found(said) == set(), said
    provider.stays_quiet()


def _found(said: str) -> set[str]:
    """The first cells of its table of results."""
    return set(re.findall(r"^[|\u2502] *(\d{4}) *[|\u2502]", said, re.MULTILINE))
