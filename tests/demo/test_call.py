from __future__ import annotations

import pytest

from proxy.demo.call import Outcome
from proxy.sip.message import Flow, SipResponse
from proxy.sip.parse import parse_message

FLOW = Flow("udp", ("127.0.0.2", 5060), ("127.0.0.1", 5060))


def answer(status_line: bytes, *lines: bytes) -> SipResponse:
    head = (
        status_line,
        b"Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK1",
        b"From: <sip:me@127.0.0.2>;tag=mine",
        b"To: <sip:you@127.0.0.1>;tag=yours",
        b"Call-ID: c1",
        b"CSeq: 1 INVITE",
        *lines,
        b"Content-Length: 0\r\n\r\n",
    )
    message = parse_message(b"\r\n".join(head), FLOW)
    assert isinstance(message, SipResponse)
    return message


@pytest.mark.parametrize(
    ("warning", "code"),
    [
        (b'Warning: 399 trunkwarden "CAPACITY Channel Limit Exceeded"', "CAPACITY"),
        (b'Warning: 399 trunkwarden "NO_RATE No Rate Found"', "NO_RATE"),
        (b'Warning: 399 elsewhere "CAPACITY Channel Limit Exceeded"', None),
        (b"X-Other: 1", None),
    ],
)
def test_the_code_of_a_refusal_stands_in_its_warning(warning: bytes, code: str | None) -> None:
    outcome = Outcome.of(answer(b"SIP/2.0 403 Channel Limit Exceeded", warning))
    assert (outcome.status, outcome.phrase, outcome.code) == (403, "Channel Limit Exceeded", code)


def test_an_answer_is_no_refusal() -> None:
    outcome = Outcome.of(answer(b"SIP/2.0 200 OK"))
    assert (outcome.status, outcome.phrase, outcome.code) == (200, "OK", None)
