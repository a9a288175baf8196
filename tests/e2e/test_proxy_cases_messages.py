"""What a correct proxy does, judged by what its peers receive: what is in the messages (RFC 3261 §16.3 to
§16.7 and its extensions).

One program serves all cases; each trunk and provider has what a case needs.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import EVIL, PROVIDER
from tests.e2e.sip_text import Message, answer, fresh
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming

DESK, PLAIN, PRIVATE, STREAM, SIX = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13", "::1"
PATIENCE = 15.0
IDENTITIES = (
    ("P-Asserted-Identity", "<sip:+12025550117@x>"),
    ("P-Preferred-Identity", "<sip:+12025550117@x>"),
    ("Remote-Party-ID", "<sip:+12025550117@x>;party=calling"),
)


@pytest.fixture(scope="module")
def stream_provider() -> Iterator[socket.socket]:
    """A provider that listens on TCP."""
    with socket.create_server((PROVIDER, 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, stream_provider, tmp_path_factory) -> Trunkwarden:
    config = configuration(
        tmp_path_factory.mktemp("messages"),
        redis_server.url,
        [
            provider_entry("carrier", provider.address),
            provider_entry("outsider", provider.address, trusted=False),
            provider_entry("stream", stream_provider.getsockname(), transport="tcp"),
        ],
        [
            trunk("desk", DESK),
            trunk("plain", PLAIN, trust_identity=False),
            trunk("private", PRIVATE, provider="outsider"),
            trunk("stream", STREAM, provider="stream"),
            trunk("six", SIX),
        ],
        listen=["udp:127.0.0.1:0", "udp:[::1]:0", "tcp:127.0.0.1:0"],
        timers={"t1_ms": 200},
        emergency={"numbers": ["112"], "providers": ["carrier"]},
    )
    return serve_module(config)


@pytest.fixture(autouse=True)
def _nothing_is_left(proxy) -> Iterator[None]:
    yield
    proxy.wait_until_idle()


@pytest.fixture
def udp(proxy) -> tuple[str, int]:
    """The IPv4 listener."""
    return next(at for transport, at in proxy.listeners if transport == "udp" and at[0] == "127.0.0.1")


@pytest.fixture
def place(udp, provider, new_peer):
    """Sends an INVITE that `change` has rewritten; (the call, what the provider got)."""

    def call(source: str = DESK, called: str = WASHINGTON, change=None, **options: object):
        one = OutgoingCall(new_peer(source), udp, called, **options)
        data = one.invite()
        one.peer.send(data if change is None else change(data), udp)
        return one, incoming(provider, udp, one)

    return call


@pytest.fixture
def refused(udp, provider, new_peer):
    """Sends an INVITE that the proxy itself refuses; its answer."""

    def call(change=None, **options: object) -> Message:
        one = OutgoingCall(new_peer(DESK), udp, WASHINGTON, **options)
        data = one.invite()
        one.peer.send(data if change is None else change(data), udp)
        final = one.final()
        assert not provider.requests("INVITE", one.call_id)
        return final

    return call


def busy(call: OutgoingCall, far_end: IncomingCall) -> Message:
    """The end of a case."""
    far_end.respond("486 Busy Here")
    final = call.final()
    far_end.expect("ACK")
    return final


def hops(value: str):
    line = f"Max-Forwards: {value}\r\n" if value else ""
    return lambda data: data.replace(b"Max-Forwards: 70\r\n", line.encode())


@pytest.mark.parametrize(("value", "left"), [("", "70"), ("0068", "67"), ("1", "0"), ("255", "254")])
def test_p13_hops_are_counted_down(place, value: str, left: str) -> None:
    call, far_end = place(change=hops(value))
    assert far_end.invite.one("max-forwards") == left
    busy(call, far_end)


@pytest.mark.parametrize(("value", "status"), [("0", 483), ("300", 400), ("x", 400), ("-1", 400)])
def test_p13_hops_that_end_here(refused, value: str, status: int) -> None:
    assert refused(hops(value)).status == status


@pytest.mark.parametrize("value", ["foo", "foo, bar ,baz", "foo,\r\n bar"])
def test_p14_proxy_require_is_420_with_what_is_unsupported(refused, value: str) -> None:
    """P14, P20: a fold comes back as one line."""
    final = refused(extra=(("Proxy-Require", value),))
    assert (final.status, final.one("unsupported")) == (420, " ".join(value.split()))


@pytest.mark.parametrize("uri", ["soap.beep://192.0.2.103:3002", "nobody:knows", "urn:isbn:3"])
def test_p15_unknown_scheme_is_416(refused, uri: str) -> None:
    assert refused(uri=uri).status == 416


@pytest.mark.parametrize(
    ("uri", "user"),
    [("tel:+1-202-555-0123", WASHINGTON), ("tel:202-555-0123;phone-context=+1", WASHINGTON)],
)
def test_p15_tel_is_judged_and_converted(place, provider, uri: str, user: str) -> None:
    call, far_end = place(uri=uri)
    assert far_end.invite.uri == f"sip:{user}@{provider.host_port}"
    busy(call, far_end)


def test_p15_service_urn_is_an_emergency_call(place, provider) -> None:
    call, far_end = place(uri="urn:service:sos")
    assert far_end.invite.uri == f"sip:112@{provider.host_port}"
    busy(call, far_end)


def test_p16_answers_go_to_the_source_and_received_is_ours(place) -> None:
    """P16: RFC 3581; what the sender wrote of itself is overwritten."""

    def lie(data: bytes) -> bytes:
        head, _, rest = data.partition(b";rport;")
        return head.rpartition(b" ")[0] + b" 10.9.9.9:5999;received=127.0.0.200;rport=1;" + rest

    call, far_end = place(change=lie)
    via = far_end.invite.all("via")[1]
    assert f"rport={call.peer.address[1]}" in via
    assert via.count("received=") == 1
    assert f"received={DESK}" in via
    assert "10.9.9.9:5999" in via
    busy(call, far_end)  # the answer came to where the INVITE came from


def test_p16_several_vias_on_one_line_and_spaces_in_them(place) -> None:
    """Compact name, LWS round every separator, a second value behind a comma."""

    def spaced(data: bytes) -> bytes:
        head, _, rest = data.partition(b"Via: SIP/2.0/UDP ")
        own, _, rest = rest.partition(b"\r\n")
        own = own.replace(b";", b" ; ").replace(b"=", b" = ")
        below = b"SIP / 2.0 / TCP first.example : 5061;branch=z9hG4bK-first"
        return head + b"v : SIP / 2.0\r\n / UDP  " + own + b" , " + below + b"\r\n" + rest

    call, far_end = place(change=spaced)
    final = busy(call, far_end)
    (line,) = final.all("via")
    assert line.endswith("SIP / 2.0 / TCP first.example : 5061;branch=z9hG4bK-first")
    assert call.branch in line


def test_p18_two_record_routes_where_the_family_changes(proxy, provider, new_peer) -> None:
    """P18: RFC 5658; in-dialog requests of both sides lose both."""
    six = next(at for _, at in proxy.listeners if at[0] == "::1")
    four = proxy.address
    call = OutgoingCall(new_peer(SIX), six, WASHINGTON, uri=f"sip:{WASHINGTON}@[::1]").send()
    far_end = incoming(provider, four, call)
    outer, inner = far_end.invite.record_routes()
    assert outer.startswith(f"<sip:127.0.0.1:{four[1]};lr")
    assert inner.startswith(f"<sip:[::1]:{six[1]};lr")
    assert far_end.invite.all("via")[0].startswith(f"SIP/2.0/UDP 127.0.0.1:{four[1]};")
    far_end.accept()
    dialog = call.answered()
    assert not far_end.expect("ACK").all("route")
    provider.send(far_end.dialog().request("INFO"), four)
    info = call.peer.expect_request("INFO")
    assert not info.all("route")
    assert info.all("via")[0].startswith(f"SIP/2.0/UDP [::1]:{six[1]};")
    call.peer.send(answer(info, "200 OK"), six)
    provider.expect_response(200, "INFO", call_id=call.call_id)
    assert not hang_up(call, dialog, far_end).all("route")


def test_p20_body_of_a_datagram_is_not_read_as_a_message_of_a_stream(udp, new_peer, stream_provider) -> None:
    """P20, P34: without Content-Length a datagram ends its body. On the provider's connection the same bytes
    would have been an INVITE of their own, to a number that nobody judged."""
    premium = b"INVITE sip:+19005550100@127.0.0.100 SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK-in\r\n\r\n"
    call = OutgoingCall(new_peer(STREAM), udp, WASHINGTON, body=premium)
    call.peer.send(call.invite().replace(b"Content-Length: %d\r\n" % len(premium), b""), udp)
    connection, _ = stream_provider.accept()
    with connection:
        connection.settimeout(PATIENCE)
        data = b""
        while not data.endswith(premium):
            more = connection.recv(65536)
            assert more, data
            data += more
        invite = Message.parse(data)
        assert invite.one("content-length") == str(len(premium))
        assert invite.body == premium
        connection.sendall(answer(invite, "486 Busy Here", tag=fresh("tag")))
        assert call.final().status == 486
        assert connection.recv(65536).startswith(b"ACK ")


@pytest.mark.parametrize("wrong", ["branch", "sent-by", "one via", "port"])
def test_p21_response_that_is_not_ours_is_dropped(place, udp, wrong: str) -> None:
    call, far_end = place()
    good = answer(far_end.invite, "200 OK", tag="forged")
    own = far_end.invite.all("via")[0].encode()
    changed = {
        "branch": own.replace(b"z9hG4bK", b"z9hG4bKx"),
        "sent-by": own.replace(b"127.0.0.1:", b"127.0.0.99:"),
        "port": own.replace(b":%d" % udp[1], b":1"),
        "one via": own,
    }[wrong]
    forged = good.replace(b"Via: " + own, b"Via: " + changed)
    if wrong == "one via":
        forged = forged.replace(b"Via: " + far_end.invite.all("via")[1].encode() + b"\r\n", b"")
    assert forged != good
    far_end.peer.send(forged, udp)
    busy(call, far_end)
    assert call.peer.count("INVITE", 200) == 0


def come_back(invite: Message, uri: str) -> bytes:
    """The provider's INVITE, sent on to the proxy by somebody else."""
    return f"INVITE {uri} SIP/2.0\r\n".encode() + invite.raw.partition(b"\r\n")[2]


def test_p25_spiral_is_a_call_of_its_own_and_a_loop_482(proxy, place, udp, provider) -> None:
    """P25: RFC 5393. The PBX gets the call back from the provider and sends it out again."""
    call, far_end = place()
    between = f"SIP/2.0/UDP {call.peer.host_port};rport;branch={fresh('z9hG4bK-b')}".encode()

    def again(uri: str) -> None:
        data = come_back(far_end.invite, uri)
        call.peer.send(data.replace(b"\r\nVia:", b"\r\nVia: " + between + b"\r\nVia:", 1), udp)

    host = f"@{udp[0]}:{udp[1]}"
    again(f"sip:{PARIS}{host}")
    refused = call.peer.expect_response(403, call_id=call.call_id)
    assert "COUNTRY" in refused.one("warning")
    between = between.replace(b"z9hG4bK-b", b"z9hG4bK-c")
    again(f"sip:{LONDON}{host}")
    spiral = incoming(provider, udp, call)
    assert spiral.invite.uri == f"sip:{LONDON}@{provider.host_port}"
    assert len(spiral.invite.all("via")) == 4
    assert proxy.usage("desk")["active_calls"] == 2
    between = between.replace(b"z9hG4bK-c", b"z9hG4bK-d")
    again(call.uri)
    assert call.peer.expect_response(482, call_id=call.call_id)
    provider.send(answer(spiral.invite, "486 Busy Here", tag="s"), udp)
    call.peer.expect_response(486, call_id=call.call_id)
    busy(call, far_end)


def test_p25_max_breadth(place, refused) -> None:
    """P25: RFC 5393 §5.3.3."""
    for given, told in (((), "60"), ((("Max-Breadth", "9"),), "9"), ((("Max-Breadth", "70"),), "60")):
        call, far_end = place(extra=given)
        assert far_end.invite.one("max-breadth") == told
        busy(call, far_end)
    assert refused(extra=(("Max-Breadth", "0"),)).status == 440


def test_p28_reasons_of_peers_pass(place, udp) -> None:
    """P28: RFC 3326: of a CANCEL, of a BYE, of a response."""
    reason = ("Reason", 'Q.850;cause=16;text="Terminated, twice"')
    call, far_end = place()
    far_end.respond("180 Ringing")
    call.provisional(180)
    headers = [
        line for line in call.invite().split(b"\r\n") if line.startswith((b"Via", b"From", b"To", b"Call-"))
    ]
    cancel = [f"CANCEL {call.uri} SIP/2.0".encode(), *headers, b"CSeq: 1 CANCEL", ": ".join(reason).encode()]
    call.peer.send(b"\r\n".join(cancel) + b"\r\nContent-Length: 0\r\n\r\n", udp)
    taken_back = far_end.expect("CANCEL")
    assert taken_back.one("reason") == reason[1]
    far_end.reply(taken_back)
    far_end.peer.send(answer(far_end.invite, "487 Gone", tag=far_end.tag, extra=(reason,)), udp)
    assert call.final().one("reason") == reason[1]

    call, far_end = place()
    far_end.accept()
    dialog = call.answered()
    call.peer.send(dialog.request("BYE", extra=(reason,)), udp)
    bye = far_end.expect("BYE")
    assert bye.one("reason") == reason[1]
    far_end.reply(bye)
    call.peer.expect_response(200, "BYE")


def test_p28_our_own_bye_says_why(proxy, place, udp) -> None:
    call, far_end = place()
    far_end.accept()
    call.answered()
    far_end.expect("ACK")
    (live,) = proxy.calls()
    assert proxy.http.delete(f"/v1/calls/{live['ref']}").is_success
    for peer in (far_end.peer, call.peer):
        bye = peer.expect_request("BYE", call_id=call.call_id)
        assert bye.one("reason").startswith("Q.850;cause=31")
        peer.send(answer(bye, "200 OK"), udp)


@pytest.mark.parametrize(
    ("source", "privacy", "told"),
    [
        (DESK, None, True), (DESK, "id", True), (PLAIN, None, False), (PLAIN, "none", False),
        (PRIVATE, None, True), (PRIVATE, "none", True), (PRIVATE, "id", False), (PRIVATE, "user;id", False),
    ],
)  # fmt: skip
def test_p29_identity(place, source: str, privacy: str | None, told: bool) -> None:
    """P29: RFC 3325; a provider with `trusted: false` is outside of the trust domain."""
    extra = (*IDENTITIES, *([] if privacy is None else [("Privacy", privacy)]))
    call, far_end = place(source, extra=extra)
    assert [bool(far_end.invite.all(name)) for name, _ in IDENTITIES] == [told] * 3
    assert far_end.invite.all("privacy") == ([] if privacy is None else [privacy])
    busy(call, far_end)


# --- beyond the list


@pytest.mark.parametrize(("status", "header"), [(407, "Proxy-Authenticate"), (401, "WWW-Authenticate")])
def test_challenge_of_the_provider_passes_and_the_next_try_is_a_call_of_its_own(
    proxy, place, udp, provider, status: int, header: str
) -> None:
    """RFC 3261 §22.3: same Call-ID and From, CSeq one higher; judged and counted anew, the first given
    back."""
    challenge = (header, 'Digest realm="carrier", nonce="n", qop="auth"')
    call, far_end = place()
    provider.send(answer(far_end.invite, f"{status} Who Are You", tag="a", extra=(challenge,)), udp)
    assert call.final().one(header.lower()) == challenge[1]
    proxy.wait_until_idle("desk")
    name = "Proxy-Authorization" if status == 407 else "Authorization"
    data = (
        call.invite().replace(b"CSeq: 1 ", b"CSeq: 2 ").replace(call.branch.encode(), b"z9hG4bK-e2e-second")
    )
    proof = 'Digest username="u", realm="carrier", response="00"'
    data = data.replace(b"\r\nContact:", f"\r\n{name}: {proof}\r\nContact:".encode())
    call.peer.send(data, udp)
    call.branch = "z9hG4bK-e2e-second"
    second = incoming(provider, udp, call)
    assert (second.invite.one("cseq"), second.invite.one(name.lower())) == ("2 INVITE", proof)
    assert proxy.usage("desk")["active_calls"] == 1
    busy(call, second)


def test_early_dialog_prack_update_and_199(place, provider, udp) -> None:
    """RFC 3262, 3311, 6228: all by the early dialog's own targets; extensions untouched."""
    offered = (("Supported", "100rel, 199, timer"), ("Require", "precondition"), ("Timestamp", "54"))
    call, far_end = place(extra=offered)
    for name, value in offered:
        assert far_end.invite.one(name.lower()) == value
    moved = (("Contact", f"<sip:early@{provider.host_port}>"), ("Require", "100rel"), ("RSeq", "1"))
    provider.send(answer(far_end.invite, "183 Session Progress", tag="early", extra=moved), udp)
    progress = call.provisional(183)
    assert progress.one("rseq") == "1"
    early = call.dialog(progress)
    call.peer.send(early.request("PRACK", uri=f"sip:x@{EVIL}", extra=(("RAck", "1 1 INVITE"),)), udp)
    prack = far_end.expect("PRACK")
    assert (prack.uri, prack.one("rack")) == (f"sip:early@{provider.host_port}", "1 1 INVITE")
    far_end.reply(prack)
    call.peer.expect_response(200, "PRACK")
    moved_again = (("Contact", f"<sip:desk2@{call.peer.host_port}>"),)
    call.peer.send(early.request("UPDATE", extra=moved_again), udp)
    update = far_end.expect("UPDATE")
    provider.send(answer(update, "200 OK", extra=(("Contact", f"<sip:late@{provider.host_port}>"),)), udp)
    call.peer.expect_response(200, "UPDATE")
    far_end.tag = "early"
    provider.send(far_end.dialog().request("INFO"), udp)
    info = call.peer.expect_request("INFO")
    assert info.uri == f"sip:desk2@{call.peer.host_port}"
    call.peer.send(answer(info, "200 OK"), udp)
    call.peer.send(early.request("OPTIONS"), udp)
    options = far_end.expect("OPTIONS")
    assert options.uri == f"sip:late@{provider.host_port}"
    far_end.reply(options)
    provider.send(answer(far_end.invite, "199 Early Dialog Terminated", tag="early"), udp)
    assert call.provisional(199).tag("to") == "early"
    far_end.tag = fresh("other")
    busy(call, far_end)


def test_second_way_of_one_request_is_merged(udp, place) -> None:
    """RFC 3261 §8.2.2.2: 482, and neither judged nor charged."""
    call, far_end = place()
    call.peer.send(call.invite().replace(call.branch.encode(), b"z9hG4bK-e2e-fork"), udp)
    assert call.peer.expect_response(482, call_id=call.call_id)
    busy(call, far_end)


def test_fork_below_makes_two_dialogs(place, udp, provider) -> None:
    """§16.7 item 5, §13.2.2.4: each 2xx goes up; the call lasts as long as the longer of the two."""
    call, far_end = place()
    contact = (("Contact", f"<sip:carrier@{provider.host_port}>"),)
    dialogs = []
    for tag in ("fork1", "fork2"):
        provider.send(answer(far_end.invite, "200 OK", tag=tag, extra=contact), udp)
        dialogs.append(call.dialog(call.peer.expect_response(200, call_id=call.call_id)))
        call.peer.send(dialogs[-1].request("ACK"), udp)
        assert far_end.expect("ACK").tag("to") == tag
    for dialog in dialogs:
        hang_up(call, dialog, far_end)


def test_glare_is_the_peers_to_solve(place, udp, provider) -> None:
    """RFC 3261 §14: both re-INVITE at once, both answer 491, both ACKs stay with us."""
    call, far_end = place()
    far_end.accept()
    dialog = call.answered()
    far_end.expect("ACK")
    below = far_end.dialog()
    call.peer.send(dialog.request("INVITE"), udp)
    provider.send(below.request("INVITE"), udp)
    for peer in (provider, call.peer):
        arrived = peer.expect_request("INVITE", call_id=call.call_id)
        peer.send(answer(arrived, "491 Request Pending"), udp)
        peer.expect_request("ACK", call_id=call.call_id)
    assert call.peer.expect_response(491, call_id=call.call_id)
    assert provider.expect_response(491, call_id=call.call_id)
    call.peer.send(dialog.request("BYE"), udp)
    bye = far_end.expect("BYE")
    far_end.reply(bye)


def test_route_sets_of_proxies_on_both_sides(place, udp, provider, new_peer) -> None:
    """§12.1, §16.12: several values on one line, a strict router below."""
    below = new_peer("127.0.0.102")

    def record(data: bytes) -> bytes:
        return data.replace(
            b"\r\nMax-", b"\r\nRecord-Route: <sip:up1.example;lr> , <sip:up2.example;lr>\r\nMax-", 1
        )

    call, far_end = place(change=record)
    own, *above = far_end.invite.record_routes()
    assert above == ["<sip:up1.example;lr>", "<sip:up2.example;lr>"]
    strict = f"<sip:{below.host_port}>"
    lines = answer(far_end.invite, "200 OK", tag="far", extra=(("Contact", f"<sip:c@{provider.host_port}>"),))
    lines = lines.replace(
        b"Record-Route: ", f"Record-Route: <sip:deep@127.0.0.103;lr>, {strict},".encode(), 1
    )
    provider.send(lines, udp)
    ok = call.final()
    assert len(ok.record_routes()) == 5
    dialog = call.dialog(ok)
    call.peer.send(dialog.request("ACK"), udp)
    ack = below.expect_request("ACK")
    assert ack.uri == f"sip:{below.host_port}"
    assert ack.all("route") == ["<sip:deep@127.0.0.103;lr>", f"<sip:c@{provider.host_port}>"]
    call.peer.send(dialog.request("BYE"), udp)
    bye = below.expect_request("BYE")
    below.send(answer(bye, "200 OK"), udp)
    call.peer.expect_response(200, "BYE")
    assert own
