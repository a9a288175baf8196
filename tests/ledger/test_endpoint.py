from __future__ import annotations

import logging
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from proxy.ledger.endpoint import Endpoint, inspect_server, shown
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, Reservation
from tests.ledger.fleet import free_port
from tests.ledger.servers import Opener, Server, claim, scope

GOOD = {"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "aof_enabled": "1", "loading": "0"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://user:secret@host:7000/2?password=secret", "redis://host:7000/2"),
        ("rediss://:secret@[::1]", "rediss://[::1]:6379"),
        ("unix://:secret@/run/x.sock?db=1&password=secret", "unix:///run/x.sock"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_a_good_server() -> None:
    assert inspect_server(GOOD) == []


@pytest.mark.parametrize("version", ["6.2.14", "5.0", "0", "odd"])
def test_old_servers_are_refused(version: str) -> None:
    with pytest.raises(LedgerRefused, match=rf"is version {version}; Redis 7.0 or later"):
        inspect_server(GOOD | {"redis_version": version})


def test_no_persistence_is_warned_of() -> None:
    (warning,) = inspect_server(GOOD | {"aof_enabled": "0"})
    assert "appendonly yes" in warning


def test_loading() -> None:
    with pytest.raises(LedgerUnavailable) as error:
        inspect_server(GOOD | {"loading": "1"})
    assert error.value.kind == "loading"


@pytest.mark.parametrize(
    "url", ["http://x", "redis://h:port", "unix://?timeout=x", "redis://h?nonsense=1", "redis+sentinel://h"]
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(LedgerRefused):
        Endpoint(url, timeout=1)


async def test_an_evicting_server_is_refused(server: Server, opener: Opener) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(
        LedgerRefused, match=r"maxmemory-policy `allkeys-lru`.*CONFIG SET maxmemory-policy noeviction"
    ):
        await opener(server.url)


async def test_persistence_off_is_logged_once(
    server: Server, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    server.client().config_set("appendonly", "no")
    with caplog.at_level(logging.WARNING):
        await opener(server.url)
    assert [record.message for record in caplog.records if "append-only" in record.message]


async def test_nobody_there(folder: Path, opener: Opener) -> None:
    with pytest.raises(LedgerUnavailable) as error:
        await opener(f"unix:///{folder}/nothing.sock")
    assert error.value.kind == "connection"
    assert not error.value.sent


async def test_a_server_that_does_not_answer(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(LedgerUnavailable, match="no answer in time") as error:
            await Endpoint(server.url, timeout=0.3).open()
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert error.value.kind == "timeout"


async def test_password_and_database(server: Server, opener: Opener) -> None:
    server.client().config_set("requirepass", "s3cret")
    with pytest.raises(LedgerUnavailable) as error:
        await opener(f"unix://:wrong@{server.socket}?db=2")
    assert error.value.kind == "noauth"
    assert "wrong" not in str(error.value)
    ledger = await opener(f"unix://:s3cret@{server.socket}?db=2")
    assert "s3cret" not in ledger.address
    await ledger.reserve(claim("r1", scope()))
    assert await ledger.secret() == await ledger.secret()
    client = Redis(unix_socket_path=str(server.socket), password="s3cret", db=2)
    assert client.exists("{tw}:k:r1") == 1


async def test_who_has_no_password_is_told_so_each_time(server: Server) -> None:
    """The server hangs up on whoever sends much before he has proved who he is."""
    server.client().config_set("requirepass", "s3cret")
    endpoint = Endpoint(server.url, timeout=10)
    for _ in range(50):
        with pytest.raises(LedgerUnavailable) as error:
            await endpoint.open()
        assert error.value.kind == "noauth"


@pytest.fixture
def tls(folder: Path) -> Iterator[Server]:
    """Debian's Redis with TLS, on a port of its own and a certificate made for the test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    port = free_port()
    started = Server(
        "redis",
        folder,
        *("--tls-port", str(port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"),
        *("--tls-ca-cert-file", "cert.pem", "--tls-auth-clients", "no", "--bind", "127.0.0.1"),
    )
    started.url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder}/cert.pem"
    yield started
    started.kill()


async def test_tls(tls: Server, opener: Opener) -> None:
    ledger = await opener(tls.url)
    for n in range(50):
        assert isinstance(await ledger.reserve(claim(f"r{n}", scope())), Reservation)
    assert len(await ledger.calls()) == 50
    with pytest.raises(LedgerUnavailable):
        await opener(tls.url.partition("?")[0])  # a certificate that nobody vouches for
