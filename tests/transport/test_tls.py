"""The TLS endpoint: who may connect, whom it connects to, and that its limits are those of TCP."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from proxy.sip.message import Flow
from proxy.transport.connection import Cause, State
from proxy.transport.contexts import PeerFiles, TlsContexts, TlsFiles
from proxy.transport.limits import StreamLimits
from proxy.transport.tls import TlsEndpoint
from tests.transport.stage import FarEnd, Peer, Stage, files_of, memory, request, response, until

OPTIONS = request()


def client(folder: Path, name: str | None = None) -> ssl.SSLContext:
    """What a peer connects with; `name`: its own certificate."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def server(folder: Path, name: str) -> ssl.SSLContext:
    """What a far end listens with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def proxy(folder: Path, **more: Any) -> TlsFiles:
    return files_of(folder, "proxy", **{"trusted_ca": folder / "ca.pem", **more})


def towards(stage: Stage, endpoint: TlsEndpoint, remote: tuple[str, int], name: str = "") -> Flow:
    return Flow("tls", endpoint.local, remote, stage.names.number(name) if name else 0)


async def connect(endpoint: TlsEndpoint, context: ssl.SSLContext, name: str = "proxy.example") -> Peer:
    return await Peer.to(endpoint, context, server_hostname=name)


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


# --- whom we connect to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "name", "accepted"),
    [
        ("carrier", "carrier.example", True),
        ("carrier", "Carrier.Example.", True),
        ("carrier", "host7.carrier.example", False),  # a SIP URI is there, so DNS names do not count
        ("dns", "carrier.example", True),
        ("dns", "sip.carrier.example", False),
        ("wildcard", "carrier.example", False),
        ("user", "carrier.example", False),
        ("sips", "carrier.example", False),
        ("nameless", "carrier.example", False),  # its common name is carrier.example
        ("expired", "carrier.example", False),
        ("stranger", "carrier.example", False),
        ("proxy", "", True),  # its address is certified
        ("carrier", "", False),
    ],
)
async def test_a_provider_is_verified_by_name_before_anything_is_sent(
    stage: Stage, certificates: Path, shown: str, name: str, accepted: bool
) -> None:
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=server(certificates, shown))
    flow = towards(stage, endpoint, far.address, name)
    endpoint.send(OPTIONS, flow)
    if accepted:
        await until(lambda: far.heard and far.heard[0] == OPTIONS)
        assert stage.closed == []
        far.peers[0].say(response())
        await until(lambda: stage.messages == [response()])
        assert stage.flows[0].connection > 0
    else:
        await until(lambda: stage.closed == [flow])
        await until(lambda: endpoint.closed == {Cause.TLS: 1})
        assert not any(far.heard)
    await far.close()


async def test_the_provider_s_name_is_asked_for(stage: Stage, certificates: Path) -> None:
    asked: list[str | None] = []
    context = server(certificates, "carrier")
    context.sni_callback = lambda _, name, __: asked.append(name)
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=context)
    endpoint.send(OPTIONS, towards(stage, endpoint, far.address, "carrier.example"))
    endpoint.send(OPTIONS, towards(stage, endpoint, far.address))
    await until(lambda: len(asked) == 2)
    assert set(asked) == {"carrier.example", None}
    await far.close()


async def test_two_providers_at_one_address_have_two_connections(stage: Stage, certificates: Path) -> None:
    context = server(certificates, "carrier")
    other = server(certificates, "other")

    def choose(found: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
        if name == "other.example":
            found.context = other

    context.sni_callback = choose
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=context)
    for name in ("carrier.example", "other.example", "carrier.example"):
        endpoint.send(OPTIONS, towards(stage, endpoint, far.address, name))
    await until(lambda: sorted(far.heard) == [OPTIONS, OPTIONS * 2])
    await far.close()


async def test_we_show_our_certificate_where_it_is_asked_for(stage: Stage, certificates: Path) -> None:
    context = server(certificates, "carrier")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=context)
    endpoint.send(OPTIONS, towards(stage, endpoint, far.address, "carrier.example"))
    await until(lambda: far.heard and far.heard[0] == OPTIONS)
    shown = far.peers[0].writer.get_extra_info("peercert")["subjectAltName"]
    assert ("DNS", "proxy.example") in shown
    await far.close()


def asking(sent_by: str, alias: str = ";alias") -> bytes:
    return request(via=f"{sent_by}{alias}")


async def test_a_client_may_ask_for_requests_on_its_connection(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates, client_ca=certificates / "ca.pem"))
    peer = await connect(endpoint, client(certificates, "pbx"))
    peer.say(asking("pbx.example:5061"))
    await until(lambda: stage.flows)
    endpoint.send(OPTIONS, towards(stage, endpoint, ("127.0.0.1", 5061), "pbx.example"))
    assert await peer.hear(len(OPTIONS)) == OPTIONS
    peer.leave()
    await until(lambda: len(endpoint) == 0)
    nobody = towards(stage, endpoint, ("127.0.0.1", 5061), "pbx.example")
    endpoint.send(OPTIONS, nobody)
    await until(lambda: nobody in stage.closed)


@pytest.mark.parametrize(
    ("shown", "said", "wanted"),
    [
        ("pbx", asking("pbx.example:7", ""), "pbx.example"),  # it did not ask
        ("pbx", response("pbx.example:7;alias"), "pbx.example"),  # responses ask for nothing
        ("pbx", asking("carrier.example:7"), "carrier.example"),  # not its name
        ("pbx", asking("pbx.example:7"), "carrier.example"),  # its name, and another's request
        ("pbx", asking("pbx.example:8"), "pbx.example"),  # another port
        ("pbx", asking("127.0.0.1:7"), "pbx.example"),  # its certificate does not speak for the address
    ],
)
async def test_requests_for_another_never_go_to_who_asks_for_them(
    stage: Stage, certificates: Path, shown: str, said: bytes, wanted: str
) -> None:
    endpoint = stage.tls(proxy(certificates, client_ca=certificates / "ca.pem"))
    peer = await connect(endpoint, client(certificates, shown))
    peer.say(said)
    await until(lambda: stage.flows)
    flow = towards(stage, endpoint, ("127.0.0.1", 7), wanted)
    endpoint.send(request("INVITE"), flow)
    await until(lambda: flow in stage.closed)
    peer.say(asking("pbx.example"))
    await until(lambda: len(stage.flows) == 2)
    endpoint.send(response(), stage.flows[-1])
    assert await peer.hear(len(response())) == response()  # and nothing before it


@pytest.mark.parametrize("pinned", [True, False])
async def test_who_may_vouch_for_callers_may_not_vouch_for_providers(
    stage: Stage, certificates: Path, pinned: bool
) -> None:
    """`carrier` has the right name from an authority that is good for callers only."""
    peers = {"carrier.example": PeerFiles(certificates / ("stranger.pem" if pinned else "ca.pem"))}
    files = proxy(certificates, client_ca=certificates / "ca.pem", trusted_ca=None, peers=peers)
    endpoint = stage.tls(files)
    peer = await connect(endpoint, client(certificates, "carrier"))
    peer.say(asking("carrier.example:7"))
    await until(lambda: stage.flows)
    flow = towards(stage, endpoint, ("127.0.0.1", 7), "carrier.example")
    endpoint.send(OPTIONS, flow)
    if pinned:
        await until(lambda: flow in stage.closed)
    else:
        assert await peer.hear(len(OPTIONS)) == OPTIONS
    system = stage.tls(proxy(certificates, client_ca=certificates / "ca.pem", trusted_ca=None))
    assert not system.contexts.may_call_back("carrier.example")


async def test_who_is_vouched_for_no_more_gets_nothing_more(
    stage: Stage, certificates: Path, tmp_path: Path
) -> None:
    """Neither on a connection that it opened nor on one of ours, once a file of authorities has changed."""
    authorities = tmp_path / "ca.pem"
    shutil.copy(certificates / "ca.pem", authorities)
    names = ("pbx.example", "carrier.example")
    files = proxy(certificates, client_ca=authorities, peers={name: PeerFiles(authorities) for name in names})
    endpoint, far = stage.tls(files), await FarEnd.at(tls=server(certificates, "carrier"))
    peer = await connect(endpoint, client(certificates, "pbx"))
    peer.say(asking("pbx.example:7"))
    await until(lambda: stage.flows)
    theirs = towards(stage, endpoint, ("127.0.0.1", 7), "pbx.example")
    ours = towards(stage, endpoint, far.address, "carrier.example")
    for count in (1, 2):
        endpoint.send(OPTIONS, theirs)
        assert await peer.hear(len(OPTIONS)) == OPTIONS
        endpoint.send(OPTIONS, ours)
        await until(lambda count=count: far.heard and far.heard[0] == OPTIONS * count)
        endpoint.contexts = TlsContexts(files)  # the same authorities, read again
    shutil.copy(certificates / "stranger.pem", authorities)
    endpoint.contexts = TlsContexts(files)
    endpoint.send(OPTIONS, theirs)
    endpoint.send(OPTIONS, ours)
    await until(lambda: set(stage.closed) == {theirs, ours})
    assert far.heard[0] == OPTIONS * 2
    endpoint.send(response(), stage.flows[0])
    assert await peer.hear(len(response())) == response()  # nothing before it; responses go on
    await far.close()


async def test_a_connection_has_so_many_aliases(stage: Stage, certificates: Path) -> None:
    endpoint = stage.tls(proxy(certificates, client_ca=certificates / "ca.pem"))
    peer = await connect(endpoint, client(certificates, "pbx"))
    peer.say(b"".join(asking(f"pbx.example:{port}") for port in range(1, 20)))
    await until(lambda: len(stage.flows) == 19)
    flow = towards(stage, endpoint, ("127.0.0.1", 8), "pbx.example")
    endpoint.send(OPTIONS, flow)
    assert await peer.hear(len(OPTIONS)) == OPTIONS
    flow = towards(stage, endpoint, ("127.0.0.1", 9), "pbx.example")
    endpoint.send(OPTIONS, flow)
    await until(lambda: flow in stage.closed)


async def test_a_response_without_its_connection_needs_sent_by_s_certificate(
    stage: Stage, certificates: Path
) -> None:
    endpoint, far = stage.tls(proxy(certificates)), await FarEnd.at(tls=server(certificates, "carrier"))
    via = f"carrier.example:{far.address[1]}"
    gone = Flow("tls", endpoint.local, ("127.0.0.1", 9), 10**9)
    endpoint.send(response(f"other.example:{far.address[1]}"), gone)
    await until(lambda: endpoint.closed == {Cause.TLS: 1})
    endpoint.send(response(via), gone)
    await until(lambda: far.heard and far.heard[-1] == response(via))
    await far.close()


async def test_each_provider_has_its_authority_and_sees_its_certificate(
    stage: Stage, certificates: Path
) -> None:
    """`stranger` signs for carrier.example and nobody else; `other` is shown there alone."""
    peers = {
        "carrier.example": PeerFiles(
            certificates / "stranger.pem", certificates / "other.pem", certificates / "other.key"
        )
    }
    endpoint = stage.tls(proxy(certificates, peers=peers))
    context = server(certificates, "stranger")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    far, wrong = await FarEnd.at(tls=context), await FarEnd.at(tls=server(certificates, "carrier"))
    endpoint.send(OPTIONS, towards(stage, endpoint, far.address, "Carrier.Example"))
    await until(lambda: far.heard and far.heard[0] == OPTIONS)
    shown = far.peers[0].writer.get_extra_info("peercert")["subjectAltName"]
    assert ("DNS", "other.example") in shown
    flow = towards(stage, endpoint, wrong.address, "carrier.example")
    endpoint.send(OPTIONS, flow)
    await until(lambda: flow in stage.closed)
    assert not any(wrong.heard)
    await far.close()
    await wrong.close()


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
    shaken = 0
    for _ in range(9):
        try:
            peer = await connect(endpoint, client(certificates))
            shaken += 1
            peer.leave()
        except (ssl.SSLError, ConnectionError):
            pass
    assert 3 <= shaken < 9
    assert endpoint.refused == 9 - shaken
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
