"""Turning calls away at the lowest price: what a call that cannot be served costs is taken from those that
can.

At three times what can be served, two of three calls are turned away; were each of them parsed, judged and
kept in a transaction as others are, they would take half of the time. So while calls are shed, an INVITE in
the form that nearly all have is read no further than its answer needs. Whatever looks otherwise takes the
usual way.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from policy.attempt import CallAttempt
from policy.reasons import ReasonCode
from proxy.call.commands import Shed
from proxy.call.refusal import spread_lines
from proxy.sip.counters import IN
from proxy.sip.grammar import TOKEN_CHARS
from proxy.sip.message import Flow, SipRequest
from proxy.sip.serialize import build_response
from proxy.sip.via import DEFAULT_PORT

if TYPE_CHECKING:
    from policy.verdict import Verdict
    from proxy.call.core import ProxyCore

REMEMBERED_SECONDS: Final = 4.0
MOST_REMEMBERED: Final = 50_000

# A number without parameters, at whatever host: what judges it needs no more.
_START: Final = re.compile(rb"INVITE sip:([+0-9]{1,32}+)@[A-Za-z0-9.:\[\]-]++ SIP/2\.0\r\n")
# What an answer repeats (RFC 3261 §8.2.6.2), where the names are written in full.
_REPEATED: Final = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq): [^\r\n\0]*+\r\n", re.MULTILINE)
_VIA: Final = re.compile(
    rb"Via: SIP/2\.0/UDP ([a-z0-9.\-]++)(?::([1-9][0-9]{1,4}+))?+(;rport)?+;branch=(z9hG4bK["
    + TOKEN_CHARS
    + rb"]++)(;rport)?+\r\n"
)
_FOLDED: Final = (b"\r\n ", b"\r\n\t")


class ShedCalls:
    """The INVITEs that were turned away in the last seconds, so that a copy of one, on its way before its
    sender had the answer, is not taken for a new call and rings a telephone that nobody waits for."""

    __slots__ = ("_before", "_now", "_turn_at")

    def __init__(self) -> None:
        self._now: set[int] = set()
        self._before: set[int] = set()
        self._turn_at = 0.0

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def add(self, mark: int, now: float) -> None:
        """Remember it for REMEMBERED_SECONDS, or up to twice that; less in a flood."""
        if now >= self._turn_at or len(self._now) >= MOST_REMEMBERED:
            self._turn(now)
        self._now.add(mark)

    def holds(self, mark: int, now: float) -> bool:
        """Whether this INVITE was turned away a moment ago."""
        if not self._now and not self._before:
            return False
        if now >= self._turn_at:
            self._turn(now)
        return mark in self._now or mark in self._before

    def _turn(self, now: float) -> None:
        fresh = now - self._turn_at < REMEMBERED_SECONDS
        self._before = self._now if fresh else set()
        self._now = set()
        self._turn_at = now + REMEMBERED_SECONDS


class Shedder:
    """Answers for `core` what it sheds. `tag` is the To-tag of those answers, drawn anew for each run."""

    def __init__(self, core: ProxyCore, tag: bytes) -> None:
        self._core = core
        self._tag = tag
        self._ack_mark = b";tag=" + tag + b"\r\n"
        self.calls = ShedCalls()

    def was_shed(self, request: SipRequest, now: float) -> bool:
        """Whether this INVITE, or a copy of it, was turned away a moment ago."""
        return self.calls.holds(hash((request.via.branch, request.call_id, request.flow.remote[0])), now)

    def shed(self, request: SipRequest, verdict: Verdict, now: float) -> None:
        """Turn a call away: one answer, no transaction, no record, no ledger. Over UDP the caller sends its
        INVITE again until it has the answer."""
        refusal = self._core.judge.refusal(ReasonCode.OVERLOAD)
        share = zlib.crc32(request.via.branch)
        data = build_response(
            request,
            refusal.status,
            refusal.phrase.encode(),
            to_tag=self._tag,
            extra=spread_lines(ReasonCode.OVERLOAD, refusal, share),
        )
        self._core.stack.respond_stateless(request, data)
        self._count(hash((request.via.branch, request.call_id, request.flow.remote[0])), verdict, now)

    def acknowledged(self, data: bytes) -> bool:
        """Whether the datagram is the ACK to such an answer, which wants nothing."""
        if data.startswith(b"ACK ") and self._ack_mark in data:
            self._core.stack.counters.message(IN, "udp", "ACK")
            return True
        return False

    def turn_away(self, data: bytes, flow: Flow, stale: bool, now: float) -> bool:
        """Turn a call away, if its INVITE is in the usual form and the policy lets it be shed; whether it was
        done. A `stale` one gets no answer: its next copy will."""
        start = _START.match(data)
        if start is None:
            return False
        head = data[start.end() : data.find(b"\r\n\r\n") + 2]
        lines = _REPEATED.findall(head)
        to_at = _in_order(lines)
        if to_at == 0 or _FOLDED[0] in head or _FOLDED[1] in head:
            return False
        via = _VIA.fullmatch(lines[0])
        if via is None or b"tag" in lines[to_at].lower():
            return False
        host, port_text, early, branch, late = via.groups()
        source, source_port = flow.remote
        port = int(port_text) if port_text else DEFAULT_PORT
        core = self._core
        stack = core.stack
        if stack.serves((b"INVITE", branch, host, port, source)):
            return False  # a copy of one that is being served
        user = start.group(1).decode("ascii")
        verdict = core.judge.judge(CallAttempt(source, "udp", "sip", user, (), "", ReasonCode.OVERLOAD))
        if verdict.reason is not ReasonCode.OVERLOAD:
            return False  # strangers, emergency calls
        if stale:
            stack.counters.message(IN, "udp", "INVITE")
            return True
        asked = early or late
        sent_by = host if port_text is None else host + b":" + port_text
        lines[0] = b"Via: SIP/2.0/UDP %b;branch=%b;received=%b" % (sent_by, branch, source.encode())
        lines[0] += b";rport=%d\r\n" % source_port if asked else b"\r\n"
        lines[to_at] = lines[to_at][:-2] + self._ack_mark
        refusal = core.judge.refusal(ReasonCode.OVERLOAD)
        lines += (
            b"\r\n".join(spread_lines(ReasonCode.OVERLOAD, refusal, zlib.crc32(branch))),
            b"\r\nContent-Length: 0\r\n\r\n",
        )
        answer = b"SIP/2.0 %d %b\r\n" % (refusal.status, refusal.phrase.encode()) + b"".join(lines)
        if not asked and port != source_port:
            flow = Flow("udp", flow.local, (source, port))
        stack.counters.message(IN, "udp", "INVITE")
        stack.send(answer, flow)
        call_id = next(line for line in lines if line.startswith(b"Ca"))[9:-2].strip(b" \t")
        self._count(hash((branch, call_id, source)), verdict, now)
        return True

    def _count(self, mark: int, verdict: Verdict, now: float) -> None:
        if not self.calls.holds(mark, now):
            self.calls.add(mark, now)
            self._core.commands.append(Shed(verdict))


def _in_order(lines: list[bytes]) -> int:
    """Where To stands, when Via is first and each of the others there once; else 0."""
    to_at = 0
    kinds = [line[:2] for line in lines]
    if kinds[:1] == [b"Vi"] and kinds.count(b"Fr") == kinds.count(b"Ca") == kinds.count(b"CS") == 1:
        to_at = kinds.index(b"To") if kinds.count(b"To") == 1 else 0
    return to_at
