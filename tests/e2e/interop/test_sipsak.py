"""sipsak: the ping that an operator's monitoring sends, and modes that are meant to hurt."""

from __future__ import annotations

import subprocess
from functools import partial

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.interop.installed import needs_program
from tests.e2e.ports import STRANGER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
LIMIT = 20.0
FLOOD = 300
RANDOM = 200
REFUSED = 1  # sipsak's exit code for any answer but 200


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    needs_program("sipsak", "sipsak")
    folder = tmp_path_factory.mktemp("sipsak")
    return serve_module(
        configuration(
            folder,
            redis_server.url,
            [{"name": "carrier", "hostname": provider.host_port}],
            [trunk("desk", DESK, capacity_limit=5)],
            listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        )
    )


def sipsak(*arguments: str, source: str = DESK) -> subprocess.CompletedProcess[str]:
    """Run it to its end, from `source`."""
    return subprocess.run(
        ["sipsak", f"--local-ip={source}", "-H", source, "-vv", *arguments],
        capture_output=True, text=True, errors="replace", timeout=LIMIT, check=False,
    )  # fmt: skip


def uri(proxy: Trunkwarden, user: str = "", transport: str = "udp") -> str:
    host, port = proxy.sockets[transport]
    return f"sip:{user}{'@' if user else ''}{host}:{port}"


@pytest.fixture(autouse=True)
def _calls_still_pass(proxy: Trunkwarden, provider, new_peer):
    yield
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)
    proxy.wait_until_idle()


def test_ping(proxy: Trunkwarden) -> None:
    result = sipsak("-s", uri(proxy))

    assert result.returncode == 0, result.stdout
    assert "SIP/2.0 200 OK" in result.stdout


def test_ping_over_tcp(proxy: Trunkwarden) -> None:
    result = sipsak("--transport=tcp", "-s", uri(proxy, transport="tcp"))

    assert result.returncode == 0, result.stdout
    assert "SIP/2.0 200 OK" in result.stdout


def test_stranger_is_refused(proxy: Trunkwarden) -> None:
    result = sipsak("-s", uri(proxy), source=STRANGER)

    assert result.returncode == REFUSED
    assert "SIP/2.0 403 Source Not Authorized" in result.stdout


def test_ping_of_a_number_is_not_forwarded(proxy: Trunkwarden, provider) -> None:
    arrived = len(provider.received)

    result = sipsak("-s", uri(proxy, WASHINGTON))

    assert "SIP/2.0 405 Method Not Allowed" in result.stdout
    assert len(provider.received) == arrived


def test_instant_message_goes_nowhere(proxy: Trunkwarden, provider, tmp_path) -> None:
    arrived = len(provider.received)
    lines = [
        f"MESSAGE {uri(proxy, WASHINGTON)} SIP/2.0",
        f"From: <sip:desk@{DESK}>;tag=1",
        f"To: <{uri(proxy, WASHINGTON)}>",
        "Call-ID: instant-message",
        "CSeq: 1 MESSAGE",
        "Max-Forwards: 70",
        "Content-Length: 0",
        "",
        "",
    ]
    (tmp_path / "message").write_text("\n".join(lines))

    result = sipsak("-f", str(tmp_path / "message"), "-s", uri(proxy, WASHINGTON))

    assert "SIP/2.0 405 Method Not Allowed" in result.stdout
    assert len(provider.received) == arrived


def test_flood(proxy: Trunkwarden, provider) -> None:
    arrived = len(provider.received)

    sipsak("-F", "-e", str(FLOOD), "-s", uri(proxy, WASHINGTON))

    read = partial(proxy.metric, "trunkwarden_sip_messages_total", direction="in", kind="OPTIONS")
    eventually(lambda: read() > FLOOD / 2, what="most of the flood being read")
    assert len(provider.received) == arrived


def test_random_mode(proxy: Trunkwarden, provider) -> None:
    """OPTIONS with more and more characters replaced by others."""
    arrived = len(provider.received)

    sipsak("-R", "-t", str(RANDOM), "-s", uri(proxy, WASHINGTON))

    assert len(provider.received) == arrived
