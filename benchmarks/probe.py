"""Post-dial delay, measured by calls of our own during the load: SIPp's clock ticks only every 4 ms."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from policy.digest import ha1, response

PROBES_PER_SECOND = 50
_ANSWER_SECONDS = 5.0
_DATAGRAM = 65_536
_BODY = (
    "v=0\r\no=probe 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
)


@dataclass
class Probe:
    """Calls `called` at `target` one call at a time, PROBES_PER_SECOND at most, from `host`.

    `delays` are INVITE to 180 in milliseconds, one for each call that was answered; `lost` counts the others.
    With a `login` (user name, password) each call is asked for it; its delay begins with the first INVITE.
    """

    target: tuple[str, int]
    host: str
    called: str
    login: tuple[str, str] | None = None
    delays: list[float] = field(default_factory=list)
    lost: int = 0

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._socket.settimeout(_ANSWER_SECONDS)
        self._own = f"{self.host}:{self._socket.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the call that is under way."""
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(1 / PROBES_PER_SECOND):
            number += 1
            try:
                self._call(number)
            except TimeoutError:
                self.lost += 1

    def _call(self, number: int) -> None:
        call_id = f"probe-{number}-{self._socket.getsockname()[1]}"
        uri = f"sip:{self.called}@{self.target[0]}:{self.target[1]}"
        sent = time.perf_counter()
        self._send("INVITE", uri, call_id, 1, f"<{uri}>", (), _BODY)
        cseq = 1
        if self.login is not None:
            refused = self._wait(lambda text: text.startswith("SIP/2.0 407") and call_id in text)
            lines = refused.split("\r\n")
            self._send("ACK", uri, call_id, 1, _value(lines, "to"), (), "", "INVITE")
            cseq = 2
            credentials = _answer(_value(lines, "proxy-authenticate"), uri, *self.login)
            self._send("INVITE", uri, call_id, cseq, f"<{uri}>", (), _BODY, credentials=credentials)
        self._wait(lambda text: text.startswith("SIP/2.0 180") and call_id in text)
        delay = (time.perf_counter() - sent) * 1000
        ok = self._wait(
            lambda text: text.startswith("SIP/2.0 200") and call_id in text and f"{cseq} INVITE" in text
        )
        self.delays.append(delay)
        lines = ok.split("\r\n")
        to = _value(lines, "to")
        contact = _value(lines, "contact").partition("<")[2].partition(">")[0]
        routes = tuple(
            value.partition(":")[2].strip() for value in lines if value.lower().startswith("record-route:")
        )[::-1]
        self._send("ACK", contact, call_id, cseq, to, routes, "")
        self._send("BYE", contact, call_id, cseq + 1, to, routes, "")
        self._wait(lambda text: text.startswith("SIP/2.0 ") and call_id in text and f"{cseq + 1} BYE" in text)

    def _send(
        self,
        method: str,
        uri: str,
        call_id: str,
        cseq: int,
        to: str,
        routes: tuple[str, ...],
        body: str,
        transaction: str | None = None,
        *,
        credentials: str | None = None,
    ) -> None:
        """`transaction`: the method that a failure's ACK belongs to."""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._own};rport;branch=z9hG4bK-{call_id}-{cseq}-{transaction or method}",
            *(f"Route: {route}" for route in routes),
            "Max-Forwards: 70",
            f"From: <sip:+12025550117@{self._own}>;tag={call_id}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:probe@{self._own}>",
        ]
        if credentials is not None:
            lines.append(f"Proxy-Authorization: {credentials}")
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        self._socket.sendto("\r\n".join(lines).encode(), self.target)

    def _wait(self, fits: Callable[[str], bool]) -> str:
        deadline = time.perf_counter() + _ANSWER_SECONDS
        while time.perf_counter() < deadline:
            text = self._socket.recv(_DATAGRAM).decode(errors="replace")
            if fits(text):
                return text
        raise TimeoutError


def _answer(challenge: str, uri: str, user: str, password: str) -> str:
    """What answers a challenge of MD5."""
    asked = dict(re.findall(r'(realm|nonce)="([^"]*)"', challenge))
    realm, nonce = asked["realm"], asked["nonce"]
    key = ha1("MD5", user, realm, password)
    proof = response(
        "MD5", key, b"INVITE", uri.encode(), nonce.encode(), b"", b"auth", b"00000001", b"0a4f113b"
    )
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm=MD5, '
        f'response="{proof.decode()}", qop=auth, nc=00000001, cnonce="0a4f113b"'
    )


def _value(lines: list[str], name: str) -> str:
    return next(line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name}:"))
