"""SIPVicious against a proxy with logins: no user found, no password guessed, no call through; and against a
server that gives something away, so that its silence means something.

SIPPTS 0.1.0, the one on PyPI, has its scripts in it and not the package that they run. What those look for is
tried by hand in tests/e2e/test_digest.py and tests/e2e/test_provider_login.py.
"""

from __future__ import annotations

import functools
import re
import subprocess
import time
import venv
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.configuration import configuration, trunk
from tests.e2e.peer import Peer
from tests.e2e.ports import STRANGER
from tests.e2e.sip_text import Message, answer, fresh
from tests.e2e.trunkwarden_process import Trunkwarden

pytestmark = pytest.mark.long

INSTALL_SECONDS = 60.0  # a test may take two minutes, with all that it waits for
SCAN_SECONDS = 40.0
KNOWN = "1003"
# In the order in which they are tried.
GUESSES = range(1000, 1030)
EARLY, LATE = "1004", "1020"
MOST = ("--maximumtime", "4")
TIMES = 3
FORGIVEN_SECONDS = 10  # one failure of an address, again and again

Scan = Callable[..., str]
Serve = Callable[..., Trunkwarden]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Scan:
    """Runs one of SIPVicious' tools to its end, or its limit: what it printed. A dependency it is not."""
    folder = tmp_path_factory.mktemp("scanners")
    try:
        venv.create(folder, with_pip=True)
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "-q", "install", "sipvicious==0.3.8"],
            check=True, capture_output=True, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"SIPVicious cannot be installed: {error}")

    def run(tool: str, target: tuple[str, int], *arguments: str) -> str:
        host, port = target
        command = [folder / "bin" / f"sipvicious_{tool}", "-b", STRANGER, "-x", STRANGER, "-p", str(port)]
        try:
            done = subprocess.run(
                [*command, *arguments, host],
                capture_output=True, text=True, errors="replace", timeout=SCAN_SECONDS, check=False,
                stdin=subprocess.DEVNULL, cwd=folder,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return f"{error.stdout!r} {error.stderr!r}"
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def guarded(serve_module, redis_server, provider, tmp_path_factory) -> Serve:
    """A proxy whose user 1003, of any address, and 1005, of one, have this password."""

    @functools.cache
    def start(password: str, unknown_source: str = "reject") -> Trunkwarden:
        folder = tmp_path_factory.mktemp("guarded")
        secret = folder / "password"
        secret.write_text(password)
        login = {"password_file": str(secret)}
        road = trunk("road", "", allowed_sip_ips=[], auth="digest", username=KNOWN, **login)
        home = trunk("home", "127.0.0.20", auth="ip_and_digest", username="1005", **login)
        carrier = {"name": "carrier", "hostname": provider.host_port}
        # MD5 is all that it knows.
        more = {"digest": {"algorithms": ["MD5"]}, "unknown_source": unknown_source}
        return serve_module(configuration(folder, redis_server.url, [carrier], [road, home], **more))

    return start


@pytest.fixture(autouse=True)
def _no_call_gets_through(provider: Peer) -> Iterator[None]:
    before = len(provider.received)
    yield
    provider.stays_quiet()
    assert len(provider.received) == before


def found(said: str) -> set[str]:
    """The first cells of its table of results."""
    return set(re.findall(r"^[|\u2502] *([0-9.:]+) *[|\u2502]", said, re.MULTILINE))


def scan_that_finds(scan: Scan, *arguments: Any) -> str:
    """What it says once it has found something; it does not wait long for an answer that comes late."""
    for _ in range(TIMES):
        said = scan(*arguments)
        if found(said):
            break
    return said


def arrived(proxy: Trunkwarden, method: str) -> float:
    return proxy.metric("trunkwarden_sip_messages_total", direction="in", kind=method)


# --- svmap ---


def test_servers_are_found(scan: Scan, guarded: Serve) -> None:
    """Strangers are answered, unless `unknown_source` says otherwise; what answers is not said."""
    proxy = guarded(LATE)
    said = scan_that_finds(scan, "svmap", proxy.address)
    assert found(said) == {f"{proxy.address[0]}:{proxy.address[1]}"}, said
    assert "trunkwarden" not in said.lower()


def test_a_server_that_drops_is_not_found(scan: Scan, guarded: Serve) -> None:
    proxy = guarded(LATE, unknown_source="drop")
    said = scan("svmap", proxy.address)
    assert arrived(proxy, "OPTIONS") >= 1
    assert found(said) == set(), said


# --- svwar ---


def gossip(request: Message) -> list[bytes]:
    """A registrar that tells who is a user of its own."""
    status = "401 Unauthorized" if f":{KNOWN}@" in request.one("to") else "404 Not Found"
    extra = (("WWW-Authenticate", 'Digest realm="gossip", nonce="1", algorithm=MD5'),)
    return [] if request.method == "ACK" else [answer(request, status, tag=fresh("tag"), extra=extra)]


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_users_are_found_where_they_can_be_told(scan: Scan, new_peer, method: str) -> None:
    target = new_peer("127.0.0.30", gossip).address
    said = scan_that_finds(scan, "svwar", target, "-m", method, "-e", "1000-1010", *MOST)
    assert found(said) == {KNOWN}, said


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_no_user_is_found(scan: Scan, guarded: Serve, method: str) -> None:
    """One user each time, after one that it makes up to compare with: it gives up at the second answer that
    it does not expect."""
    proxy = guarded(LATE)
    for user in (KNOWN, "1005", "1008"):
        before = arrived(proxy, method)
        said = scan("svwar", proxy.address, "-m", method, "-e", user, "--force", *MOST)
        assert arrived(proxy, method) >= before + 2, said
        assert found(said) == set(), said


# --- svcrack ---


def cracked(scan: Scan, proxy: Trunkwarden) -> tuple[str, dict[str, float]]:
    """What svcrack said after guessing, and what became of its guesses."""
    guesses = f"{GUESSES[0]}-{GUESSES[-1]}"
    said = scan("svcrack", proxy.address, "-u", KNOWN, "-r", guesses, "-m", "INVITE", *MOST)
    name = "trunkwarden_authentications_total"
    return said, {each: proxy.metric(name, outcome=each) for each in ("accepted", "refused", "throttled")}


def test_a_password_among_the_first_guesses_is_guessed(scan: Scan, guarded: Serve) -> None:
    """What it sends is looked at: the right one is let in, to call no number."""
    said, outcomes = cracked(scan, guarded(EARLY))
    assert outcomes["accepted"] == 1, said


def test_no_password_is_guessed(scan: Scan, guarded: Serve) -> None:
    proxy, begun = guarded(LATE), time.monotonic()
    said, outcomes = cracked(scan, proxy)
    assert outcomes["accepted"] == 0
    assert 10 <= outcomes["refused"] <= 10 + (time.monotonic() - begun) // FORGIVEN_SECONDS
    assert outcomes["throttled"] >= GUESSES.index(int(LATE)) - 10 + 1, said  # the right one among them
    assert found(said) == set(), said
