"""Requests and responses under another CSeq, where a request of our own has taken the sender's number."""

from __future__ import annotations

import re

from proxy.call.dialog import Dialog
from proxy.sip.message import SipRequest, SipResponse
from proxy.sip.serialize import OutgoingRequest

_RACK = re.compile(rb"\A([0-9]{1,10}[ \t]+)([0-9]{1,10})([ \t]+[^ \t]+)\Z")


def renumber(outgoing: OutgoingRequest, request: SipRequest, dialog: Dialog, from_caller: bool) -> None:
    """Give the forwarded request the CSeq that the receiver expects, and RAck that of the INVITE which it
    acknowledges (RFC 3262 §7.2)."""
    number = dialog.number(request.cseq, from_caller)
    if number == request.cseq:
        return
    headers = outgoing.headers
    for index, (name, _) in enumerate(headers):
        if name == b"cseq":
            headers[index] = (name, b"CSeq: %d %b" % (number, request.cseq_method))
        elif name == b"rack":
            match = _RACK.match(request.first(b"rack") or b"")
            if match is not None:
                invite = dialog.number(int(match.group(2)), from_caller)
                headers[index] = (name, b"RAck: %b%d%b" % (match.group(1), invite, match.group(3)))


def numbered_as(response: SipResponse, request: SipRequest) -> SipResponse:
    """The response with the CSeq of `request`, as its sender wrote it."""
    line = next(line for name, line in request.headers if name == b"cseq")
    response.headers = [(name, line if name == b"cseq" else own) for name, own in response.headers]
    return response
