"""Whole calls from any bytes: a proxy core whose peers send what the bytes choose, changed as they choose."""

from __future__ import annotations

from random import Random

from proxy.sip.message import SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, STRANGER, answer, in_dialog, invite
from tests.call.test_crossing import assert_nothing_left
from tests.call.test_mutations import Tolerant
from tests.fuzz.mutator import mutate

MOST_STEPS = 12
_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "PRACK", "REFER", "OPTIONS", "ODD")
_STATUSES = (100, 180, 183, 200, 200, 302, 404, 408, 422, 481, 486, 487, 491, 503, 603)
_OURS = frozenset(
    {b"via", b"route", b"record-route", b"max-forwards", b"max-breadth", b"content-length",
     b"session-expires", b"min-se"}
)  # fmt: skip


class Choices:
    """Decisions, one byte each; 0 once the bytes are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    @property
    def left(self) -> bool:
        """Whether a byte is left."""
        return self._next < len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1, at most 256 of them."""
        self._next += 1
        return self._data[self._next - 1] % limit if self._next <= len(self._data) else 0


class Calls:
    """A PBX, a carrier and a stranger around one proxy core."""

    def __init__(self, choices: Choices) -> None:
        self.play = Tolerant()
        self.choices = choices
        self.at_carrier: list[SipRequest] = []
        self.at_pbx: list[SipRequest] = []
        self.answered: SipResponse | None = None
        self._seen = 0
        self._said = bytearray()

    def run(self) -> None:
        """Take steps while there are bytes; then all must come to an end."""
        first = self._changed(invite())
        self._said += first
        self.play.receive(first)
        self._look()
        for number in range(MOST_STEPS):
            if not self.choices.left:
                break
            self._step(number)
            self._look()
        self._end()

    def _step(self, number: int) -> None:
        choices = self.choices
        what = choices.below(9)
        which = choices.below(6)
        source, data = PBX, b""
        if what == 0:
            method = _METHODS[choices.below(len(_METHODS))]
            data = invite(method=method, branch=f"z9hG4bK-m{number}", call_id=f"call-m{which}", cseq=which)
        elif what == 1:
            data = invite(method="CANCEL", body=b"")
        elif what in (2, 3) and self.answered is not None:
            method = _METHODS[choices.below(len(_METHODS))]
            source = CARRIER if what == 3 else PBX
            branch = f"z9hG4bK-d{number}"
            data = in_dialog(method, self.answered, cseq=number + 2, from_callee=what == 3, branch=branch)
        elif what in (4, 5) and self.at_carrier:
            source = CARRIER
            request = self.at_carrier[which % len(self.at_carrier)]
            data = answer(request, _STATUSES[choices.below(len(_STATUSES))], tag=f"uas{which % 2}")
        elif what == 6 and self.at_pbx:
            request = self.at_pbx[which % len(self.at_pbx)]
            data = answer(request, _STATUSES[choices.below(len(_STATUSES))])
        elif what == 7:
            self.play.pass_time(10.0 ** (which - 2))
        else:
            data = mutate(invite(branch=f"z9hG4bK-x{number}"), Random(choices.below(256)))
        if data:
            data = self._changed(data)
            if which != 5:
                self._said += data
            self.play.receive(data, STRANGER if which == 5 else source)

    def _changed(self, data: bytes) -> bytes:
        """Every other message as it should be."""
        if self.choices.below(2) == 0:
            return data
        return mutate(data, Random(self.choices.below(256) * 256 + self.choices.below(256)))

    def _look(self) -> None:
        """Read what the peers were sent since the last look, and judge it."""
        for to, message, _ in self.play.sent[self._seen :]:
            # within a dialog, a peer may name another host to be reached at (§12.1)
            assert to[0] in (PBX[0], CARRIER[0], STRANGER[0]) or to[0].encode() in self._said
            if isinstance(message, SipRequest):
                (self.at_carrier if to == CARRIER else self.at_pbx).append(message)
                if message.method == b"INVITE" and not message.to_tag:
                    self._judge_invite(to, message)
            elif to == PBX and message.cseq_method == b"INVITE" and message.status > 100 and message.to_tag:
                self.answered = message
        self._seen = len(self.play.sent)

    def _judge_invite(self, to: tuple[str, int], message: SipRequest) -> None:
        """It was admitted, goes where it must, and carries what its sender wrote."""
        assert to == CARRIER
        assert message.uri.startswith((b"sip:+44", b"sip:+1"))
        origins = [
            session
            for session in self.play.sessions
            if message.body == session.request.body and _foreign(message) == _foreign(session.request)
        ]
        assert origins, "an INVITE that nobody sent, or that was changed on its way"

    def _end(self) -> None:
        play = self.play
        play.pass_time(20_000)
        for session in list(play.core.sessions.values()):
            assert session.verdict.emergency
            session.hang_up(b'Q.850;cause=31;text="Test"', play.now)
        play.pump().pass_time(300)
        self._look()
        assert_nothing_left(play)
        assert play.commands.count("Ended") + play.commands.count("Refused") >= play.commands.count("Reserve")


def _foreign(message: SipRequest) -> list[bytes]:
    """The header lines that are not the proxy's to change."""
    return [line for name, line in message.headers if name not in _OURS]


def calls(data: bytes) -> None:
    """A check as those of oracle.py: `data` is what the peers do."""
    Calls(Choices(data)).run()
