"""HTTPS of the real HTTP process, as clients see it."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.admin.tls import make_context, renew
from tests.admin.stage import Target, until
from tests.certificates import Authority

Starter = Callable[..., Awaitable[tuple[AdminProcess, str]]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starter]:
    started: list[AdminProcess] = []

    async def one(files: dict[str, str], client_ca: Path | None = None) -> tuple[AdminProcess, str]:
        settings = AdminSettings(
            "127.0.0.1",
            0,
            "secret",
            "unix:///nowhere",
            tmp_path,
            metrics_need_token=True,
            certificate=Path(files["certificate_file"]),
            key=Path(files["key_file"]),
            client_ca=client_ca,
        )
        admin = AdminProcess(settings, Target())
        started.append(admin)
        url = admin.bind()
        await admin.start(60)
        return admin, url

    yield one
    for admin in started:
        await admin.stop()


def _trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))


def _serial(url: str, authority: Authority) -> str:
    """Of the certificate that is shown."""
    address = httpx.URL(url)
    with (
        socket.create_connection((address.host, address.port), 30) as plain,
        _trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        return str(secured.getpeercert()["serialNumber"])  # type: ignore[index]


def _spoil(file: str) -> None:
    Path(file).write_text("nonsense")


async def test_https_and_nothing_else(start: Starter, authority: Authority) -> None:
    _, url = await start(authority.issue("a", "IP:127.0.0.1"))
    assert url.startswith("https://127.0.0.1:")
    shown = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(base_url=url, verify=_trusting(authority), headers=shown) as http:
        assert (await http.get("/v1/policy")).status_code == 200
        own = {"Origin": url}
        assert (await http.post("/v1/reload", headers=own)).status_code == 200
    async with httpx.AsyncClient(base_url=url, verify=_trusting(authority)) as http:
        statuses = [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics", "/")]
        assert statuses == [200, 401, 401, 401]
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.TransportError):
            await http.get(url.replace("https", "http") + "/healthz")


async def test_old_tls_is_refused(start: Starter, authority: Authority) -> None:
    _, url = await start(authority.issue("a", "IP:127.0.0.1"))
    old = _trusting(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(verify=old) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url + "/healthz")


async def test_certificates_of_clients(start: Starter, authority: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path / "theirs", "theirs")
    _, url = await start(authority.issue("a", "IP:127.0.0.1"), theirs.file)
    for who, welcome in ((None, False), (authority, False), (theirs, True)):
        context = _trusting(authority)
        if who is not None:
            files = who.issue("client", "DNS:client.example")
            context.load_cert_chain(files["certificate_file"], files["key_file"])
        async with httpx.AsyncClient(verify=context) as http:
            if welcome:
                assert (await http.get(url + "/healthz")).status_code == 200
            else:
                with pytest.raises(httpx.TransportError):
                    await http.get(url + "/healthz")


async def test_a_reload_reads_the_certificate_again(start: Starter, authority: Authority) -> None:
    admin, url = await start(authority.issue("a", "IP:127.0.0.1"))
    before = _serial(url, authority)
    files = authority.issue("a", "IP:127.0.0.1")
    admin.reload()

    async def renewed() -> bool:
        return _serial(url, authority) != before

    await until(renewed, 30)
    now = _serial(url, authority)
    _spoil(files["certificate_file"])
    pid = admin.pid
    admin.reload()
    async with httpx.AsyncClient(verify=_trusting(authority)) as http:
        for _ in range(3):
            assert (await http.get(url + "/healthz")).status_code == 200
    assert _serial(url, authority) == now
    assert admin.pid == pid


def test_a_pair_that_does_not_fit_changes_nothing(authority: Authority) -> None:
    one, other = authority.issue("one", "DNS:a.example"), authority.issue("other", "DNS:a.example")
    context = make_context(Path(one["certificate_file"]), Path(one["key_file"]), None)
    with pytest.raises(ssl.SSLError):
        renew(context, Path(other["certificate_file"]), Path(one["key_file"]))
    with pytest.raises(OSError):
        renew(context, Path("/nowhere"), Path(one["key_file"]))
