"""The facts of an INVITE."""

from __future__ import annotations

import pytest

from policy.attempt import CallAttempt
from proxy.call.attempt import attempt_of
from proxy.sip.message import Flow, SipRequest
from proxy.sip.parse import parse_message
from tests.call.playbook import PBX, PROXY, invite


def attempt(extra: str = "", own: bytes | None = None) -> CallAttempt:
    data = invite(extra=extra)
    if own is not None:
        data = data.replace(b'"Alice" <sip:+15551230001@127.0.0.2>', own)
    request = parse_message(data, Flow("udp", PROXY, PBX))
    assert isinstance(request, SipRequest)
    found = attempt_of(request, None)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("own", "cli", "scheme"),
    [
        (b"<sip:+4420@h>", "+4420", "sip"),
        (b"Alice <sips:+4420@[::1]:5061>", "+4420", "sip"),
        (b'"A <sip:+1@x>" <sip:%2B4420:secret@h;user=phone>', "%2B4420", "sip"),
        (b"<tel:+4420;phone-context=+44>", "+4420", "tel"),
        (b"<sip:h>", "", "sip"),
        (b"<urn:service:sos>", "service:sos", "urn"),
    ],
)
def test_caller(own: bytes, cli: str, scheme: str) -> None:
    found = attempt(own=own)

    assert (found.cli, found.cli_scheme) == (cli, scheme)


def test_asserted_identities_in_their_order() -> None:
    found = attempt(
        'P-Asserted-Identity: "B, C" <sip:+1@h>, <tel:+2;ext=3>\r\n'
        "X-Other: <sip:+9@h>\r\n"
        "remote-party-id: <sip:+3@h>;party=calling\r\nP-Preferred-Identity: nonsense\r\n"
    )

    assert [tuple(one) for one in found.asserted] == [
        ("p-asserted-identity", "sip", "+1", ()),
        ("p-asserted-identity", "tel", "+2", (("ext", "3"),)),
        ("remote-party-id", "sip", "+3", ()),
        ("p-preferred-identity", "", "", ()),
    ]


@pytest.mark.parametrize(("lines", "values"), [(1, 12), (3, 4), (40, 1)])
def test_more_identities_than_a_call_can_have_are_nobodys(lines: int, values: int) -> None:
    line = "P-Asserted-Identity: " + ", ".join(["<sip:+1@h>"] * values) + "\r\n"
    found = attempt(line * lines)

    assert len(found.asserted) <= 9
    assert found.asserted[-1].scheme == ""
