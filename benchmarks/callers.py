"""Many callers behind one socket, who hold their calls until they are told to hang up, all at once."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

ANSWER_SECONDS = 30.0
AT_ONCE = 200
"""Requests without an answer: enough to keep the proxy busy, too few to be lost in a socket's buffer."""

MOST_TURNED_AWAY = 5000
_AGAIN_AT_ONCE = 5
_SHED = 503
_RESEND_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_DATAGRAM = 65_536
_BUFFER = 4 * 1024 * 1024
_BODY = (
    "v=0\r\no=pbx 7001 7001 IN IP4 127.0.0.1\r\ns=call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
)


class CallFailed(Exception):
    """A call was refused, or not answered in time."""


@dataclass(slots=True)
class _Asked:
    """A request under way."""

    data: bytes
    at: float
    first: float


@dataclass(frozen=True, slots=True)
class _Held:
    """What a caller keeps of its call."""

    to: str
    contact: str
    routes: tuple[str, ...]


class Callers:
    """Callers at `host` who call `called` by way of `target`."""

    def __init__(self, target: tuple[str, int], host: str, called: str) -> None:
        self._target = target
        self._uri = f"sip:{called}@{target[0]}:{target[1]}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((host, 0))
        self._port = self._socket.getsockname()[1]
        self._own = f"{host}:{self._port}"
        self._asked: dict[str, _Asked] = {}
        self._placed = 0
        self._look_at = 0.0
        self._again = 0
        self.held: dict[str, _Held] = {}
        self.repeated = 0
        self.turned_away = 0

    def place(self, count: int, rate: float) -> None:
        """Begin `count` calls, so many a second, and wait until all are answered. Raises CallFailed."""
        began = time.monotonic()
        wanted = len(self.held) + count
        for number in range(count):
            self._call()
            self._listen(began + number / rate)
            while len(self._asked) >= AT_ONCE:
                self._listen(time.monotonic() + 0.01)
        while len(self.held) < wanted:
            self._listen(time.monotonic() + 0.01)

    def _call(self) -> None:
        self._placed += 1
        self._ask("INVITE", f"held-{self._placed}-{self._port}", 1, self._uri, f"<{self._uri}>", ())

    def hold(self, seconds: float) -> None:
        """Let time pass; what the proxy asks within the calls is answered."""
        self._listen(time.monotonic() + seconds)

    def hang_up(self) -> None:
        """End all calls as fast as the BYEs are answered. Raises CallFailed."""
        for call_id in list(self.held):
            one = self.held.pop(call_id)
            self._ask("BYE", call_id, 2, one.contact, one.to, one.routes)
            while len(self._asked) >= AT_ONCE:
                self._listen(time.monotonic() + 0.001)
        while self._asked:
            self._listen(time.monotonic() + 0.001)

    def close(self) -> None:
        """Close the socket; calls that are held stay up."""
        self._socket.close()

    def _ask(self, method: str, call_id: str, cseq: int, uri: str, to: str, routes: tuple[str, ...]) -> None:
        data = self._message(method, call_id, cseq, uri, to, routes)
        now = time.monotonic()
        self._asked[call_id] = _Asked(data, now, now)
        self._socket.sendto(data, self._target)

    def _message(
        self,
        method: str,
        call_id: str,
        cseq: int,
        uri: str,
        to: str,
        routes: tuple[str, ...],
        branch: str = "",
    ) -> bytes:
        body = _BODY if method == "INVITE" else ""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._own};rport;branch=z9hG4bK-{call_id}-{cseq}-{branch or method}",
            *(f"Route: {route}" for route in routes),
            "Max-Forwards: 70",
            f'From: "Desk 17" <sip:+12025550117@{self._own}>;tag={call_id}',
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:desk17@{self._own}>",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE",
            "User-Agent: callers",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        return "\r\n".join(lines).encode()

    def _listen(self, until: float) -> None:
        """Take what comes until then."""
        while True:
            self._socket.settimeout(max(0.0001, until - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                self._heard(self._socket.recv(_DATAGRAM).decode(errors="replace"))
            now = time.monotonic()
            self._repeat(now)
            if now >= until:
                return

    def _repeat(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        for _ in range(min(self._again, _AGAIN_AT_ONCE)):
            self._again -= 1
            self._call()
        for call_id, asked in self._asked.items():
            if now < asked.at + _RESEND_SECONDS:
                continue
            if now > asked.first + ANSWER_SECONDS:
                raise CallFailed(f"{asked.data[:30]!r} of {call_id} was not answered")
            asked.at = now
            self.repeated += 1
            self._socket.sendto(asked.data, self._target)

    def _heard(self, text: str) -> None:
        lines = text.split("\r\n")
        call_id, cseq = _value(lines, "call-id"), _value(lines, "cseq")
        if not text.startswith("SIP/2.0 "):
            self._answer(lines)
            return
        status = int(text[8:11])
        if status < 200:
            return
        if cseq == "1 INVITE" and status == 200:
            self._answered(call_id, lines)
        elif cseq == "1 INVITE" and status == _SHED:
            self._turned_away(call_id, lines)
        elif status == 200:
            self._asked.pop(call_id, None)
        else:
            raise CallFailed(f"{lines[0]} ({cseq})")

    def _answered(self, call_id: str, lines: list[str]) -> None:
        contact = _value(lines, "contact").partition("<")[2].partition(">")[0]
        routes = tuple(
            line.partition(":")[2].strip() for line in lines if line.lower().startswith("record-route:")
        )[::-1]
        to = _value(lines, "to")
        if self._asked.pop(call_id, None) is not None:
            self.held[call_id] = _Held(to, contact, routes)
        self._socket.sendto(self._message("ACK", call_id, 1, contact, to, routes), self._target)

    def _turned_away(self, call_id: str, lines: list[str]) -> None:
        """The machine is busy with something else: try again."""
        to = _value(lines, "to")
        self._socket.sendto(self._message("ACK", call_id, 1, self._uri, to, (), "INVITE"), self._target)
        if self._asked.pop(call_id, None) is not None:
            self.turned_away += 1
            self._again += 1
            if self.turned_away > MOST_TURNED_AWAY:
                raise CallFailed(lines[0])

    def _answer(self, lines: list[str]) -> None:
        """200 to whatever is asked within a call."""
        if lines[0].startswith("ACK "):
            return
        kept = ("via:", "from:", "to:", "call-id:", "cseq:")
        answer = ["SIP/2.0 200 OK", *(line for line in lines if line.lower().startswith(kept))]
        self._socket.sendto("\r\n".join([*answer, "Content-Length: 0", "", ""]).encode(), self._target)


def _value(lines: list[str], name: str) -> str:
    return next(line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name}:"))
