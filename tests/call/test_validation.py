from __future__ import annotations

import pytest

from proxy.call.validation import HIGHEST_CSEQ, unacceptable
from proxy.sip.message import Flow, SipRequest
from proxy.sip.parse import parse_message
from tests.call.playbook import PBX, invite


def read(data: bytes) -> SipRequest:
    request = parse_message(data, Flow("udp", ("127.0.0.1", 5060), PBX))
    assert isinstance(request, SipRequest)
    return request


@pytest.mark.parametrize(
    ("data", "status_line"),
    [
        (invite().replace(b"Forwards: 70", b"Forwards: 0"), b"SIP/2.0 483 Too Many Hops"),
        (invite().replace(b"Forwards: 70", b"Forwards: 000"), b"SIP/2.0 483 Too Many Hops"),
        (invite(extra="Proxy-Require: odd\r\n"), b"SIP/2.0 420 Bad Extension"),
        (invite(extra="Max-Breadth: 0\r\n"), b"SIP/2.0 440 Max-Breadth Exceeded"),
        (invite(cseq=HIGHEST_CSEQ + 1), b"SIP/2.0 400 CSeq Too High"),
    ],
)
def test_what_no_proxy_may_forward(data: bytes, status_line: bytes) -> None:
    answer = unacceptable(read(data))
    assert answer is not None
    assert answer.startswith(status_line + b"\r\n")
    assert b";tag=tw0\r\n" in answer


@pytest.mark.parametrize(
    "data",
    [
        invite(),
        invite().replace(b"Max-Forwards: 70\r\n", b""),
        invite().replace(b"Forwards: 70", b"Forwards: 1"),
        invite(extra="Require: odd\r\nMax-Breadth: 1\r\n"),
        invite(cseq=HIGHEST_CSEQ),
    ],
)
def test_what_it_may(data: bytes) -> None:
    assert unacceptable(read(data)) is None
