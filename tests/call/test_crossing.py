"""Messages that cross, come late, twice, in another order or not at all: whatever happens, a call ends once.

Two peers that keep no manners act at random, over a network that loses, repeats and reorders; the random
numbers are seeded, so that a failure names the seed that shows it again.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from policy.reasons import ReasonCode
from proxy.call.commands import Answered, Ended, Refused, Reserve
from proxy.call.states import CallState
from proxy.sip.message import SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, Playbook, answer, in_dialog, invite, policy

SEEDS = 1000
_FOR_A_CALL_TO_END = 20_000.0  # the longest call, Timer C and every farewell after it
_CALLEE_TAGS = ("uas1", "uas1", "uas2")


class Network:
    """The packets on their way to the proxy: any of them may come next, twice, or never."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.waiting: list[tuple[bytes, tuple[str, int]]] = []

    def put(self, data: bytes, source: tuple[str, int]) -> None:
        if self.random.random() >= 0.1:
            self.waiting.append((data, source))

    def deliver(self, play: Playbook) -> None:
        if not self.waiting:
            return
        # Mostly in order.
        place = 0 if self.random.random() < 0.7 else self.random.randrange(len(self.waiting))
        data, source = self.waiting[place]
        if self.random.random() >= 0.15:
            del self.waiting[place]
        play.receive(data, source)


class Peer:
    """What one side has seen of the proxy, and what it may say about it."""

    def __init__(self, random: Random, network: Network, address: tuple[str, int]) -> None:
        self.random = random
        self.network = network
        self.address = address
        self.requests: list[SipRequest] = []
        self.successes: list[SipResponse] = []
        self.early: list[SipResponse] = []
        self.cseq = 10 if address == CARRIER else 1
        self.branches = 0

    def see(self, message: SipRequest | SipResponse) -> None:
        if isinstance(message, SipRequest):
            self.requests.append(message)
        elif message.cseq_method == b"INVITE" and 200 <= message.status < 300:
            self.successes.append(message)
        elif message.cseq_method == b"INVITE" and 100 < message.status < 200:
            self.early.append(message)

    def say(self, data: bytes) -> None:
        self.network.put(data, self.address)

    def answer_something(self) -> None:
        """Any answer to any request seen so far, also one that was answered before."""
        if not self.requests:
            return
        request = self.random.choice(self.requests[-4:])
        if request.method == b"ACK":
            return
        if request.method == b"INVITE":
            status = self.random.choice((100, 180, 183, 180, 200, 200, 200, 302, 404, 486, 487, 503, 603))
            tag = self.random.choice(_CALLEE_TAGS)
        else:
            status = self.random.choice((100, 200, 200, 200, 408, 481, 500))
            tag = "uas1"
        if request.method == b"CANCEL":
            status = self.random.choice((200, 481))
        self.say(answer(request, status, tag=tag))

    def request_something(self, ok: SipResponse | None, from_callee: bool) -> None:
        """A request in a dialog that exists, existed, or is about to."""
        if ok is None:
            return
        method = self.random.choice(("BYE", "BYE", "BYE", "INVITE", "INFO", "UPDATE", "PRACK", "ACK"))
        if method != "ACK" and self.random.random() < 0.8:
            self.cseq += 1
        self.branches += 1
        branch = f"z9hG4bK-{self.address[1]}-{self.branches}"
        self.say(in_dialog(method, ok, cseq=self.cseq, from_callee=from_callee, branch=branch))


class Chaos:
    """One seed's call, or few calls, between the two peers."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        compiled = policy(
            trunk={"max_call_seconds": 3600},
            more_providers=[{"name": "second", "hostname": f"{CARRIER[0]}:{CARRIER[1]}"}],
            emergency={"numbers": ["112"], "providers": ["carrier", "second"]},
        )
        self.play = Playbook(compiled, admit_all=random.random() < 0.5)
        self.network = Network(random)
        self.pbx = Peer(random, self.network, PBX)
        self.carrier = Peer(random, self.network, CARRIER)
        self.invite = invite("sip:112@127.0.0.1" if random.random() < 0.2 else "sip:+442071838750@127.0.0.1")

    def run(self) -> None:
        self.pbx.say(self.invite)
        self.pbx.say(self.invite)
        steps = (
            (self.carrier.answer_something, 6),
            (self.caller_speaks, 4),
            (self.callee_speaks, 2),
            (self.pbx.answer_something, 2),
            (self.decide, 2),
            (self.pass_time, 2),
            (self.repeat_the_invite, 1),
            (self.cancel, 0.7),
            (self.hang_up, 0.5),
        )
        doings, weights = zip(*steps, strict=True)
        for _ in range(self.random.randrange(5, 80)):
            self.random.choices(doings, weights)[0]()
            for _ in range(self.random.randrange(4)):
                self.network.deliver(self.play)
            self.look()
        while self.play.pending:
            self.decide()
        self.play.pass_time(_FOR_A_CALL_TO_END)
        for session in list(self.play.core.sessions.values()):
            # Nothing of ours but the operator ends an emergency call that nobody hangs up.
            assert session.verdict.emergency
            session.hang_up(b'Q.850;cause=31;text="Test"', self.play.now)
        self.play.pump().pass_time(300)

    def look(self) -> None:
        """Hand each peer what was sent to it. Nobody else is ever sent anything."""
        for remote, message, _ in self.play.sent:
            assert remote in (PBX, CARRIER), f"a packet left for {remote}"
            (self.pbx if remote == PBX else self.carrier).see(message)
        self.play.sent.clear()

    def caller_speaks(self) -> None:
        known = self.pbx.successes or self.pbx.early
        ok = self.random.choice(known) if known else None
        if ok is not None and ok.status >= 200 and self.random.random() < 0.4:
            self.pbx.branches += 1
            branch = f"z9hG4bK-ack-{self.pbx.branches}"
            self.pbx.say(in_dialog("ACK", ok, cseq=ok.cseq, branch=branch))
        else:
            self.pbx.request_something(ok, from_callee=False)

    def callee_speaks(self) -> None:
        known = self.pbx.successes or self.pbx.early
        self.carrier.request_something(self.random.choice(known) if known else None, from_callee=True)

    def repeat_the_invite(self) -> None:
        self.pbx.say(self.invite)

    def cancel(self) -> None:
        self.pbx.say(self.invite.replace(b"INVITE", b"CANCEL"))

    def decide(self) -> None:
        if self.play.pending:
            refusals = (None, None, None, ReasonCode.CAPACITY, ReasonCode.LEDGER)
            self.play.decide(self.random.choice(refusals))

    def pass_time(self) -> None:
        self.play.pass_time(self.random.choice((0.01, 0.3, 1.0, 4.0, 20.0, 35.0, 200.0)))

    def hang_up(self) -> None:
        live = list(self.play.core.sessions.values())
        if live:
            self.random.choice(live).hang_up(b'Q.850;cause=31;text="Test"', self.play.now)
            self.play.pump()


def check_books(play: Playbook) -> None:
    """Each call that was admitted ended once, was answered at most once, and left nothing behind."""
    by_session: dict[int, list[type]] = {}
    for command in play.executed:
        by_session.setdefault(id(command.session), []).append(type(command))
    for kinds in by_session.values():
        assert kinds.count(Reserve) == 1, kinds
        assert kinds.count(Ended) + kinds.count(Refused) == 1, kinds
        assert kinds.count(Answered) <= 1, kinds
        assert kinds[-1] in (Ended, Refused), kinds
        assert not (Refused in kinds and Answered in kinds), kinds
    for session in play.sessions:
        assert session.state is CallState.ENDED
        assert session.final_status >= 200
        # Every branch that was answered has been hung up, or its far end insists that it lives.
        assert not any(dialog.confirmed and not dialog.unwanted for dialog in session.dialogs.values())
        assert session.answered_at is None or session.received_at <= session.answered_at <= session.ended_at
    assert_nothing_left(play)


def assert_nothing_left(play: Playbook) -> None:
    core = play.core
    left: dict[str, Any] = {
        "transactions": play.stack.transactions,
        "timers": play.stack.next_timer(),
        "sessions": core.sessions,
        "under way": core._under_way,
        "alarms": core._alarms,
    }
    assert not any(left.values()), left


@pytest.mark.parametrize("block", range(10))
def test_every_call_ends_once_and_leaves_nothing(block: int) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        chaos = Chaos(seed)
        try:
            chaos.run()
            chaos.look()
            check_books(chaos.play)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
