"""Many calls at once by user agents that retransmit as RFC 3261 says, over lossy links.

A call is complete when the caller has the 200 to its INVITE and the 200 to its BYE, and the provider has had
the BYE: every step of a call is one that retransmission must carry through. That the ACK arrived is not asked
for: after the BYE nobody repeats it. It is not complete when a timer of either side gave up first: 64*T1 for
a final response to the BYE (Timer F) and for anything at all to the INVITE (Timer B), and for the ACK at the
provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.lossy_link import LossyLink, Weather
from tests.e2e.sip_text import SDP, Dialog, Message, answer, fresh, text

T1 = 0.5
T2 = 4.0
GIVE_UP = 64 * T1
UNDER_WAY = ("calling", "proceeding", "talking", "leaving")


class Repeat:
    """Sends the same again and again: T1, 2*T1, 4*T1 …, at most `longest` apart, until stopped; after 64*T1
    it calls `gave_up`."""

    def __init__(self, send: Callable[[], None], gave_up: Callable[[], None], longest: float = T2) -> None:
        self._send = send
        self._gave_up = gave_up
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.call_later(GIVE_UP, self._over)
        self._wait = T1
        send()
        self._next = self._loop.call_later(T1, self._again)

    def _again(self) -> None:
        self._send()
        self._wait = min(2 * self._wait, self._longest)
        self._next = self._loop.call_later(self._wait, self._again)

    def _over(self) -> None:
        self.stop()
        self._gave_up()

    def stop(self) -> None:
        """Send no more."""
        self._next.cancel()
        self._end.cancel()


@dataclass
class PlacedCall:
    """One call as its caller sees it."""

    number: int
    call_id: str
    state: str = "calling"  # then the others of UNDER_WAY; at last complete, or why not
    sending: Repeat | None = None
    ack: bytes = b""
    invite_status: int = 0

    def rest(self) -> None:
        """Send nothing any more."""
        if self.sending is not None:
            self.sending.stop()
            self.sending = None


class Caller:
    """Places calls at `proxy`, talks for `talk_seconds`, hangs up. `calls` holds each by its Call-ID."""

    def __init__(
        self, host: str, proxy: tuple[str, int], called: str, seed: int, weather: Weather, talk_seconds: float
    ) -> None:
        self.link = LossyLink(host, seed, weather, self._receive)
        self.calls: dict[str, PlacedCall] = {}
        self._proxy = proxy
        self._called = called
        self._talk_seconds = talk_seconds
        self._loop = asyncio.get_running_loop()
        self._going_on = 0
        self.all_over = asyncio.Event()

    def place(self) -> None:
        """One call more."""
        self._going_on += 1
        self.all_over.clear()
        number = len(self.calls)
        call = PlacedCall(number, f"lossy-{number}")
        self.calls[call.call_id] = call
        host_port = f"{self.link.address[0]}:{self.link.address[1]}"
        uri = f"sip:{self._called}@{self._proxy[0]}:{self._proxy[1]}"
        invite = text(
            f"INVITE {uri} SIP/2.0",
            [
                ("Via", f"SIP/2.0/UDP {host_port};rport;branch=z9hG4bK-lossy-{number}"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:+12025550117@{host_port}>;tag=caller{number}"),
                ("To", f"<{uri}>"),
                ("Call-ID", call.call_id),
                ("CSeq", "1 INVITE"),
                ("Contact", f"<sip:desk@{host_port}>"),
                ("Content-Type", "application/sdp"),
            ],
            SDP,
        )

        def gave_up() -> None:
            self._over(call, "no answer to INVITE")

        call.sending = Repeat(lambda: self.link.send(invite, self._proxy), gave_up, GIVE_UP)

    def _over(self, call: PlacedCall, state: str) -> None:
        """The call has come to an end; `all_over` is set while none goes on."""
        call.rest()
        if call.state in UNDER_WAY:
            self._going_on -= 1
            if self._going_on == 0:
                self.all_over.set()
        call.state = state

    def _receive(self, message: Message, source: tuple[str, int]) -> None:
        call = self.calls[message.one("call-id")]
        if not message.is_response:
            # The proxy ends a call only where it believes that something went wrong.
            self.link.send(answer(message, "200 OK"), source)
            if message.method == "BYE" and call.state in UNDER_WAY:
                self._over(call, f"ended by the proxy when {call.state}: {message.all('reason')}")
        elif message.method == "INVITE":
            self._to_invite(call, message)
        elif message.method == "BYE" and message.status >= 200 and call.state == "leaving":
            self._over(call, "complete" if message.status == 200 else f"BYE got {message.start}")

    def _to_invite(self, call: PlacedCall, message: Message) -> None:
        if message.status < 200:
            if call.state == "calling":
                call.rest()
                call.state = "proceeding"
            return
        if message.status >= 300:
            if call.state in ("calling", "proceeding"):
                self._over(call, f"INVITE got {message.start}")
            return
        if call.ack:  # a 200 that came again: so does its ACK (§13.2.2.4)
            self.link.send(call.ack, self._proxy)
            return
        call.rest()
        call.state = "talking"
        dialog = Dialog(
            call_id=call.call_id,
            local=f"<sip:+12025550117@{self.link.address[0]}:{self.link.address[1]}>;tag=caller{call.number}",
            remote=message.one("to"),
            target=message.contact_uri(),
            routes=message.record_routes()[::-1],
            own_address=f"{self.link.address[0]}:{self.link.address[1]}",
        )
        call.ack = dialog.request("ACK")
        self.link.send(call.ack, self._proxy)
        self._loop.call_later(self._talk_seconds, self._hang_up, call, dialog)

    def _hang_up(self, call: PlacedCall, dialog: Dialog) -> None:
        if call.state != "talking":
            return
        call.state = "leaving"
        bye = dialog.request("BYE")

        def gave_up() -> None:
            self._over(call, "no answer to BYE")

        call.sending = Repeat(lambda: self.link.send(bye, self._proxy), gave_up)


@dataclass
class TakenCall:
    """One call as the provider sees it."""

    tag: str
    state: str = "ringing"  # answered, acknowledged, over; never acknowledged
    sending: Repeat | None = None
    invites: set[str] = field(default_factory=set)


class Callee:
    """Rings, answers after `ring_seconds`, and takes the BYE. `calls` holds each by its Call-ID, with the
    branches of the INVITEs that came for it."""

    def __init__(self, host: str, seed: int, weather: Weather, ring_seconds: float) -> None:
        self.link = LossyLink(host, seed, weather, self._receive)
        self.calls: dict[str, TakenCall] = {}
        self._ring_seconds = ring_seconds
        self._loop = asyncio.get_running_loop()

    def _receive(self, message: Message, source: tuple[str, int]) -> None:
        if message.is_response:
            return
        call_id = message.one("call-id")
        if message.method == "INVITE":
            self._invited(call_id, message, source)
            return
        call = self.calls[call_id]
        if message.method == "ACK":
            if call.state == "answered":
                self._rest(call, "acknowledged")
        elif message.method == "BYE":
            self._rest(call, "over")
            self.link.send(answer(message, "200 OK"), source)
        else:
            self.link.send(answer(message, "501 Not Implemented"), source)

    def _rest(self, call: TakenCall, state: str) -> None:
        call.state = state
        if call.sending is not None:
            call.sending.stop()
            call.sending = None

    def _invited(self, call_id: str, message: Message, source: tuple[str, int]) -> None:
        contact = (("Contact", f"<sip:carrier@{self.link.address[0]}:{self.link.address[1]}>"),)
        known = self.calls.get(call_id)
        branch = message.all("via")[0].partition("branch=")[2]
        if known is not None:
            known.invites.add(branch)
            if known.state == "ringing":
                self.link.send(answer(message, "180 Ringing", tag=known.tag, extra=contact), source)
            return
        call = self.calls[call_id] = TakenCall(fresh("callee"), invites={branch})
        self.link.send(answer(message, "180 Ringing", tag=call.tag, extra=contact), source)
        ok = answer(message, "200 OK", tag=call.tag, extra=contact, body=SDP)

        def gave_up() -> None:
            call.state = "never acknowledged"

        def take() -> None:
            call.state = "answered"
            call.sending = Repeat(lambda: self.link.send(ok, source), gave_up)

        self._loop.call_later(self._ring_seconds, take)
