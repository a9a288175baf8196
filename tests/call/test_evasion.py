"""How a caller tries to be connected and not counted: each case ends with the same books.

Nothing goes to the sink, INVITEs at the provider are admissions, and nothing is freed that still lives.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.sip.message import SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, Playbook, answer, established, in_dialog, invite, policy
from tests.call.test_crossing import assert_nothing_left

EVIL = ("127.0.0.9", 5066)


class Watched(Playbook):
    """A playbook that counts what leaves."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self.left: list[tuple[tuple[str, int], SipRequest | SipResponse]] = []
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def _pump(self) -> Playbook:
        known = len(self.sent)
        super()._pump()
        self.left += [(to, message) for to, message, _ in self.sent[known:]]
        return self

    def requests(self, to: tuple[str, int], method: bytes) -> list[SipRequest]:
        return [
            message
            for remote, message in self.left
            if remote == to and isinstance(message, SipRequest) and message.method == method
        ]

    def first_invites(self) -> set[bytes]:
        """Branches of the INVITEs at the provider that are in no dialog."""
        return {request.via.branch for request in self.requests(CARRIER, b"INVITE") if not request.to_tag}


@pytest.fixture
def play() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    assert not [message for to, message in watched.left if to[0] == EVIL[0]]
    assert len(watched.first_invites()) == watched.commands.count("Reserve")


def from_(source: tuple[str, int], data: bytes) -> bytes:
    """The same request with a Via of its true sender."""
    head, _, rest = data.partition(b"\r\nVia: ")
    value = rest.partition(b";")[2]
    return head + b"\r\nVia: SIP/2.0/UDP %s:%d;" % (source[0].encode(), source[1]) + value


# --- answers that the provider never gave


def test_caller_cannot_answer_its_own_bye(play: Watched) -> None:
    """C06: a BYE that the provider will refuse, and a 200 that claims to come from the provider."""
    ok = established(play)
    for number in range(3):
        play.receive(in_dialog("BYE", ok, cseq=0, branch=f"z9hG4bK-{number}"))
    byes = play.requests(CARRIER, b"BYE")
    seen_by_caller = b"\n".join(message.start for to, message in play.left if to == PBX) + b"".join(
        line for to, message in play.left if to == PBX for _, line in message.headers
    )
    for bye in byes:
        stem = bye.via.branch.removeprefix(b"z9hG4bKtw")
        assert len(stem) >= 20
        assert stem not in seen_by_caller
        assert not any(stem[:6] in other.via.branch for other in byes if other is not bye)
    # What it can make of all that it has seen matches no transaction.
    ref = play.sessions[0].ref.encode()
    for guess in [b"z9hG4bKtw%s.%x" % (ref, count) for count in range(64)]:
        forged = answer(byes[0], 200).replace(byes[0].via.branch, guess)
        play.receive(forged, PBX)
    assert play.commands == ["Reserve", "Answered"]
    assert play.counters.stray == 64


def test_answer_from_outside_the_providers_networks_is_no_answer() -> None:
    play = Watched(policy(provider={"networks": ["127.0.0.3"]}))
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.take()
    for status in (180, 200, 486):
        play.receive(answer(outgoing, status), EVIL)
    assert play.take() == []
    play.receive(answer(outgoing, 200), CARRIER)
    assert play.take() == ["pbx <- 200 (INVITE)"]
    assert play.counters.stray == 3
    ok_line = play.left[-1][1]
    assert isinstance(ok_line, SipResponse)
    play.receive(in_dialog("BYE", ok_line, cseq=2))
    bye = play.last(CARRIER)
    play.receive(answer(bye, 200), EVIL)
    assert play.commands == ["Reserve", "Answered"]


@pytest.mark.parametrize("status", [180, 200, 486])
def test_response_with_our_via_alone_is_dropped(play: Watched, status: int) -> None:
    """P21: nobody upstream could tell whose it is."""
    play.receive(invite())
    outgoing = play.last(CARRIER)
    play.take()
    lines = answer(outgoing, status).split(b"\r\n")
    vias = [line for line in lines if line.startswith(b"Via:")]
    lines.remove(vias[1])
    play.receive(b"\r\n".join(lines), CARRIER)
    assert play.take() == []
    play.receive(answer(outgoing, status), CARRIER)
    assert f"pbx <- {status} (INVITE)" in play.take()


# --- who speaks for the provider


@pytest.mark.parametrize("source", [EVIL, PBX, ("127.0.0.1", 5060)])
@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INVITE", "INFO", "REFER"])
def test_caller_cannot_speak_for_the_provider(source: tuple[str, int], method: str) -> None:
    """C05. The caller knows tags, Call-ID and Record-Route: if it could end the call in the provider's name
    towards itself, the provider's side would live on, uncounted."""
    play = Watched()
    ok = established(play)
    forged = from_(
        source, in_dialog(method, ok, cseq=1, from_callee=True, extra="Contact: <sip:x@127.0.0.9>")
    )
    play.receive(forged, source)
    assert [message.status for _, message, _ in play.sent] == [481]
    assert play.commands == ["Reserve", "Answered"]


def test_forged_refresh_does_not_lead_packets_astray(play: Watched) -> None:
    """A source address can be forged, an answer that goes to the provider can't."""
    ok = established(play)
    update = in_dialog("UPDATE", ok, cseq=1, from_callee=True, extra="Contact: <sip:x@127.0.0.9:5066>")
    play.receive(update, CARRIER)
    play.receive(answer(play.last(PBX), 200, contact="sip:alice@127.0.0.9:5066"), PBX)
    play.take()
    play.receive(in_dialog("BYE", ok, cseq=2))
    assert play.take() == ["carrier <- BYE"]


def test_bye_from_where_the_providers_name_leads_is_the_providers() -> None:
    play = Watched()
    play.receive(invite())
    # Its media gateway answers for itself: in-dialog requests go there, and may come from the provider too.
    play.receive(answer(play.last(CARRIER), 200, contact="sip:gw@127.0.0.6:5060"), CARRIER)
    ok = play.last(PBX)
    for number, source in enumerate([CARRIER, ("127.0.0.6", 5060)]):
        data = in_dialog("INFO", ok, cseq=number + 1, from_callee=True, branch=f"z9hG4bK-{number}")
        play.take()
        play.receive(from_(source, data), source)
        assert play.take() == ["pbx <- INFO"]


def test_any_address_of_the_providers_name_may_speak_for_it(play: Watched) -> None:
    ok = established(play)
    play.more_hosts = {"127.0.0.33"}
    play.receive(
        from_(("127.0.0.33", 5060), in_dialog("BYE", ok, cseq=1, from_callee=True)), ("127.0.0.33", 5060)
    )
    assert play.take() == ["pbx <- BYE"]


# --- byes that end nothing


def test_lower_cseq_is_refused_by_the_far_end_and_the_call_goes_on(play: Watched) -> None:
    """C06."""
    ok = established(play, cseq=7)
    play.receive(in_dialog("BYE", ok, cseq=1))
    bye = play.last(CARRIER)
    assert bye.cseq == 1  # not ours to mend
    play.receive(answer(bye, 500, "Server Internal Error"), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    assert play.core.sessions


def test_bye_that_the_provider_drops_is_charged_and_said_again(play: Watched) -> None:
    """Too large, or written so that the provider does not read it: no answer, and a call that lives."""
    ok = established(play)
    sent_at = play.now
    play.receive(in_dialog("BYE", ok, cseq=5, extra="X-Large: " + "x" * 9000))
    play.pass_time(32.1)
    byes = play.requests(CARRIER, b"BYE")
    ours = byes[-1]
    assert ours.via.branch != byes[0].via.branch
    assert ours.first(b"x-large") is None
    assert (ours.cseq, ours.from_tag, ours.to_tag) == (6, b"pbx1", b"uas1")
    assert play.commands == ["Reserve", "Answered"]
    play.receive(answer(ours, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]
    assert play.sessions[0].ended_at == sent_at + 32.0
    assert play.sessions[0].ended_by == "caller"
    play.pass_time(200)
    assert_nothing_left(play)


@pytest.mark.parametrize(
    "tag", [b";tag = uas1", b";TAG=uas1", b';x=";tag=other";tag=uas1', b";tag=\r\n uas1"]
)
def test_bye_whose_tag_the_provider_reads_otherwise_is_said_again(play: Watched, tag: bytes) -> None:
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2).replace(b";tag=uas1", tag))
    play.receive(answer(play.last(CARRIER), 481, "No Such Call"), CARRIER)
    assert play.commands == ["Reserve", "Answered"]
    ours = play.last(CARRIER)
    assert play.take() == ["carrier <- BYE", "pbx <- 481 (BYE)", "carrier <- BYE"]
    assert ours.first(b"to").endswith(b";tag=uas1")
    play.receive(answer(ours, 481, "No Such Call"), CARRIER)
    assert play.commands[-1] == "Ended"
    assert play.sessions[0].ended_by == "caller"


def test_call_whose_farewells_are_dropped_and_refused_goes_on_being_counted(play: Watched) -> None:
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=5, extra="X-Large: " + "x" * 9000))
    play.pass_time(32.1)
    for _ in range(3):
        play.receive(answer(play.requests(CARRIER, b"BYE")[-1], 500), CARRIER)
        assert play.core.sessions
        play.pass_time(33)
    last = play.requests(CARRIER, b"BYE")[-1]
    assert last.first(b"reason") == b'SIP;cause=408;text="BYE Never Answered"'
    play.receive(answer(last, 200), CARRIER)
    assert play.commands == ["Reserve", "Answered", "Ended"]


def test_408_to_a_bye_is_silence(play: Watched) -> None:
    """RFC 4320 §4.2: it is not passed on. What lies behind the provider's edge may live: it is ended."""
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2))
    bye = play.last(CARRIER)
    play.take()
    play.receive(answer(bye, 408, "Request Timeout"), CARRIER)
    assert play.take() == ["carrier <- BYE"]
    assert play.commands[-1] == "Answered"
    play.receive(answer(play.requests(CARRIER, b"BYE")[-1], 200), CARRIER)
    assert play.commands[-1] == "Ended"


@pytest.mark.parametrize("method", ["INFO", "ACK", "BYE", "REFER", "UPDATE"])
def test_caller_cannot_use_up_the_numbers_of_our_bye(play: Watched, method: str) -> None:
    """A CSeq must stay below 2**31: past it, every BYE of ours would be malformed, and the call could not be
    ended by us any more."""
    ok = established(play)
    data = in_dialog(method, ok, cseq=2**31 - 1)
    play.receive(data)
    assert [label for label in play.take() if "carrier" in label] == (
        ["carrier <- ACK"] if method == "ACK" else []
    )
    play.sessions[0].hang_up(b'Q.850;cause=21;text="Test"', play.now)
    play.pump()
    assert play.last(CARRIER).cseq == 2


def test_call_that_begins_near_the_end_of_the_numbers_is_refused(play: Watched) -> None:
    play.receive(invite(cseq=2**31 - 2))
    assert play.take() == ["pbx <- 400 (INVITE)"]
    assert play.stack.transactions == 0


def test_ack_with_another_cseq_acknowledges_nothing(play: Watched) -> None:
    """C09: the provider does not take it for the ACK either, and the call is reaped."""
    play.receive(invite())
    play.receive(answer(play.last(CARRIER), 200), CARRIER)
    play.receive(in_dialog("ACK", play.last(PBX), cseq=9, branch="z9hG4bK-ack"))
    play.pass_time(33)
    assert play.requests(CARRIER, b"ACK")[-1].cseq == 1
    assert play.requests(CARRIER, b"BYE")


# --- transfers


@pytest.mark.parametrize("method", ["REFER", "Refer", "refer"])
def test_transfer_by_the_caller_is_refused_however_it_is_spelled(play: Watched, method: str) -> None:
    """R11."""
    ok = established(play)
    play.receive(in_dialog(method, ok, cseq=2, extra="Refer-To: <sip:+19005550100@127.0.0.3>"))
    assert play.take() == [f"pbx <- 403 ({method})"]


def test_bye_carries_no_transfer(play: Watched) -> None:
    """`Also` in a BYE asked for a transfer before REFER did."""
    ok = established(play)
    play.receive(in_dialog("BYE", ok, cseq=2, extra="Also: <sip:+19005550100@127.0.0.3>\r\nX-Kept: yes"))
    bye = play.last(CARRIER)
    assert bye.first(b"also") is None
    assert bye.first(b"x-kept") == b"yes"


# --- what a refused re-INVITE leaves


def test_ack_of_a_reinvite_that_we_refused_stays_with_us(play: Watched) -> None:
    ok = established(play)
    reinvite = in_dialog("INVITE", ok, cseq=2, branch="z9hG4bK-re").replace(
        b"Max-Forwards: 70", b"Max-Forwards: 0"
    )
    play.receive(reinvite)
    assert play.take() == ["pbx <- 483 (INVITE)"]
    play.receive(in_dialog("ACK", ok, cseq=2, branch="z9hG4bK-re"))
    assert play.take() == []


# --- identity


def test_identity_of_an_untrusted_trunk_does_not_pass_in_a_dialog_either() -> None:
    """P29."""
    play = Watched(policy(trunk={"trust_identity": False}))
    ok = established(play)
    claims = "P-Asserted-Identity: <sip:+1@x>\r\nRemote-Party-ID: <sip:+1@x>\r\nX-Kept: yes"
    for number, method in enumerate(("UPDATE", "INVITE", "INFO")):
        play.receive(in_dialog(method, ok, cseq=2 + number, branch=f"z9hG4bK-i{number}", extra=claims))
        passed = play.last(CARRIER)
        assert passed.method == method.encode()
        assert passed.first(b"p-asserted-identity") is None
        assert passed.first(b"remote-party-id") is None
        assert passed.first(b"x-kept") == b"yes"
