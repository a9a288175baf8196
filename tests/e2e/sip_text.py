"""SIP as these tests read and write it: independent of the program under test, by hand,"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
_serial = count(1)

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"


def host_port(address: tuple[str, int]) -> str:
    """`host:port`, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def fresh(kind: str) -> str:
    """A token that no other message of this run has."""
    return f"{kind}{next(_serial):06d}"


@dataclass(frozen=True)
class Message:
    """One message as it came off the wire."""

    raw: bytes
    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Message:
        """Split a datagram. Header names in lower case, in their order."""
        head, _, body = raw.partition(b"\r\n\r\n")
        start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers.append((_COMPACT.get(name, name), value.strip()))
        return cls(raw, start, tuple(headers), body)

    def all(self, name: str) -> list[str]:
        """The values of a header, one per line."""
        return [value for key, value in self.headers if key == name.lower()]

    def one(self, name: str) -> str:
        """The value of a header that must be there exactly once."""
        values = self.all(name)
        assert len(values) == 1, f"{len(values)} headers {name} in:\n{self}"
        return values[0]

    @property
    def is_response(self) -> bool:
        return self.start.startswith("SIP/2.0 ")

    @property
    def status(self) -> int:
        """The status code; 0 for a request."""
        return int(self.start.split(" ")[1]) if self.is_response else 0

    @property
    def method(self) -> str:
        """The method: of a response, the one in its CSeq."""
        return self.one("cseq").split()[1] if self.is_response else self.start.split(" ")[0]

    @property
    def uri(self) -> str:
        """The Request-URI."""
        return self.start.split(" ")[1]

    def tag(self, name: str) -> str | None:
        """The tag of From or To."""
        _, found, rest = self.one(name).partition(";tag=")
        return rest.split(";")[0] if found else None

    def contact_uri(self) -> str:
        """What stands between the angle brackets of Contact."""
        return self.one("contact").partition("<")[2].partition(">")[0]

    def record_routes(self) -> list[str]:
        """The values of Record-Route, top first."""
        return [part.strip() for value in self.all("record-route") for part in value.split(",")]

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "backslashreplace")


def text(start: str, headers: list[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole message, Content-Length added."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def answer(request: Message, status: str, *, tag: str | None = None, extra: tuple[tuple[str, str], ...] = (),
           body: bytes = b"") -> bytes:  # fmt: skip
    """A response to `request`, such as `486 Busy Here`; Record-Route is copied."""
    to = request.one("to")
    if tag is not None and ";tag=" not in to:
        to = f"{to};tag={tag}"
    headers = [("Via", value) for value in request.all("via")]
    headers += [("Record-Route", value) for value in request.all("record-route")]
    headers += [("From", request.one("from")), ("To", to), ("Call-ID", request.one("call-id"))]
    headers += [("CSeq", request.one("cseq")), *extra]
    return text(f"SIP/2.0 {status}", headers, body)


@dataclass
class Dialog:
    """One side's view of a dialog, to build its in-dialog requests from."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    own_address: str
    cseq: int = 1
    transport: str = "UDP"

    def request(
        self,
        method: str,
        *,
        uri: str | None = None,
        cseq: int | None = None,
        routes: list[str] | None = None,
        local: str | None = None,
        remote: str | None = None,
        extra: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> bytes:
        """An in-dialog request; all of it may be forged. Without `cseq`: the next one (an ACK keeps it)."""
        if cseq is None:
            self.cseq += method != "ACK"
            cseq = self.cseq
        headers = [
            ("Via", f"SIP/2.0/{self.transport} {self.own_address};rport;branch={fresh('z9hG4bK-e2e-')}")
        ]
        headers += [("Route", value) for value in (self.routes if routes is None else routes)]
        headers += [("Max-Forwards", "70"), ("From", local or self.local), ("To", remote or self.remote)]
        headers += [("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}"), *extra]
        return text(f"{method} {uri or self.target} SIP/2.0", headers, body)
