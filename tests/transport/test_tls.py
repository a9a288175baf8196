"""The TLS endpoint: who may connect, and that its limits are those of TCP."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from proxy.sip.message import Flow
from proxy.transport.connection import Cause, State
from proxy.transport.contexts import TlsContexts
from proxy.transport.limits import StreamLimits
from proxy.transport.tls import TlsEndpoint
from tests.ledger.servers import until
from tests.transport.stage import FarEnd, Peer, Stage, files_of, memory, request, response
from tests.transport.tls_stage import OPTIONS, client, connect, proxy, server, towards

# --- who connects to us -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_go_both_ways(stage: Stage, certificates: Path, version: ssl.TLSVersion) -> None:
    endpoint = stage.tls(proxy(certificates))
    stage.react = stage.answer
    context = client(certificates)
    context.minimum_version = context.maximum_version = version
    peer = await connect(endpoint, context)
    whole = request(body=b"x" * 60_000)
    peer.say(OPTIONS + whole + OPTIONS)
    assert await peer.hear(3 * len(response())) == 3 * response()
    peer.say(b"\r\n\r\n")
    assert await peer.hear(2) == b"\r\n"
    assert stage.messages == [OPTIONS, whole, OPTIONS]
    assert stage.flows[0] == Flow("tls", endpoint.local, ("127.0.0.1", peer.port), stage.flows[0].connection)
    endpoint.send(whole, stage.flows[0])
    assert await peer.hear(len(whole)) == whole


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_older_versions_are_refused(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    context = client(certificates)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(endpoint, context)
    await until(lambda: endpoint.closed == {Cause.TLS: 1})
    for made in (endpoint.contexts.server, endpoint.contexts.client("")):
        assert made.minimum_version is ssl.TLSVersion.TLSv1_2  # whatever the system would allow


async def test_message_split_at_every_byte(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer = await connect(endpoint, client(certificates))
    for at in range(1, len(OPTIONS)):
        peer.say(OPTIONS[:at])
        peer.say(OPTIONS[at:])
    await until(lambda: len(stage.messages) == len(OPTIONS) - 1)
    assert set(stage.messages) == {OPTIONS}


async def test_a_client_certificate_is_wanted_and_shown(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates, client_ca=certificates / "ca.pem"))
    for name in (None, "stranger"):
        try:
            peer = await connect(endpoint, client(certificates, name))
            peer.say(OPTIONS)
            assert await peer.hear_end() == b""
        except (ssl.SSLError, ConnectionError):
            pass
    await until(lambda: endpoint.closed == {Cause.TLS: 2})
    assert stage.messages == []
    peer = await connect(endpoint, client(certificates, "pbx"))
    peer.say(OPTIONS)
    await until(lambda: stage.messages == [OPTIONS])
    assert ("URI", "sip:pbx.example") in endpoint.certificate(stage.flows[0])["subjectAltName"]
    peer.leave()
    await until(lambda: len(endpoint) == 0)
    assert endpoint.certificate(stage.flows[0]) == {}


async def test_the_server_name_chooses_the_certificate(stage: Stage, certificates: Path) -> None:
    other = (certificates / "other.pem", certificates / "other.key")
    endpoint = stage.tls(proxy(certificates, by_name={"Other.example": other}))
    for name in ("other.example", "proxy.example"):
        peer = await connect(endpoint, client(certificates), name)
        shown = peer.writer.get_extra_info("peercert")["subjectAltName"]
        assert ("DNS", name) in shown
    context = client(certificates)
    context.check_hostname = False
    peer = await connect(endpoint, context, "unknown.example")
    assert ("DNS", "proxy.example") in peer.writer.get_extra_info("peercert")["subjectAltName"]


async def test_certificates_are_read_again_for_new_connections(
    stage: Stage, certificates: Path, tmp_path: Path
) -> None:
    def install(name: str) -> None:
        for suffix in ("pem", "key"):
            shutil.copy(certificates / f"{name}.{suffix}", tmp_path / f"now.{suffix}")

    install("proxy")
    endpoint = stage.tls(files_of(tmp_path, "now", trusted_ca=certificates / "ca.pem"))
    stage.react = stage.answer
    old = await connect(endpoint, client(certificates))
    install("renewed")
    endpoint.contexts = TlsContexts(files_of(tmp_path, "now", trusted_ca=certificates / "ca.pem"))
    await connect(endpoint, client(certificates), "renewed.example")
    old.say(OPTIONS)
    assert await old.hear(len(response())) == response()


# --- limits -----------------------------------------------------------------------------------------------


async def test_a_handshake_has_to_be_over_in_time(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates), StreamLimits(message_seconds=0.3, connect_seconds=0.3))
    silent = await Peer.to(endpoint)
    assert await silent.hear_end() == b""
    await until(lambda: endpoint.closed == {Cause.SLOW: 1})
    mute = await FarEnd.at(mute=True)
    flow = towards(stage, endpoint, mute.address, "carrier.example")
    endpoint.send(OPTIONS, flow)
    await until(lambda: stage.closed == [flow])
    await until(lambda: endpoint.closed == {Cause.SLOW: 1, Cause.FAILED: 1})
    await mute.close()


@pytest.mark.parametrize("garbage", [OPTIONS, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b"\0" * 9])
async def test_garbage_is_no_handshake(stage: Stage, certificates: Path, garbage: bytes) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer = await Peer.to(endpoint)
    peer.say(garbage)
    heard = await peer.hear_end()
    assert b"SIP" not in heard
    await until(lambda: endpoint.closed == {Cause.TLS: 1})
    assert stage.messages == []


async def test_failed_handshakes_do_not_fill_the_log(
    stage: Stage, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = stage.tls(proxy(certificates))
    for _ in range(20):
        (await Peer.to(endpoint)).say(OPTIONS)
    await until(lambda: endpoint.closed == {Cause.TLS: 20})
    assert 1 <= len(caplog.records) <= 5
    assert "127.0.0.1 failed" in caplog.text


async def shaken_hands(
    endpoint: TlsEndpoint, context: ssl.SSLContext
) -> tuple[Peer, ssl.SSLObject, ssl.MemoryBIO]:
    """A connection whose TLS is done by hand: (the raw connection, TLS, what comes for it)."""
    peer = await Peer.to(endpoint)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="proxy.example")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            peer.say(outgoing.read())
            incoming.write(await peer.reader.read(65536))
    peer.say(outgoing.read())
    return peer, tls, incoming


async def test_strangers_shake_hands_so_often_and_no_more(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates), StreamLimits(stranger_handshakes=3))
    stage.known = lambda host: False
    context = client(certificates)
    shaken = 0
    while endpoint.refused == 0 and shaken < 100:  # another one is free after a third of a second
        try:
            peer = await connect(endpoint, context)
            shaken += 1
            peer.leave()
        except (ssl.SSLError, ConnectionError):
            pass
    assert shaken >= 3
    assert endpoint.refused == 1
    stage.known = lambda host: True
    await connect(endpoint, client(certificates))


async def test_garbage_after_the_handshake_is_the_end(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer, _, _ = await shaken_hands(endpoint, client(certificates))
    peer.say(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    await until(lambda: len(endpoint) == 0)
    assert stage.messages == []


async def test_the_end_is_said_in_tls(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer, tls, incoming = await shaken_hands(endpoint, client(certificates))
    await until(lambda: all(found._state is State.OPEN for found in endpoint._all))
    await endpoint.close()
    incoming.write(await peer.hear_end())
    assert tls.read() == b""  # close_notify; an end without it would want more


async def test_a_spoilt_stream_is_answered_and_closed(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer = await connect(endpoint, client(certificates))
    peer.say(OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 4294967301"))
    heard = await peer.hear_end()
    assert heard.startswith(b"SIP/2.0 400 ")
    assert heard.endswith(b"\r\n\r\n")
    peer.leave()
    await until(lambda: endpoint.closed == {Cause.MALFORMED: 1})


async def test_who_does_not_read_is_closed(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    peer = await connect(endpoint, client(certificates))
    peer.say(OPTIONS)
    await until(lambda: stage.flows)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    big = request("INVITE", body=b"x" * 60_000)
    for _ in range(400):
        endpoint.send(big, stage.flows[0])
        if endpoint.unsent:
            break
    await until(lambda: set(stage.closed) == {stage.flows[0]})
    await until(lambda: endpoint.closed == {Cause.UNREAD: 1})


async def test_idle_connections_cost_little(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates))
    context = client(certificates)
    peers = [await connect(endpoint, context) for _ in range(5)]
    before = memory()
    peers += [await connect(endpoint, context) for _ in range(50)]
    # The clients of this process count, too, and asyncio gives each a buffer of 256 KiB.
    assert memory() - before < 50 * (256 + 160) * 1024
    assert len(endpoint) == len(peers)


async def test_both_sides_learn_that_it_is_over(stage: Stage, certificates: Path) -> None:
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=server(certificates, "carrier"))
    peer = await connect(endpoint, client(certificates))
    peer.say(OPTIONS)
    flow = towards(stage, endpoint, far.address, "carrier.example")
    endpoint.send(OPTIONS, flow)
    await until(lambda: stage.flows and far.heard and far.heard[0])
    far.peers[0].leave()
    await until(lambda: stage.closed == [flow])
    await endpoint.close()
    assert await peer.hear_end() == b""
    await far.close()
