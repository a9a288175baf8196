"""The TLS endpoint: whom it connects to, and on whose connections it sends requests."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from proxy.sip.message import Flow
from proxy.transport.connection import Cause
from proxy.transport.contexts import PeerFiles, TlsContexts
from tests.ledger.servers import until
from tests.transport.stage import FarEnd, Stage, request, response
from tests.transport.tls_stage import OPTIONS, client, connect, proxy, server, towards


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
