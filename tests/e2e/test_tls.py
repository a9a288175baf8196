"""TLS on the running program: certificates by name, providers verified, files checked, connections reused."""

from __future__ import annotations

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e.configuration import WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER, PROXY, free_udp_port
from tests.e2e.sip_text import SDP, answer, fresh, text
from tests.e2e.stream_peer import StreamListener, StreamPeer
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
WAIT = 10.0
PING = b"\r\n\r\n"


def client(authority: Authority, files: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if files is not None:
        context.load_cert_chain(files["certificate_file"], files["key_file"])
    return context


def server(files: dict[str, str], clients: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate_file"], files["key_file"])
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def shown(authority: Authority, target: tuple[str, int], name: str) -> set[str]:
    """The DNS names of the certificate that is shown to who asks for `name`."""
    context = client(authority)
    context.check_hostname = False
    peer = StreamPeer(DESK, target, tls=context, name=name)
    try:
        return set(peer.names)
    finally:
        peer.close()


def options(peer: Peer, sent_by: str, parameters: str = "") -> bytes:
    headers = [
        ("Via", f"SIP/2.0/TLS {sent_by};branch={fresh('z9hG4bK-')}{parameters}"),
        ("Max-Forwards", "70"),
    ]
    headers += [("From", "<sip:a@b.example>;tag=1"), ("To", "<sip:c.example>"), ("Call-ID", fresh("id"))]
    return text("OPTIONS sip:127.0.0.1 SIP/2.0", [*headers, ("CSeq", "1 OPTIONS")])


def test_certificates_by_name_and_all_of_them_read_again(
    serve, redis_server, new_peer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "pem")
    bind = f"tls:{PROXY}:{free_udp_port(PROXY)}"
    files = {name: authority.issue(name, f"DNS:{name}.example") for name in ("first", "second")}
    carrier = new_peer(PROVIDER)
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", carrier.address)],
            [trunk("desk", DESK)],
            listen=[{"bind": bind, **files["first"]}, "udp:127.0.0.1:0", {"bind": bind, **files["second"]}],
        )
    )
    target = proxy.sockets["tls"]
    assert [kind for kind, _ in proxy.listeners] == ["tls", "udp"]
    assert shown(authority, target, "second.example") == {"second.example"}
    assert shown(authority, target, "first.example") == {"first.example"}
    assert shown(authority, target, "other.example") == {"first.example"}
    desk = StreamPeer(DESK, target, tls=client(authority), name="second.example")
    placed = OutgoingCall(desk, target, WASHINGTON).send()
    far_end = incoming(carrier, proxy.sockets["udp"], placed, WAIT)
    far_end.accept()
    dialog = placed.answered(WAIT)

    for name in ("first", "second"):
        authority.issue(name, f"DNS:{name}.example", f"DNS:new-{name}.example")
    proxy.reload_and_wait()
    assert shown(authority, target, "new-second.example") == {"second.example", "new-second.example"}
    assert shown(authority, target, "first.example") == {"first.example", "new-first.example"}

    authority.issue("first", "DNS:newest.example")
    shutil.copy(files["first"]["key_file"], files["second"]["key_file"])
    proxy.reload()
    eventually(lambda: proxy.metric("trunkwarden_policy_reloads_total", result="failure") == 1, WAIT)
    assert "is not the key of the first certificate" in str(proxy.get("/v1/policy")["problems"])
    assert shown(authority, target, "newest.example") == {"first.example", "new-first.example"}
    assert shown(authority, target, "new-second.example") == {"second.example", "new-second.example"}

    desk.send(PING)
    desk.wait_pongs(2)
    hang_up(placed, dialog, far_end)  # the connection of before, and the call on it
    desk.close()
    proxy.wait_until_idle()


def test_each_provider_is_verified_by_its_own_authority_and_sees_its_own_certificate(
    serve, redis_server, new_peer, tmp_path: Path
) -> None:
    ours, theirs, others = (Authority(tmp_path / name) for name in ("ours", "theirs", "others"))
    listening = ours.issue("proxy", "DNS:proxy.example")
    us = theirs.issue("customer-7", "DNS:customer-7.example")
    good = StreamListener(PROVIDER, tls=server(theirs.issue("good", f"IP:{PROVIDER}"), theirs))
    wrong = StreamListener("127.0.0.102", tls=server(others.issue("wrong", "IP:127.0.0.102")))
    ca = {"transport": "tls", "ca_file": str(theirs.file)}
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("good", good.address, **ca, **us), provider_entry("wrong", wrong.address, **ca)],
            [trunk("desk", DESK, provider="good"), trunk("desk-2", "127.0.0.11", provider="wrong")],
            listen=["udp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **listening}],
            timers={"provider_response_seconds": 5, "no_answer_seconds": 30},
        )
    )
    desk = new_peer(DESK)
    placed = OutgoingCall(desk, proxy.address, WASHINGTON).send()
    carrier = good.peer(limit=WAIT)
    far_end = incoming(carrier, proxy.sockets["tls"], placed, WAIT)
    assert carrier.names == {"customer-7.example"}
    via = far_end.invite.all("via")[0]
    host, port = proxy.sockets["tls"]
    assert via.startswith(f"SIP/2.0/TLS {host}:{port};alias;branch=z9hG4bK")
    carrier.send(PING)
    carrier.wait_pongs(2)
    contact = (("Contact", f"<sip:carrier@{PROVIDER}:{good.address[1]};transport=tls>"),)
    carrier.send(answer(far_end.invite, "200 OK", tag=far_end.tag, extra=contact, body=SDP))
    dialog = placed.answered(WAIT)
    # RFC 5923: the provider's own request comes on the connection that we opened.
    far_end.expect("ACK", WAIT)
    carrier.send(far_end.dialog().request("BYE"))
    bye = desk.expect_request("BYE", WAIT, placed.call_id)
    desk.send(answer(bye, "200 OK"), proxy.address)
    carrier.expect_response(200, "BYE", WAIT, placed.call_id)
    assert len(good.peers) == 1
    assert dialog.call_id == placed.call_id

    refused = OutgoingCall(new_peer("127.0.0.11"), proxy.address, WASHINGTON).send()
    assert refused.final(WAIT).status == 500
    assert not wrong.peers or not wrong.peers[0].received
    proxy.wait_until_idle()
    good.close()
    wrong.close()


@pytest.mark.parametrize("one_file", [True, False])
def test_a_provider_that_cannot_be_reached_is_called_on_the_connection_that_it_opened(
    serve, redis_server, new_peer, tmp_path: Path, one_file: bool
) -> None:
    """RFC 5923, when one file vouches for it in both directions; otherwise the call fails, and nobody who
    connected hears of it."""
    authority = Authority(tmp_path / "pem")
    shutil.copy(authority.file, tmp_path / "copy.pem")
    listening = authority.issue("proxy", "DNS:proxy.example")
    its_port = free_udp_port(PROVIDER)
    sent_by = f"{PROVIDER}:{its_port}"
    ca_file = authority.file if one_file else tmp_path / "copy.pem"
    proxy = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider_entry("carrier", (PROVIDER, its_port), transport="tls", ca_file=str(ca_file))],
            [trunk("desk", DESK), trunk("host-of-carrier", PROVIDER)],
            listen=[
                "udp:127.0.0.1:0",
                {"bind": "tls:127.0.0.1:0", **listening, "client_ca_file": str(authority.file)},
            ],
            timers={"provider_response_seconds": 5, "no_answer_seconds": 30},
        )
    )
    target = proxy.sockets["tls"]

    def connected(host: str, files: dict[str, str]) -> StreamPeer:
        peer = StreamPeer(host, target, tls=client(authority, files), name="proxy.example")
        peer.send(options(peer, sent_by, ";alias"))
        peer.expect_response(200, "OPTIONS", WAIT)
        return peer

    pbx = authority.issue("pbx", "DNS:pbx.example", f"IP:{DESK}")
    carrier_files = authority.issue("carrier", f"IP:{PROVIDER}")
    # A caller with another's name, at the provider's address; one with the provider's name, elsewhere.
    evil = [connected(PROVIDER, pbx), connected(DESK, carrier_files), connected(DESK, pbx)]
    desk = new_peer(DESK)
    placed = OutgoingCall(desk, proxy.address, WASHINGTON).send()
    assert placed.final(WAIT).status == 500

    carrier = connected(PROVIDER, carrier_files)
    evil.append(connected(PROVIDER, pbx))  # and one that comes after it
    placed = OutgoingCall(desk, proxy.address, WASHINGTON).send()
    if one_file:
        far_end = IncomingCall(carrier, target, carrier.expect_request("INVITE", WAIT, placed.call_id))
        carrier.send(answer(far_end.invite, "486 Busy Here", tag=far_end.tag))
        assert placed.final(WAIT).status == 486
        carrier.close()
        placed = OutgoingCall(desk, proxy.address, WASHINGTON).send()
    assert placed.final(WAIT).status == 500
    for peer in evil:
        assert [found.message.start for found in peer.received] == ["SIP/2.0 200 OK"]
        peer.close()
    carrier.close()
    proxy.wait_until_idle()


def test_bad_certificates_are_named_by_check_and_stop_serve_with_1(redis_server, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pem")
    files = authority.issue("proxy", "DNS:proxy.example", days=-1)
    config = configuration(
        tmp_path,
        redis_server.url,
        [provider_entry("carrier", (PROVIDER, 5060), transport="tls", ca_file=str(tmp_path / "none.pem"))],
        [trunk("desk", DESK)],
        listen=[{"bind": "tls:127.0.0.1:0", **files}],
    )
    server_file = tmp_path / "trunkwarden.yaml"
    writer = Trunkwarden.__new__(Trunkwarden)
    writer.file = server_file
    writer.write(config)
    for arguments in (("check", "-c", str(server_file)), ("serve", "-c", str(server_file))):
        found = command(*arguments)
        said = found.stdout + found.stderr
        assert found.returncode == 1, said
        assert "listen[0].certificate_file: `" in said
        assert "expired on " in said
        assert "providers[0].ca_file: `" in said
        assert "cannot be read: No such file or directory" in said


def test_connections_of_a_trunk_that_is_removed_are_closed_and_all_others_at_the_end(
    serve, redis_server, new_peer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "pem")
    files = authority.issue("proxy", "DNS:proxy.example")
    carrier = new_peer(PROVIDER)
    other = "127.0.0.11"
    config = configuration(
        tmp_path,
        redis_server.url,
        [provider_entry("carrier", carrier.address)],
        [trunk("desk", DESK), trunk("other", other)],
        listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **files}],
        timers={"provider_response_seconds": 5, "no_answer_seconds": 30},
    )
    proxy = serve(config)

    def connected(host: str) -> StreamPeer:
        peer = StreamPeer(host, proxy.sockets["tls"], tls=client(authority), name="proxy.example")
        peer.send(options(peer, peer.host_port))
        peer.expect_response(200, "OPTIONS", WAIT)
        return peer

    idle, calling, kept = connected(other), connected(other), connected(DESK)
    placed = OutgoingCall(calling, proxy.sockets["tls"], WASHINGTON).send()
    far_end = incoming(carrier, proxy.address, placed, WAIT)
    far_end.accept()
    dialog = placed.answered(WAIT)
    config["trunks"] = config["trunks"][:1]
    proxy.write(config)
    proxy.reload()
    idle.wait_end()
    hang_up(placed, dialog, far_end)  # a live call keeps its connection
    kept.send(PING)
    kept.wait_pongs(2)
    proxy.wait_until_idle()
    # One that never shook hands, one that never spoke.
    half = [socket.create_connection(proxy.sockets[kind], WAIT, (DESK, 0)) for kind in ("tls", "tcp")]
    proxy.terminate()
    assert proxy.wait() == 0
    kept.wait_end()
    for one in half:
        one.settimeout(WAIT)
        assert one.recv(100) == b""
        one.close()
    for peer in (idle, calling, kept):
        peer.close()
