"""The two sides of a call at a user agent: the one that was placed, the one that came in."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from proxy.demo.dialog import DialogError, PeerDialog
from proxy.sip.message import SipRequest, SipResponse
from proxy.sip.serialize import OutgoingRequest, serialize_request

if TYPE_CHECKING:
    from proxy.demo.user_agent import UserAgent
    from proxy.sip.transaction import ClientTransaction, ServerTransaction

TIMED_OUT = 408
_WARNING = re.compile(rb'399 trunkwarden "([A-Z_]+) ')


class Outcome:
    """The final answer to an INVITE as its caller saw it. `code` is the refusal's code out of the Warning
    header, None for an answer that is no refusal of the proxy's."""

    __slots__ = ("code", "phrase", "status")

    def __init__(self, status: int, phrase: str, code: str | None = None) -> None:
        self.status = status
        self.phrase = phrase
        self.code = code

    @classmethod
    def of(cls, response: SipResponse) -> Outcome:
        """Read from the wire."""
        found = _WARNING.search(response.first(b"warning") or b"")
        code = found.group(1).decode() if found is not None else None
        return cls(response.status, response.reason.decode("utf-8", "replace"), code)


class OutgoingCall:
    """A call that this user agent placed.

    `provisional` holds the statuses that came before the final one. `ringing` is set with the first of them
    above 100, `ended` when an answered call is over, by whichever side.
    """

    def __init__(self, agent: UserAgent, invite: OutgoingRequest, call_id: str) -> None:
        self.agent = agent
        self.invite = invite
        self.call_id = call_id
        self.client: ClientTransaction | None = None
        self.dialog: PeerDialog | None = None
        self.provisional: list[int] = []
        self.ringing = asyncio.Event()
        self.ended = asyncio.Event()
        self._ack = b""
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> Outcome:
        """Wait for the final answer."""
        return await asyncio.shield(self._outcome)

    def cancel(self) -> None:
        """Give the call up before it is answered."""
        if self.client is not None:
            self.agent.cancel(self.client)

    async def hang_up(self) -> int | None:
        """BYE; the status that it was answered with. None when the call is over already, or never was
        answered."""
        if self.dialog is None or self.ended.is_set():
            return None
        status = await self.agent.bye(self.dialog)
        self.over()
        return status

    def over(self) -> None:
        """The dialog is gone."""
        self.ended.set()
        if self.dialog is not None:
            self.agent.forget(self.dialog)

    # --- what the wire says ---------------------------------------------------------------------------------

    def response(self, response: SipResponse) -> None:
        """A response to the INVITE; every 2xx is acknowledged, the repeated ones too (§13.2.2.4)."""
        status = response.status
        if status < 200:
            self.provisional.append(status)
            if status > 100:
                self.ringing.set()
            return
        if status < 300:
            self._answered(response)
        if not self._outcome.done():
            self._outcome.set_result(Outcome.of(response))

    def no_response(self) -> None:
        """Nothing came: as if 408 had (§8.1.3.1)."""
        if not self._outcome.done():
            self._outcome.set_result(Outcome(TIMED_OUT, "No Response"))

    def _answered(self, response: SipResponse) -> None:
        assert self.client is not None
        if self.dialog is None:
            try:
                self.dialog = PeerDialog.of_caller(self.invite, response, self.client.flow)
            except DialogError:
                return  # an answer that nobody can talk to; the caller sees 2xx without a dialog
            self.agent.remember(self.dialog, self)
            ack = self.dialog.request(b"ACK", self.agent.sent_by, self.agent.branch())
            self._ack = serialize_request(ack)
        self.agent.send(self._ack, self.dialog.flow)


class IncomingCall:
    """A call that came in. `number` is the user part of its Request-URI. `answered` is set when the ACK of a
    2xx has come, `ended` when the call is over."""

    def __init__(self, agent: UserAgent, invite: SipRequest, server: ServerTransaction) -> None:
        self.agent = agent
        self.invite = invite
        self.server = server
        self.number = (invite.parsed_uri.user or b"").decode("ascii")
        self.tag = agent.token()
        self.dialog: PeerDialog | None = None
        self.final_status = 0
        self.acknowledged = asyncio.Event()
        self.ended = asyncio.Event()

    def ring(self) -> None:
        """180."""
        if not self.final_status:
            self.agent.respond(self, 180, b"Ringing")

    def refuse(self, status: int, phrase: bytes) -> None:
        """A final failure."""
        if not self.final_status:
            self.final_status = status
            self.agent.respond(self, status, phrase)
            self.ended.set()

    def answer(self) -> None:
        """200 with an SDP answer; repeated until the ACK has come (§13.3.1.4)."""
        if self.final_status:
            return
        try:
            self.dialog = PeerDialog.of_callee(self.invite, self.tag)
        except DialogError:
            self.refuse(400, b"Bad Request")
            return
        self.final_status = 200
        self.agent.remember(self.dialog, self)
        self.agent.respond(self, 200, b"OK")
        self.agent.await_acknowledgement(self)

    def cancelled(self) -> None:
        """The caller gave up."""
        self.refuse(487, b"Request Terminated")

    async def hang_up(self) -> int | None:
        """BYE from this side; the status of its answer, None when the call is over already."""
        if self.dialog is None or self.ended.is_set():
            return None
        status = await self.agent.bye(self.dialog)
        self.over()
        return status

    def over(self) -> None:
        """The dialog is gone."""
        self.ended.set()
        if self.dialog is not None:
            self.agent.forget(self.dialog)
