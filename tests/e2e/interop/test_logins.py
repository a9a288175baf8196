"""Other people's programs call a trunk that has no addresses: baresip, PJSIP, aiosipua and sipsak log in with
each call and register nowhere. SIPp is in tests/e2e/test_digest.py."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosipua import OutgoingCall, SipDigestAuth

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.interop.baresip import Baresip
from tests.e2e.interop.installed import needs_module, needs_program
from tests.e2e.interop.pjsip import Pjsip
from tests.e2e.interop.sip_log import answers
from tests.e2e.interop.test_aiosipua import NEVER_AGAIN, Phone, sdp
from tests.e2e.peer import Peer, refusing
from tests.e2e.ports import STRANGER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall
from tests.e2e.waiting import eventually

CLI = "+12025550117"
USER, PASSWORD = "road", "wide open"
OFFERS = {"MD5": ["MD5"], "SHA-256": ["SHA-256", "SHA-512-256"], "MD5 first": ["MD5", "SHA-256"]}
LIMIT = 20.0

Offering = Callable[[str], Trunkwarden]


@pytest.fixture(scope="module")
def offering(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Offering]:
    """The proxy that offers these algorithms."""
    folder = tmp_path_factory.mktemp("logins")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    login: dict[str, Any] = {
        "allowed_sip_ips": [],
        "auth": "digest",
        "username": USER,
        "password_file": str(secret),
    }
    started: dict[str, Trunkwarden] = {}

    def serving(offer: str) -> Trunkwarden:
        if offer not in started:
            config = configuration(
                folder / str(len(started)),
                redis_server.url,
                [{"name": "carrier", "hostname": provider.host_port}],
                [trunk("road", "", capacity_limit=5, **login)],
                digest={"algorithms": OFFERS[offer]},
                timers=NEVER_AGAIN,
            )
            started[offer] = serve_module(config)
        return started[offer]

    yield serving
    for proxy in started.values():
        proxy.wait_until_idle()
        assert proxy.metric("trunkwarden_sip_messages_total", direction="in", kind="REGISTER") == 0


def arrived(provider: Peer, proxy: Trunkwarden) -> IncomingCall:
    """The call at the provider, which learns nothing of the login."""
    invite = provider.expect_request("INVITE")
    assert invite.all("proxy-authorization") == invite.all("authorization") == []
    assert USER not in str(invite)
    return IncomingCall(provider, proxy.address, invite)


def used(log: str) -> list[tuple[str, str]]:
    """Algorithm and qop of the credentials that stand in the log, by request."""
    lines = re.findall(r"^Proxy-Authorization: *Digest (.*)$", log, re.MULTILINE | re.IGNORECASE)
    return [(_parameter(line, "algorithm") or "MD5", _parameter(line, "qop")) for line in lines]


def _parameter(line: str, name: str) -> str:
    found = re.search(rf'\b{name}="?([\w-]+)', line)
    return "" if found is None else found[1]


# --- baresip: MD5 alone ---


@pytest.fixture
def baresip(offering: Offering, tmp_path: Path) -> Iterator[Callable[[str, str], Baresip]]:
    needs_program("baresip", "baresip-core")
    started: list[Baresip] = []

    def dial(offer: str, password: str) -> Baresip:
        host, port = offering(offer).address
        account = f';auth_user={USER};auth_pass="{password}"'
        phone = Baresip(tmp_path / "phone", STRANGER, CLI, f"sip:{host}:{port}", account=account)
        started.append(phone)
        phone.command("dial", f"sip:{WASHINGTON}@127.0.0.1")
        return phone

    yield dial
    for phone in started:
        phone.stop()


def test_baresip_calls(baresip, offering: Offering, provider: Peer) -> None:
    phone = baresip("MD5", PASSWORD)
    far_end = arrived(provider, offering("MD5"))
    far_end.accept()
    phone.expect("CALL_ESTABLISHED")
    far_end.expect("ACK")

    phone.command("hangup")

    bye = far_end.expect("BYE")
    assert bye.all("proxy-authorization") == []
    far_end.reply(bye)
    offering("MD5").wait_until_idle()
    assert used(phone.printed())[0] == ("MD5", "auth")


def test_baresip_with_a_wrong_password(baresip, provider: Peer) -> None:
    phone = baresip("MD5", "wrong")

    assert phone.expect("CALL_CLOSED")["param"] == "403 Source Not Authorized"
    assert answers(phone.printed(), "INVITE") == [407, 403]
    provider.stays_quiet()


def test_baresip_knows_nothing_but_md5(baresip, provider: Peer) -> None:
    """It gives up at the first challenge that it does not know, whatever follows."""
    phone = baresip("SHA-256", PASSWORD)

    phone.expect("CALL_CLOSED")
    assert answers(phone.printed(), "INVITE") == [407]
    assert used(phone.printed()) == []
    provider.stays_quiet()


# --- PJSIP ---


@pytest.fixture
def pjsip(offering: Offering, tmp_path: Path) -> Iterator[Callable[[str, str], Pjsip]]:
    needs_module("pjsua2")
    started: list[Pjsip] = []

    def start(offer: str, password: str) -> Pjsip:
        host, port = offering(offer).address
        phone = Pjsip(
            tmp_path / "phone", STRANGER, CLI, proxy=f"sip:{host}:{port};lr", strict=False,
            login=(USER, password),
        )  # fmt: skip
        started.append(phone)
        return phone

    yield start
    for phone in started:
        phone.stop()


@pytest.mark.parametrize(
    ("offer", "algorithm"), [("MD5", "MD5"), ("SHA-256", "SHA-256"), ("MD5 first", "MD5")]
)
def test_pjsip_calls(pjsip, offering: Offering, provider: Peer, offer: str, algorithm: str) -> None:
    """It takes the first challenge that it knows. Nobody is asked within the dialog, and what is proved to us
    stays here."""
    phone, proxy = pjsip(offer, PASSWORD), offering(offer)
    phone.do("dial", to=f"sip:{WASHINGTON}@127.0.0.1")
    far_end = arrived(provider, proxy)
    far_end.accept()
    phone.state("confirmed")
    far_end.expect("ACK")
    phone.do("hold")
    again = far_end.expect("INVITE")
    IncomingCall(provider, proxy.address, again).accept()
    far_end.expect("ACK")
    phone.do("hangup")
    bye = far_end.expect("BYE")
    far_end.reply(bye)
    phone.state("disconnected")
    proxy.wait_until_idle()
    assert bye.all("proxy-authorization") == again.all("proxy-authorization") == []
    assert set(used(phone.printed())) == {(algorithm, "auth")}
    eventually(lambda: answers(phone.printed(), "INVITE") == [407, 100, 200, 100, 200], what="its whole log")


def test_pjsip_with_a_wrong_password(pjsip, provider: Peer) -> None:
    phone = pjsip("SHA-256", "wrong")
    phone.do("dial", to=f"sip:{WASHINGTON}@127.0.0.1")

    ended = phone.state("disconnected")

    assert (ended["status"], ended["reason"]) == (403, "Source Not Authorized")
    provider.stays_quiet()


# --- aiosipua ---


@pytest.fixture
async def aiosipua() -> AsyncIterator[Phone]:
    phone = Phone("udp", STRANGER)
    await phone.uas.start()
    yield phone
    await phone.uas.stop()


def dialled(phone: Phone, proxy: Trunkwarden, password: str) -> OutgoingCall:
    host, port = proxy.address
    login = SipDigestAuth(USER, password)
    to = f"sip:{WASHINGTON}@{host}:{port}"
    return phone.uac.send_invite(f"sip:{CLI}@{STRANGER}", to, proxy.address, sdp(STRANGER), auth=login)


@pytest.mark.parametrize("offer", OFFERS)
async def test_aiosipua_calls(aiosipua: Phone, offering: Offering, provider: Peer, offer: str) -> None:
    """It can have its calls ended, and cannot end them (test_aiosipua.py)."""
    proxy = await asyncio.to_thread(offering, offer)
    call = dialled(aiosipua, proxy, PASSWORD)
    far_end = await asyncio.to_thread(arrived, provider, proxy)
    far_end.accept()
    await call.wait_answered(LIMIT)

    provider.send(far_end.dialog().request("BYE"), proxy.address)

    await aiosipua.hears("bye")
    await asyncio.to_thread(proxy.wait_until_idle)


async def test_aiosipua_with_a_wrong_password(aiosipua: Phone, offering: Offering, provider: Peer) -> None:
    call = dialled(aiosipua, await asyncio.to_thread(offering, "SHA-256"), "wrong")

    with pytest.raises(RuntimeError, match="403 Source Not Authorized"):
        await call.wait_answered(LIMIT)
    await asyncio.to_thread(provider.stays_quiet)


# --- sipsak: MD5, when that is offered first ---


def sipsak(proxy: Trunkwarden, folder: Path, password: str) -> str:
    """One INVITE, as a file that it sends: what it printed, with all messages."""
    needs_program("sipsak", "sipsak")
    host, port = proxy.address
    uri = f"sip:{WASHINGTON}@{host}:{port}"
    lines = [
        f"INVITE {uri} SIP/2.0", f"From: <sip:{CLI}@{STRANGER}>;tag=1", f"To: <{uri}>",
        f"Call-ID: sipsak-{folder.name}", "CSeq: 1 INVITE", f"Contact: <sip:desk@{STRANGER}>",
        "Max-Forwards: 70", "Content-Length: 0", "", "",
    ]  # fmt: skip
    (folder / "invite").write_text("\n".join(lines))
    done = subprocess.run(
        ["sipsak", f"--local-ip={STRANGER}", "-H", STRANGER, "-vvv", "-u", USER, "-a", password,
         "-f", str(folder / "invite"), "-s", uri],
        capture_output=True, text=True, errors="replace", timeout=LIMIT, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture
def busy(provider: Peer) -> Iterator[Peer]:
    provider.reaction = refusing("486 Busy Here")
    yield provider
    provider.reaction = None


@pytest.mark.parametrize("offer", ["MD5", "MD5 first"])
def test_sipsak_calls(offering: Offering, busy: Peer, tmp_path: Path, offer: str) -> None:
    said = sipsak(offering(offer), tmp_path, PASSWORD)

    arrived(busy, offering(offer))
    assert used(said)[-1] == ("MD5", "auth")
    assert "SIP/2.0 486 Busy Here" in said


def test_sipsak_with_a_wrong_password(offering: Offering, provider: Peer, tmp_path: Path) -> None:
    said = sipsak(offering("MD5"), tmp_path, "wrong")

    assert "SIP/2.0 403 Source Not Authorized" in said
    provider.stays_quiet()


def test_sipsak_knows_nothing_but_md5(offering: Offering, provider: Peer, tmp_path: Path) -> None:
    said = sipsak(offering("SHA-256"), tmp_path, PASSWORD)

    assert used(said) == []
    provider.stays_quiet()
