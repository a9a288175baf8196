"""Requests for calls that this instance does not have: they wait until the call has been asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from proxy.call.commands import Fetch
from proxy.sip.serialize import build_response

if TYPE_CHECKING:
    from proxy.call.core import ProxyCore
    from proxy.sip.message import SipRequest

MOST_FETCHED: Final = 256
"""Calls that may be asked for at once."""

_MOST_WAITING: Final = 8


class Elsewhere:
    """What waits, by the ref of its call. `tokens_of` gives the called and the calling side's token of a ref:
    only who carries one of them makes us ask."""

    __slots__ = ("_core", "_tokens_of", "_waiting")

    def __init__(self, core: ProxyCore, tokens_of: Callable[[str], tuple[bytes, bytes]]) -> None:
        self._core = core
        self._tokens_of = tokens_of
        self._waiting: dict[str, list[SipRequest]] = {}

    def holds(self, request: SipRequest, named: re.Match[bytes] | None) -> bool:
        """Keep the request until its call has been asked for. `named` are the token in it and its ref. False
        when that is none of ours, or the call is here."""
        if named is None:
            return False
        token, ref = named.group(1), named.group(2).decode("ascii")
        callee, caller = self._tokens_of(ref)
        if ref in self._core.sessions or not (compare_digest(token, callee) or compare_digest(token, caller)):
            return False
        waiting = self._waiting.get(ref)
        if waiting is None:
            if len(self._waiting) >= MOST_FETCHED:
                self._unavailable(request)
                return True
            waiting = self._waiting[ref] = []
            self._core.commands.append(Fetch(ref))
        if len(waiting) < _MOST_WAITING and all(request.key != other.key for other in waiting):
            waiting.append(request)
        return True

    def take(self, ref: str) -> list[SipRequest]:
        """The requests that wait for this call; they wait no more."""
        return self._waiting.pop(ref, [])

    def unavailable(self, ref: str) -> None:
        """Nobody can say whether there is such a call."""
        for request in self.take(ref):
            self._unavailable(request)

    def _unavailable(self, request: SipRequest) -> None:
        """No 481, which would end a call that may well live."""
        if request.method != b"ACK":
            extra = (b"Retry-After: 1",)
            data = build_response(request, 500, b"Server Internal Error", extra=extra)
            self._core.stack.respond_stateless(request, data)
