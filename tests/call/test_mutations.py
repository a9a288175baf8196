"""Messages with anything changed in them, in the middle of calls: nothing leaves the core but messages.

Whatever is sent in answer reads back by our own parser (the playbook sees to it), and goes to the two peers
alone; in the end nothing is left.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.sip.errors import ParseError
from proxy.sip.message import Flow, SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, STRANGER, Playbook, answer, in_dialog, invite
from tests.call.test_crossing import assert_nothing_left

# Values that have hurt somebody's parser, or that another header lends to this one.
_NASTY = (
    b"", b" ", b",", b";", b";;", b"<", b">", b"<>", b'"', b'"\\', b"\x00", b"\xff\xfe", b"%", b"%00", b"*",
    b"0", b"-1", b"2147483647", b"4294967296", b"99999999999999999999", b"1 INVITE", b"1 BYE",
    b"2147483647 BYE",
    b"<sip:x>", b"<sip:x@y;lr>,<sip:z>", b"<sip:[::1]:0>", b"<sip:[1.2.3.4]>", b"<sip:a@999.1.1.1>",
    b"<sip:127.0.0.3:5090;lr>", b"<sip:a@127.0.0.3:99999>", b"<tel:+1>", b"<urn:service:sos>", b"<http://x/>",
    b"<sip:%s@y>" % (b"a" * 300), b"sip:x@y;tag=z", b"<sip:x@y>;tag=", b"<sip:x@y>;tag=a;tag=b",
    b'"\\"" <sip:x@y>;tag=uas1', b"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK", b"SIP/2.0/UDP ,",
    b"SIP/2.0/TCP [::]",
    b"z9hG4bKtw", b"0\r\n", b"1\r\n 2", b"a\r\nX: y",
)  # fmt: skip
_TARGETS = (
    b"sip:x", b"sip:+442071838750@x", b"sip:+19005550100@127.0.0.9", b"tel:+1", b"tel:112;phone-context=x",
    b"urn:service:sos", b"*", b"sip:@", b"sip:a@[::1]:5060;lr", b"http://x", b"sips:+442071838750@x", b"",
)  # fmt: skip


class Tolerant(Playbook):
    """An answer to what could not be read need not be readable itself: it repeats what was found. And the
    Vias below ours pass as the provider returned them."""

    def read(self, data: bytes, flow: Flow) -> SipRequest | SipResponse:
        try:
            return super().read(data, flow)
        except ParseError as error:
            refused = (b"SIP/2.0 400 ", b"SIP/2.0 414 ", b"SIP/2.0 505 ", b"SIP/2.0 513 ")
            if not data.startswith(refused) and not (data.startswith(b"SIP/") and error.cause == "via"):
                raise
            unreadable = SipResponse()
            unreadable.status = 400
            unreadable.cseq_method = b""
            return unreadable


mutations = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), st.integers(0, 15), st.just(b"")),
        st.tuples(st.just("double"), st.integers(0, 15), st.just(b"")),
        st.tuples(st.just("swap"), st.integers(0, 15), st.just(b"")),
        st.tuples(st.just("value"), st.integers(0, 15), st.sampled_from(_NASTY)),
        st.tuples(st.just("append"), st.integers(0, 15), st.sampled_from(_NASTY)),
        st.tuples(st.just("target"), st.integers(0, 2), st.sampled_from(_TARGETS)),
        st.tuples(st.just("bytes"), st.integers(0, 900), st.binary(min_size=1, max_size=3)),
        st.tuples(st.just("cut"), st.integers(0, 900), st.just(b"")),
    ),
    max_size=3,
)

_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "PRACK", "REFER", "OPTIONS", "ODD")
steps = st.lists(
    st.tuples(
        st.sampled_from(("invite", "cancel", "caller", "callee", "answer", "answer", "pbx answers", "time")),
        st.sampled_from(_METHODS),
        st.sampled_from((100, 180, 183, 200, 200, 302, 404, 408, 486, 487, 503, 603)),
        st.integers(0, 5),
        mutations,
    ),
    max_size=12,
)


def mutate(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, value in changes:
        if kind == "bytes":
            data = data[:place] + value + data[place + len(value) :]
        elif kind == "cut":
            data = data[:place]
        else:
            lines = data.split(b"\r\n")
            if kind == "target":
                words = lines[0].split(b" ")
                words[place % len(words)] = value
                lines[0] = b" ".join(words)
            else:
                at = place % len(lines)
                name, colon, rest = lines[at].partition(b":")
                if kind == "drop":
                    del lines[at]
                elif kind == "double":
                    lines.insert(at, lines[at])
                elif kind == "swap":
                    lines[at], lines[-at] = lines[-at], lines[at]
                elif kind == "value":
                    lines[at] = name + colon + value
                else:
                    lines[at] = name + colon + rest + value
            data = b"\r\n".join(lines)
    return data


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_message_breaks_the_core(
    plan: list[tuple[str, str, int, int, list[tuple[str, int, bytes]]]],
) -> None:
    play = Tolerant()
    play.receive(invite())
    at_carrier = [message for to, message, _ in play.sent if to == CARRIER]
    at_pbx: list[SipRequest] = []
    answered: SipResponse | None = None
    for number, (what, method, status, which, changes) in enumerate(plan):
        known = len(play.sent)
        source = PBX
        if what == "invite":
            data = invite(method=method, branch=f"z9hG4bK-m{number}", call_id=f"call-m{which}", cseq=which)
        elif what == "cancel":
            data = invite(method="CANCEL", body=b"")
        elif what in ("caller", "callee"):
            if answered is None:
                continue
            from_callee = what == "callee"
            source = CARRIER if from_callee else PBX
            branch = f"z9hG4bK-d{number}"
            data = in_dialog(method, answered, cseq=number + 2, from_callee=from_callee, branch=branch)
        elif what == "answer" and at_carrier:
            source = CARRIER
            request = at_carrier[which % len(at_carrier)]
            data = answer(request, status, tag=f"uas{which % 2}")
        elif what == "pbx answers" and at_pbx:
            data = answer(at_pbx[which % len(at_pbx)], status)
        else:
            play.pass_time(10.0 ** (which - 2))
            data = b""
        if data:
            play.receive(mutate(data, changes), STRANGER if which == 5 else source)
        for to, message, _ in play.sent[known:]:
            if isinstance(message, SipRequest):
                (at_carrier if to == CARRIER else at_pbx).append(message)
            elif to == PBX and message.cseq_method == b"INVITE" and message.status > 100:
                answered = message if message.to_tag else answered
    assert {to[0] for to, _, _ in play.sent} <= {PBX[0], CARRIER[0], STRANGER[0]}
    play.pass_time(20_000)
    for session in list(play.core.sessions.values()):
        assert session.verdict.emergency
        session.hang_up(b'Q.850;cause=31;text="Test"', play.now)
    play.pump().pass_time(300)
    assert_nothing_left(play)
    assert play.commands.count("Ended") + play.commands.count("Refused") >= play.commands.count("Reserve")
