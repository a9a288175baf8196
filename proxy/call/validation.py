"""Requests that no proxy may forward, whoever sends them (RFC 3261 §16.3)."""

from __future__ import annotations

from proxy.sip.message import SipRequest
from proxy.sip.serialize import build_response

# The To-tag of answers without state: the same for each copy of a request (RFC 3261 §8.2.7).
STATELESS_TAG = b"tw0"
HIGHEST_CSEQ = 2**31 - 2**20  # above it there is room to leap (Dialog.resume)


def unacceptable(request: SipRequest) -> bytes | None:
    """The response to a request that no proxy may forward, or None.

    A CSeq near the end of its range is refused, too: it would leave none for the BYE by which the proxy ends
    the call.
    """
    if request.cseq > HIGHEST_CSEQ:
        return build_response(request, 400, b"CSeq Too High", to_tag=STATELESS_TAG)
    if request.max_forwards == 0:
        return build_response(request, 483, b"Too Many Hops", to_tag=STATELESS_TAG)
    wanted = request.all(b"proxy-require")
    if wanted:
        return bad_extension(request, wanted)
    breadth = request.first(b"max-breadth")
    if breadth and not breadth.strip(b"0"):
        # One branch is one too many (RFC 5393 §5.3.3).
        return build_response(request, 440, b"Max-Breadth Exceeded", to_tag=STATELESS_TAG)
    return None


def bad_extension(request: SipRequest, wanted: list[bytes]) -> bytes:
    """The 420 to a request that wants extensions, of which the proxy has none."""
    extra = (b"Unsupported: " + b", ".join(wanted),)
    return build_response(request, 420, b"Bad Extension", to_tag=STATELESS_TAG, extra=extra)
