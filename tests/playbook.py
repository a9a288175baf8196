"""Protocol tests that read as ladder diagrams.

A ladder is text, one step a line: `TIME  ACTION  : WHAT FOLLOWS`. Time runs in seconds. Timers that fall due
on the way fire at their own time; what they bring belongs to the next line, so that nothing goes unnoticed.

Actions: `> INVITE`, `> 180` or `> 200 CANCEL` arrive from the wire; `accept`, `reply 486`, `send INVITE`,
`send BYE timeout=6`, `cancel`, `cancel SIP;cause=200` and `link down` are the user's and the network's;
`.` lets time pass. What follows: `< 486` leaves to the wire, other words are events; wire first.
"""

from __future__ import annotations

from proxy.sip.counters import SipCounters
from proxy.sip.events import CancelReceived, Event, RequestReceived, ServerTerminated
from proxy.sip.message import Flow, Header
from proxy.sip.serialize import OutgoingRequest, build_response, serialize_request
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from proxy.sip.transaction import ClientTransaction, ServerTransaction

PROXY = ("192.0.2.1", 5060)
CALLER = ("192.0.2.10", 5062)
CALLEE = ("198.51.100.7", 5060)


def flow_to(remote: tuple[str, int], transport: str = "udp") -> Flow:
    """A flow of the proxy's only listener."""
    return Flow(transport, PROXY, remote, 0 if transport == "udp" else 1)


def request_bytes(
    method: str = "INVITE",
    *,
    branch: str = "z9hG4bKcaller1",
    via: str = "SIP/2.0/UDP 192.0.2.10:5062",
    uri: str = "sip:+442071838750@192.0.2.1",
    to_tag: str = "",
    cseq: str = "1",
    extra: str = "",
    body: bytes = b"",
) -> bytes:
    """A request of the caller."""
    head = (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: {via};branch={branch}\r\n"
        "Max-Forwards: 70\r\n"
        'From: "Alice" <sip:+15551230001@192.0.2.10>;tag=a1\r\n'
        f"To: <sip:+442071838750@192.0.2.1>{';tag=' + to_tag if to_tag else ''}\r\n"
        "Call-ID: c1@192.0.2.10\r\n"
        f"CSeq: {cseq} {method}\r\n"
        f"{extra}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def outgoing(method: bytes = b"INVITE", branch: bytes = b"z9hG4bKproxy1") -> OutgoingRequest:
    """A request that the proxy forwards to the callee."""
    headers: list[Header] = [
        (b"via", b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=" + branch),
        (b"via", b"Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKcaller1"),
        (b"route", b"Route: <sip:198.51.100.7;lr>"),
        (b"max-forwards", b"Max-Forwards: 69"),
        (b"from", b'From: "Alice" <sip:+15551230001@192.0.2.10>;tag=a1'),
        (b"to", b"To: <sip:+442071838750@192.0.2.1>"),
        (b"call-id", b"Call-ID: c1@192.0.2.10"),
        (b"cseq", b"CSeq: 7 " + method),
        (b"content-length", b"Content-Length: 0"),
    ]
    return OutgoingRequest(method, b"sip:+442071838750@198.51.100.7", headers, branch)


def response_to(data: bytes, status: int, tag: str = "b1") -> bytes:
    """The answer of a peer that copies what RFC 3261 §8.2.6.2 tells it to."""
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    copied = []
    for line in lines[1:]:
        name = line.partition(b":")[0].lower()
        if name in (b"via", b"from", b"call-id", b"cseq"):
            copied.append(line)
        elif name == b"to":
            copied.append(line if status == 100 or b"tag=" in line else line + b";tag=" + tag.encode())
    return b"SIP/2.0 %d Whatever\r\n%b\r\nContent-Length: 0\r\n\r\n" % (status, b"\r\n".join(copied))


class Ladder:
    """One stack with at most one server transaction, and the client transaction last made."""

    def __init__(self, transport: str = "udp", timers: Timers | None = None) -> None:
        self.stack = SipStack(timers or Timers(), SipCounters())
        self.caller = flow_to(CALLER, transport)
        self.callee = flow_to(CALLEE, transport)
        self.server: ServerTransaction | None = None
        self.client: ClientTransaction | None = None
        self.sent: dict[str, bytes] = {}
        self.wire: list[tuple[bytes, Flow]] = []
        self._events: list[Event] = []
        self._request: RequestReceived | None = None
        self.now = 0.0

    def play(self, text: str) -> None:
        """Run a ladder; AssertionError names the step that went otherwise."""
        for line in text.strip().splitlines():
            step, _, expected = f"{line} ".partition(" : ")
            time_text, action, *arguments = step.split()
            self._pass_time(float(time_text))
            self._act(action, arguments)
            found = ", ".join([*self._left(), *(self._name(event) for event in self._events)])
            self._events = []
            wanted = ", ".join(item.strip() for item in expected.split(",") if item.strip())
            assert found == wanted, f"{line.strip()}\n  found:  {found}\n  wanted: {wanted}"

    def _pass_time(self, until: float) -> None:
        while (due := self.stack.next_timer()) is not None and due <= until:
            self.now = due
            self._take(self.stack.handle_timers(due))
        self.now = until

    def _act(self, action: str, arguments: list[str]) -> None:
        if action == ">":
            self._arrive(arguments)
        elif action == "accept":
            assert self._request is not None
            self.server = self.stack.accept(self._request.request, self.now)
        elif action == "reply":
            assert self.server is not None
            status = int(arguments[0])
            data = build_response(self.server.request, status, b"Whatever", to_tag=b"p1")
            self.stack.respond(self.server, data, status, self.now)
        elif action == "send":
            options = dict(argument.split("=") for argument in arguments[1:])
            timeout = float(options["timeout"]) if "timeout" in options else None
            request = outgoing(arguments[0].encode())
            self.client = self.stack.send_request(
                request, self.callee, self.now, owner="user", timeout=timeout
            )
            self.sent[arguments[0]] = serialize_request(request)
        elif action == "cancel":
            assert self.client is not None
            reason = arguments[0].encode() if arguments else None
            self.stack.cancel(self.client, reason, self.now)
        elif action == "link":
            self._take(self.stack.transport_failed(self.callee, self.now))
        else:
            assert action == ".", action

    def _arrive(self, arguments: list[str]) -> None:
        word = arguments[0]
        if word.isdigit():
            method = (
                arguments[1] if len(arguments) > 1 else next(name for name in self.sent if name != "CANCEL")
            )
            data, flow = response_to(self.sent[method], int(word)), self.callee
        else:
            data, flow = request_bytes(word), self.caller
        self._take(self.stack.receive(data, flow, self.now))

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                self._request = event
        self._events += events

    def _left(self) -> list[str]:
        names = []
        for data, flow in self.stack.outbox:
            self.wire.append((data, flow))
            words = data.split(b" ", 2)
            name = words[1].decode() if words[0] == b"SIP/2.0" else words[0].decode()
            if not name.isdigit():
                self.sent[name] = data
            names.append(f"< {name}")
        self.stack.outbox.clear()
        return names

    @staticmethod
    def _name(event: Event) -> str:
        if isinstance(event, ServerTerminated) and not event.acknowledged:
            return "Unacknowledged"
        assert not isinstance(event, CancelReceived) or event.request.method == b"CANCEL"
        return type(event).__name__
