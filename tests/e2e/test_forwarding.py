"""What the provider sees of an admitted INVITE, and what the caller sees of its answers, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import LONDON, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import EVIL
from tests.e2e.sip_text import Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall, incoming

DESK, DRESSED, OFFICE, PREFIXED = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13"


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("forwarding"),
        redis_server.url,
        [
            provider_entry("carrier", provider.address),
            provider_entry(
                "dressed", provider.address, tech_prefix="9911#", tech_postfix="77", strip_plus=True,
                tech_headers={"X-Account": "acme 7", "X-Route-Class": "gold"},
            ),
        ],
        [
            trunk("desk", DESK),
            trunk("dressed", DRESSED, provider="dressed"),
            trunk(
                "office", OFFICE,
                dial_plan={
                    "country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]
                },
            ),
            trunk("prefixed", PREFIXED, tech_prefix="55#"),
        ],
    )  # fmt: skip
    return serve_module(config)


@pytest.fixture
def forwarded(proxy, provider, new_peer):
    """Places a call, lets it be refused as busy, and gives back the INVITE that the provider got."""

    def place(source: str, called: str, **options: object) -> Message:
        call = OutgoingCall(new_peer(source), proxy.address, called, **options).send()
        far_end = incoming(provider, proxy.address, call)
        far_end.respond("486 Busy Here")
        call.final()
        return far_end.invite

    return place


def at(provider: Peer, user: str) -> str:
    return f"sip:{user}@{provider.host_port}"


@pytest.mark.parametrize(
    ("source", "dialled", "user"),
    [
        (DESK, WASHINGTON, WASHINGTON),
        (DESK, "+1(202)555.01-23", WASHINGTON),
        (DESK, "%2B12025550123", WASHINGTON),
        (DRESSED, WASHINGTON, "9911#1202555012377"),
        (OFFICE, "02079460123", LONDON),
        (OFFICE, "0012025550123", WASHINGTON),
        (PREFIXED, f"55#{WASHINGTON}", WASHINGTON),
    ],
)
def test_request_uri_is_made_from_the_canonical_number(
    provider, forwarded, source: str, dialled: str, user: str
) -> None:
    invite = forwarded(source, dialled)

    assert invite.uri.replace("%23", "#") == at(provider, user)


@pytest.mark.parametrize(
    "tail",
    [
        ";maddr={evil};transport=tcp",
        ";user=phone;lr;x=%41",
        "?Route=%3Csip:{evil}%3E&Replaces=1",
        ";transport=udp?Subject=hello",
    ],
)
def test_parameters_and_headers_of_the_request_uri_go_no_further(
    proxy, provider, forwarded, new_peer, tail: str
) -> None:
    evil = new_peer(EVIL)
    uri = f"sip:{WASHINGTON}@127.0.0.1:{proxy.address[1]}" + tail.format(evil=evil.host_port)

    invite = forwarded(DESK, WASHINGTON, uri=uri)

    assert invite.uri == at(provider, WASHINGTON)
    assert not invite.all("route")
    assert not invite.all("replaces")
    assert not evil.received


def test_host_of_the_request_uri_does_not_decide(provider, forwarded, new_peer) -> None:
    evil = new_peer(EVIL)

    invite = forwarded(DESK, WASHINGTON, uri=f"sip:{WASHINGTON}@{evil.host_port}")

    assert invite.uri == at(provider, WASHINGTON)
    assert not evil.received


@pytest.mark.parametrize(
    "routes", [["<sip:{evil};lr>"], ["<sip:{proxy};lr>, <sip:{evil};lr>"], ["<sip:{evil}>"]]
)
def test_route_is_stripped_or_the_call_refused(proxy, provider, new_peer, routes: list[str]) -> None:
    evil, caller = new_peer(EVIL), new_peer(DESK)
    own = f"{proxy.address[0]}:{proxy.address[1]}"
    extra = tuple(("Route", route.format(evil=evil.host_port, proxy=own)) for route in routes)

    call = OutgoingCall(caller, proxy.address, WASHINGTON, extra=extra).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.respond("486 Busy Here")
    call.final()

    assert not far_end.invite.all("route")
    assert not evil.received


def test_tech_headers_are_added(forwarded) -> None:
    invite = forwarded(DRESSED, WASHINGTON)

    assert invite.one("x-account") == "acme 7"
    assert invite.one("x-route-class") == "gold"


def test_proxy_adds_itself_and_leaves_the_rest(proxy, forwarded) -> None:
    """§16.6: Via, received and rport in the caller's, Max-Forwards, Record-Route; all else as it came."""
    strange = (
        ("X-Strange", 'a "quoted, thing" ;x=1'),
        ("Subject", "caf\u00e9"),
        ("Supported", "timer, 100rel"),
        ("x-lower", "  inner   spaces  kept"),
    )
    body = b"v=0\r\n\x00\xff\xfe binary stays\r\n"
    invite = forwarded(DESK, WASHINGTON, extra=strange, body=body)

    own, callers = invite.all("via")
    assert own.startswith(f"SIP/2.0/UDP {proxy.address[0]}:{proxy.address[1]};")
    assert "branch=z9hG4bK" in own
    assert f"received={DESK}" in callers
    assert "rport=" in callers
    assert invite.one("max-forwards") == "69"
    (record_route,) = invite.record_routes()
    assert f"{proxy.address[0]}:{proxy.address[1]}" in record_route
    assert ";lr" in record_route
    assert invite.body == body
    for name, value in strange:
        assert f"\r\n{name}: {value}\r\n".encode() in invite.raw
    positions = [invite.raw.index(f"\r\n{name}: ".encode()) for name, _ in strange]
    assert positions == sorted(positions)


def test_answers_pass_unchanged_but_for_our_via(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)

    far_end.respond("183 Session Progress", body=b"v=0\r\nearly\r\n")
    progress = call.provisional(183)
    far_end.respond("404 Nobody Here By That Name")
    final = call.final()

    assert progress.body == b"v=0\r\nearly\r\n"
    assert final.start == "SIP/2.0 404 Nobody Here By That Name"
    assert not final.all("warning")
    for response in (progress, final):
        (via,) = response.all("via")
        assert call.branch in via


def test_caller_hears_100_from_the_proxy_and_never_the_providers(proxy, provider, new_peer) -> None:
    caller = new_peer(DESK)
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    call.provisional(100)
    far_end = incoming(provider, proxy.address, call)

    far_end.respond("100 Trying")
    far_end.respond("180 Ringing")
    call.provisional(180)
    far_end.respond("486 Busy Here")
    call.final()

    assert caller.count("INVITE", 100) == 1


@pytest.mark.parametrize("status", ["300 Multiple Choices", "302 Moved Temporarily"])
def test_redirection_makes_no_leg(proxy, provider, new_peer, status: str) -> None:
    evil = new_peer(EVIL)
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)

    moved = (("Contact", f"<sip:+19005550123@{evil.host_port}>"),)
    provider.send(answer(far_end.invite, status, tag="moved", extra=moved), proxy.address)

    assert call.final().status in (300, 302, 480, 403, 500)
    assert not evil.received
    proxy.wait_until_idle("desk")


def test_response_that_is_not_ours_is_dropped(proxy, provider, new_peer) -> None:
    """§16.7: unknown branch, or a top Via that is not ours."""
    caller = new_peer(DESK)
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    good = answer(far_end.invite, "200 OK", tag="forged")
    own = far_end.invite.all("via")[0].partition("branch=")[2].partition(";")[0]

    provider.send(good.replace(own.encode(), b"z9hG4bKinvented"), proxy.address)
    far_end.respond("486 Busy Here")

    assert call.final().status == 486
    assert caller.count("INVITE", 200) == 0
