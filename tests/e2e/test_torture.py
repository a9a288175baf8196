"""Messages that are hard to read, against the running program: each as it is, and turned into an INVITE for
an allowed and for a denied number. Judged by what the sender and the provider receive.

Those of RFC 4475 and RFC 5118 are read from TRUNKWARDEN_TORTURE_DIR (folders `rfc4475` and `rfc5118`, one
message a file); tests/torture.py holds a corpus in the same spirit that is always there.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import Message
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually
from tests.torture import CASES, DROPPED, RELAYED, Case, as_invite, busy

# Decided once, where the RFCs leave a choice: see proxy/sip/parse.py.
RFC = {
    "rfc4475": {
        RELAYED: "esc01 escnull lwsdisp longreq transports mpart01 unksm2 invut regaut01 sdp01 cparam01 "
        "cparam02 regescrt baddate regbadct",
        400: "badinv01 clerr scalar02 ltgtruri lwsruri lwsstart mismatch01 mismatch02 insuf quotbal trws "
        "badaspec baddn",
        505: "badvers",
        416: "unkscm novelsc",
        420: "bext01",
        483: "zeromf",
        DROPPED: "scalarlg bigcode",
    },
    "rfc5118": {
        RELAYED: "ipv6-good ipv6-in-sdp mult-ip-in-sdp port-unambiguous ipv6-correct-abnf-2-colons "
        "ipv6-bug-abnf-3-colons via-received-param-no-delim via-received-param-with-delim",
        400: "ipv6-bad",
    },
}
RFC_CASES = [
    (folder, name, expected)
    for folder, outcomes in RFC.items()
    for expected, names in outcomes.items()
    for name in names.split()
]
# What the method, the number or the dialog is refused for, never the way it is written.
JUDGED = {200, 403, 404, 405, 481, 484, 488}
_VIA = re.compile(rb"(?ims)^(?:via|v)[ \t]*:(.*?)\r\n(?![ \t])")
_PORT = re.compile(rb"(?is)SIP[\s/0-9.]*[a-z]+\s+(?:\[[^]]*\]|[^\s:;,]+)\s*:\s*([0-9]+)")
_sources = count(1)


@pytest.fixture(scope="module")
def far_end() -> Iterator[Peer]:
    """A provider that is busy, whatever the INVITE looks like."""
    peer = Peer(PROVIDER, lambda request: [busy(request.raw)] if request.method == "INVITE" else [])
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, far_end, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("torture"),
        redis_server.url,
        [provider_entry("carrier", far_end.address)],
        [trunk("lab", "127.1.0.0/16")],
        listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
    )
    server = serve_module(config)
    yield server
    # After all of them it still serves, and nothing is left.
    peer = Peer("127.1.255.1")
    try:
        call = OutgoingCall(peer, server.address, WASHINGTON).send()
        assert call.final().status == 486
    finally:
        peer.close()
    server.wait_until_idle()
    assert {m.message.method for m in far_end.received} <= {"INVITE", "ACK"}
    uris = {m.message.uri for m in far_end.received if m.message.method == "INVITE"}
    assert uris == {f"sip:{WASHINGTON}@{far_end.host_port}"}


def rfc_message(folder: str, name: str) -> bytes:
    root = os.environ.get("TRUNKWARDEN_TORTURE_DIR")
    if root is None:
        pytest.skip("TRUNKWARDEN_TORTURE_DIR is not set")
    found = [path for path in (Path(root) / folder).glob(f"{name}*") if path.stem == name]
    if not found:
        pytest.skip(f"{folder}/{name} is not in TRUNKWARDEN_TORTURE_DIR")
    return found[0].read_bytes()


@pytest.fixture
def ask(proxy, new_peer):
    """Sends bytes from an address of their own; the final status that came back, DROPPED after silence.
    Answers without `rport` go to the port in Via, so that is where it sends from."""

    def send(data: bytes, *, answered: bool = True) -> int:
        number = next(_sources)
        via = _VIA.search(data)
        port = None if via is None else _PORT.match(via.group(1).strip())
        peer = new_peer(
            f"127.1.{number // 250}.{1 + number % 250}", port=int(port.group(1)) if port else 5060
        )
        peer.send(data, proxy.address)

        def finals() -> list[int]:
            seen: list[Message] = [datagram.message for datagram in peer.received]
            return [message.status for message in seen if message.status >= 200]

        if not answered:
            peer.stays_quiet(0.1)
            return DROPPED
        return eventually(finals, what="a final response")[0]

    return send


def admitted(far_end: Peer) -> int:
    """How many INVITEs it got, repetitions left out: T1 is shorter than a busy machine takes to answer."""
    messages = [datagram.message for datagram in list(far_end.received)]
    return len({message.all("via")[0] for message in messages if message.method == "INVITE"})


def put_to_the_question(ask, far_end: Peer, data: bytes, expected: int) -> None:
    before = admitted(far_end)
    if expected == DROPPED:
        assert ask(data, answered=False) == DROPPED
        assert admitted(far_end) == before
        return
    as_it_is = ask(data)
    assert as_it_is in JUDGED if expected == RELAYED else as_it_is == expected
    assert ask(as_invite(data, PARIS, next(_sources))) == (403 if expected == RELAYED else expected)
    assert admitted(far_end) == before
    assert ask(as_invite(data, WASHINGTON, next(_sources))) == (486 if expected == RELAYED else expected)
    assert admitted(far_end) == before + (expected == RELAYED)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_own_message(ask, far_end, case: Case) -> None:
    put_to_the_question(ask, far_end, case.data, case.expected)


@pytest.mark.parametrize(("folder", "name", "expected"), RFC_CASES)
def test_message_of_the_rfcs(ask, far_end, folder: str, name: str, expected: int) -> None:
    put_to_the_question(ask, far_end, rfc_message(folder, name), expected)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if b"Content-Length: " in case.data and case.expected != DROPPED
     and case.name not in ("bytes-after-the-body", "length-larger-than-the-body")],
    ids=lambda case: case.name,
)  # fmt: skip
def test_own_message_over_tcp(proxy, far_end, case: Case) -> None:
    """The same verdict on a stream; a framing that is in doubt may close the connection besides."""
    expected = 486 if case.expected == RELAYED else case.expected
    number = next(_sources)
    source = (f"127.1.{number // 250}.{1 + number % 250}", 0)
    before = admitted(far_end)
    with socket.create_connection(proxy.sockets["tcp"], 15.0, source_address=source) as connection:
        connection.sendall(as_invite(case.data, WASHINGTON, number))
        data = b""
        while f"SIP/2.0 {expected} ".encode() not in data:
            more = connection.recv(65536)
            assert more, data
            data += more
    assert admitted(far_end) == before + (case.expected == RELAYED)
