"""Behind address translation: the kernel's own, between network namespaces of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, provider, trunk
from tests.e2e.interop.installed import needs_program
from tests.e2e.interop.namespaces import (
    INSIDE,
    INSIDE_TOO,
    ONE_TO_ONE,
    OUTSIDE,
    OUTSIDE_TOO,
    ROUTER,
    TranslatedNetwork,
    translated_network,
)
from tests.e2e.peer import Peer
from tests.e2e.sip_text import SDP, Dialog, Message, answer
from tests.e2e.stream_peer import StreamPeer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import IncomingCall, OutgoingCall, hang_up, incoming

SIP_PORT = 5060


@pytest.fixture(scope="module")
def network() -> Iterator[TranslatedNetwork]:
    needs_program("ip", "iproute2")
    needs_program("nft", "nftables")
    made = translated_network()
    yield made
    made.close()


class Office:
    """A PBX inside, a provider and the proxy outside; they talk in a call that is already up."""

    def __init__(self, network: TranslatedNetwork, serve, folder, transport: str) -> None:
        self.network = network
        self.transport = transport
        with network.outside.entered():
            self.carrier = Peer(OUTSIDE_TOO)
        self.proxy: Trunkwarden = serve(
            configuration(
                folder,
                "embedded",
                [provider("carrier", self.carrier.address)],
                [trunk("office", ROUTER, capacity_limit=5)],
                listen=[f"udp:{OUTSIDE}:0", f"tcp:{OUTSIDE}:0"],
            )
        )
        self.target = self.proxy.sockets[transport]
        self.peers: list[Peer] = [self.carrier]
        self.pbx: Peer = self.carrier  # none yet

    def new_pbx(self) -> Peer:
        """A socket of the PBX: the address that it knows of itself is private."""
        with self.network.inside.entered():
            made = Peer(INSIDE) if self.transport == "udp" else StreamPeer(INSIDE, self.target)
        self.peers.append(made)
        return made

    def call(self) -> tuple[OutgoingCall, Dialog, IncomingCall]:
        """A call of a new PBX that is up."""
        self.pbx = self.new_pbx()
        call = OutgoingCall(self.pbx, self.target, WASHINGTON).send()
        far_end = incoming(self.carrier, self.proxy.sockets["udp"], call)
        far_end.accept()
        dialog = call.answered()
        far_end.expect("ACK")
        return call, dialog, far_end

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


@pytest.fixture(scope="module", params=["udp", "tcp"])
def office(request, network: TranslatedNetwork, serve_module, tmp_path_factory) -> Iterator[Office]:
    with network.outside.entered():
        made = Office(network, serve_module, tmp_path_factory.mktemp("nat"), request.param)
        yield made
        made.close()


def seen_port(request: Message) -> int:
    """The port from which the proxy saw the PBX speak, as its Via went on to the provider."""
    parameters = request.all("via")[-1].split(";")
    assert f"received={ROUTER}" in parameters
    return int(next(one for one in parameters if one.startswith("rport=")).removeprefix("rport="))


def test_provider_reaches_the_pbx(office: Office) -> None:
    """Its re-INVITE and its BYE, though Contact and Via are private."""
    call, _, far_end = office.call()
    assert INSIDE in far_end.invite.one("contact")
    assert seen_port(far_end.invite) in office.network.ports
    dialog = far_end.dialog()

    office.carrier.send(dialog.request("INVITE", body=SDP, extra=(contact(office),)), far_end.proxy)
    again = office.pbx.expect_request("INVITE", call_id=call.call_id)
    assert again.uri == f"sip:desk@{office.pbx.host_port}"
    own = (("Contact", f"<sip:desk@{office.pbx.host_port}>"),)
    office.pbx.send(answer(again, "200 OK", body=SDP, extra=own), office.target)
    office.carrier.expect_response(200, "INVITE", call_id=call.call_id)
    office.carrier.send(dialog.request("ACK"), far_end.proxy)
    office.pbx.expect_request("ACK", call_id=call.call_id)

    ends(office, call, dialog, far_end, office.pbx)


def test_pbx_whose_port_has_changed_is_reached_at_the_new_one(office: Office) -> None:
    call, dialog, far_end = office.call()

    office.network.forget()
    # Its old connection is translated no more: a PBX opens another.
    pbx = office.pbx if office.transport == "udp" else office.new_pbx()
    pbx.send(dialog.request("OPTIONS"), office.target)
    ping = far_end.expect("OPTIONS")
    assert seen_port(ping) in office.network.ports
    far_end.reply(ping)
    pbx.expect_response(200, "OPTIONS", call_id=call.call_id)

    ends(office, call, far_end.dialog(), far_end, pbx)


def test_re_invite_moves_the_pbx_as_well(office: Office) -> None:
    call, dialog, far_end = office.call()

    office.network.forget()
    pbx = office.pbx if office.transport == "udp" else office.new_pbx()
    own = (("Contact", f"<sip:desk@{pbx.host_port}>"),)
    pbx.send(dialog.request("INVITE", body=SDP, extra=own), office.target)
    again = far_end.expect("INVITE")
    office.carrier.send(answer(again, "200 OK", body=SDP, extra=(contact(office),)), far_end.proxy)
    pbx.expect_response(200, "INVITE", call_id=call.call_id)
    pbx.send(dialog.request("ACK", cseq=dialog.cseq), office.target)
    far_end.expect("ACK")

    ends(office, call, far_end.dialog(), far_end, pbx)


def test_our_own_bye_reaches_the_pbx(office: Office) -> None:
    call, _, far_end = office.call()

    office.proxy.http.request("DELETE", "/v1/calls", params={"trunk": "office"})

    for peer in (office.pbx, office.carrier):
        bye = peer.expect_request("BYE", call_id=call.call_id)
        assert bye.one("reason")
        peer.send(answer(bye, "200 OK"), office.target if peer is office.pbx else far_end.proxy)
    office.proxy.wait_until_idle()


def contact(office: Office) -> tuple[str, str]:
    return ("Contact", f"<sip:carrier@{office.carrier.host_port}>")


def ends(office: Office, call: OutgoingCall, dialog: Dialog, far_end: IncomingCall, pbx: Peer) -> None:
    """The provider hangs up, and the PBX hears of it."""
    office.carrier.send(dialog.request("BYE", cseq=900), far_end.proxy)
    bye = pbx.expect_request("BYE", call_id=call.call_id)
    pbx.send(answer(bye, "200 OK"), office.target)
    office.carrier.expect_response(200, "BYE", call_id=call.call_id)
    office.proxy.wait_until_idle()


def test_proxy_behind_one_to_one_translation_advertises_itself(
    network: TranslatedNetwork, serve, tmp_path
) -> None:
    """`advertise` is what Via and Record-Route say; requests of both sides come back to it."""
    public = (ONE_TO_ONE, SIP_PORT)
    with network.outside.entered():
        carrier, pbx = Peer(OUTSIDE_TOO), Peer(OUTSIDE)
    with network.inside.entered():
        proxy = serve(
            configuration(
                tmp_path,
                "embedded",
                [provider("carrier", carrier.address)],
                [trunk("office", OUTSIDE, capacity_limit=5)],
                listen=[f"udp:{INSIDE_TOO}:{SIP_PORT}"],
                advertise=f"{ONE_TO_ONE}:{SIP_PORT}",
            )
        )
        for hangs_up in ("pbx", "carrier"):
            call = OutgoingCall(pbx, public, WASHINGTON).send()
            far_end = incoming(carrier, public, call)
            assert f"{ONE_TO_ONE}:{SIP_PORT};" in far_end.invite.all("via")[0]
            assert far_end.invite.one("record-route").startswith(f"<sip:{ONE_TO_ONE}:{SIP_PORT};lr;")
            assert INSIDE_TOO not in str(far_end.invite)
            far_end.accept()
            dialog = call.answered()
            far_end.expect("ACK")
            if hangs_up == "pbx":
                hang_up(call, dialog, far_end)
            else:
                carrier.send(far_end.dialog().request("BYE"), public)
                bye = pbx.expect_request("BYE", call_id=call.call_id)
                pbx.send(answer(bye, "200 OK"), public)
                carrier.expect_response(200, "BYE", call_id=call.call_id)
            proxy.wait_until_idle()
    carrier.close()
    pbx.close()
