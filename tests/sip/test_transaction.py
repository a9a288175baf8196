"""Server and client transactions as ladder diagrams: RFC 3261 §17, RFC 6026, RFC 4320."""

from __future__ import annotations

import pytest

from tests.playbook import CALLER, Ladder

# --- INVITE server transaction (§17.2.1) ---


def test_refusal_over_udp_is_sent_again_until_acknowledged() -> None:
    ladder = Ladder()
    ladder.play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 486  : < 486
        0.4   .          :
        0.5   .          : < 486
        1.5   .          : < 486
        3.5   .          : < 486
        7.5   .          : < 486
        11.5  .          : < 486
        12    > ACK      :
        16    > ACK      :
        16.9  .          :
        17    .          : ServerTerminated
    """)
    assert ladder.stack.transactions == 0
    assert all(flow.remote == CALLER for _, flow in ladder.wire)


def test_refusal_that_is_never_acknowledged_ends_at_timer_h() -> None:
    ladder = Ladder()
    ladder.play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 403  : < 403
        31.9  .          : < 403, < 403, < 403, < 403, < 403, < 403, < 403, < 403, < 403, < 403
        32    .          : Unacknowledged
        40    .          :
    """)
    assert ladder.stack.transactions == 0


def test_retransmitted_invite_gets_the_last_response_again() -> None:
    ladder = Ladder()
    ladder.play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0.1   > INVITE   :
        0.2   reply 100  : < 100
        0.5   > INVITE   : < 100
        0.6   reply 180  : < 180
        1.5   > INVITE   : < 180
        1.6   reply 503  : < 503
        1.7   > INVITE   : < 503
        1.8   > ACK      :
        1.9   > INVITE   :
    """)
    assert ladder.stack.counters.retransmissions["in"] == 5


def test_success_is_never_repeated_by_the_proxy_and_absorbs_the_invite_until_timer_l() -> None:
    Ladder().play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 200  : < 200
        0.5   > INVITE   :
        0.6   reply 200  : < 200
        1     > ACK      : AckReceived
        2     reply 180  :
        2     reply 486  :
        31.9  > INVITE   :
        32    .          : ServerTerminated
        33    > INVITE   : RequestReceived
    """)


def test_provisional_after_a_final_response_is_not_sent() -> None:
    Ladder().play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 404  : < 404
        0.1   reply 180  :
        0.1   reply 200  :
        0.1   reply 486  :
        0.2   > INVITE   : < 404
    """)


def test_ack_that_matches_nothing_goes_up() -> None:
    Ladder().play("""
        0     > ACK      : AckReceived
    """)


# --- CANCEL (§9) ---


def test_cancel_is_answered_at_once_and_passed_up_once() -> None:
    Ladder().play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 100  : < 100
        1     > CANCEL   : < 200, CancelReceived
        1.5   > CANCEL   : < 200
        1.6   reply 487  : < 487
        1.7   > CANCEL   : < 200
        1.8   > ACK      :
    """)


def test_cancel_after_the_answer_changes_nothing() -> None:
    Ladder().play("""
        0     > INVITE   : RequestReceived
        0     accept     :
        0     reply 200  : < 200
        1     > CANCEL   : < 200
    """)


def test_cancel_without_an_invite_is_481() -> None:
    Ladder().play("""
        0     > CANCEL   : < 481
    """)


def test_our_cancel_waits_for_a_provisional_response() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE             : < INVITE
        0.1   cancel SIP;cause=200    :
        0.5   .                       : < INVITE
        0.6   > 100                   : < CANCEL, ResponseReceived
        0.7   > 200 CANCEL            :
        0.8   > 487                   : < ACK, ResponseReceived
    """)
    cancel = ladder.sent["CANCEL"]
    assert b"\r\nReason: SIP;cause=200\r\n" in cancel
    assert b"\r\nCSeq: 7 CANCEL\r\n" in cancel
    assert b"\r\nRoute: <sip:198.51.100.7;lr>\r\n" in cancel
    assert cancel.count(b"\r\nVia:") == 1


def test_our_cancel_goes_at_once_after_a_provisional_response_and_only_once() -> None:
    Ladder().play("""
        0     send INVITE   : < INVITE
        0.1   > 180         : ResponseReceived
        0.2   cancel        : < CANCEL
        0.3   cancel        :
        0.7   .             : < CANCEL
        0.8   > 200 CANCEL  :
        0.9   > 183         : ResponseReceived
        9     cancel        :
    """)


def test_cancelled_invite_without_final_response_times_out() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE   : < INVITE
        0.1   > 180         : ResponseReceived
        1     cancel        : < CANCEL
        1.1   > 200 CANCEL  :
        32.9  > 180         : ResponseReceived
        33    .             : ClientTimedOut
    """)
    assert ladder.stack.transactions == 0


def test_cancel_crossing_the_answer_leaves_the_answer_in_force() -> None:
    Ladder().play("""
        0     send INVITE   : < INVITE
        0.1   > 180         : ResponseReceived
        0.2   cancel        : < CANCEL
        0.3   > 200         : ResponseReceived
        0.4   > 481 CANCEL  :
        0.5   cancel        :
    """)


# --- INVITE client transaction (§17.1.1) ---


def test_silent_provider_sees_the_invite_seven_times_until_timer_b() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE   : < INVITE
        0.5   .             : < INVITE
        1.5   .             : < INVITE
        3.5   .             : < INVITE
        7.5   .             : < INVITE
        15.5  .             : < INVITE
        31.5  .             : < INVITE
        32    .             : ClientTimedOut
        99    .             :
    """)
    assert ladder.stack.transactions == 0
    assert ladder.stack.counters.retransmissions["out"] == 6


def test_timeout_replaces_timer_b_until_a_provisional_response() -> None:
    Ladder().play("""
        0     send INVITE timeout=2  : < INVITE
        1.9   .                      : < INVITE, < INVITE
        2     .                      : ClientTimedOut
    """)
    Ladder().play("""
        0     send INVITE timeout=2  : < INVITE
        0.1   > 100                  : ResponseReceived
        300   .                      :
    """)


def test_failure_is_acknowledged_by_us_each_time_and_passed_up_once() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE   : < INVITE
        0.1   > 100         : ResponseReceived
        0.2   > 486         : < ACK, ResponseReceived
        0.7   > 486         : < ACK
        32.1  > 486         : < ACK
        32.2  .             :
        33    > 486         :
    """)
    ack = ladder.sent["ACK"]
    assert ack.startswith(b"ACK sip:+442071838750@198.51.100.7 SIP/2.0\r\n")
    assert b"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKproxy1\r\n" in ack
    assert ack.count(b"Via:") == 1
    assert b"\r\nRoute: <sip:198.51.100.7;lr>\r\n" in ack
    assert b"\r\nTo: <sip:+442071838750@192.0.2.1>;tag=b1\r\n" in ack
    assert b"\r\nCSeq: 7 ACK\r\n" in ack
    assert ladder.stack.counters.stray == 1


def test_every_success_goes_up_until_timer_m() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE   : < INVITE
        0.1   > 200         : ResponseReceived
        0.6   > 200         : ResponseReceived
        1     > 180         :
        1     > 486         :
        32    > 200         : ResponseReceived
        32.1  .             :
        33    > 200         :
    """)
    assert ladder.stack.transactions == 0


# --- non-INVITE transactions (§17.1.2, §17.2.2) ---


def test_non_invite_request_is_sent_again_up_to_t2_until_timer_f() -> None:
    Ladder().play("""
        0     send BYE   : < BYE
        0.5   .          : < BYE
        1.5   .          : < BYE
        3.5   .          : < BYE
        7.5   .          : < BYE
        11.5  .          : < BYE
        31.9  .          : < BYE, < BYE, < BYE, < BYE, < BYE
        32    .          : ClientTimedOut
    """)


def test_non_invite_after_a_provisional_response_is_sent_every_t2() -> None:
    Ladder().play("""
        0     send BYE   : < BYE
        0.1   > 100      : ResponseReceived
        0.5   .          : < BYE
        4.4   .          :
        4.5   .          : < BYE
        8.5   .          : < BYE
        9     > 200      : ResponseReceived
        9.1   > 200      :
        14    .          :
        15    > 200      :
    """)


def test_non_invite_server_absorbs_then_answers_again_until_timer_j() -> None:
    Ladder().play("""
        0     > BYE      : RequestReceived
        0     accept     :
        0.5   > BYE      :
        1     reply 200  : < 200
        1.5   > BYE      : < 200
        1.6   reply 481  :
        32.9  > BYE      : < 200
        33.1  > BYE      : RequestReceived
    """)


def test_no_408_and_nothing_else_once_the_sender_of_a_non_invite_has_given_up() -> None:
    ladder = Ladder()
    ladder.play("""
        0     > BYE      : RequestReceived
        0     accept     :
        10    reply 100  : < 100
        11    > BYE      : < 100
        32    .          :
        33    reply 200  :
    """)
    assert ladder.stack.transactions == 0
    ladder = Ladder()
    ladder.play("""
        0     > BYE      : RequestReceived
        0     accept     :
        31.9  > BYE      :
        32    .          :
    """)
    assert ladder.stack.transactions == 0


# --- over TCP and TLS nothing is sent again, and nothing lingers ---


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_reliable_transports_have_no_retransmissions_and_no_lingering(transport: str) -> None:
    ladder = Ladder(transport)
    ladder.play("""
        0     > INVITE    : RequestReceived
        0     accept      :
        0     reply 486   : < 486
        31    > ACK       :
        31    .           : ServerTerminated
    """)
    ladder = Ladder(transport)
    ladder.play("""
        0     send INVITE : < INVITE
        31    > 486       : < ACK, ResponseReceived
        31    .           :
    """)
    assert ladder.stack.transactions == 0
    ladder = Ladder(transport)
    ladder.play("""
        0     send BYE    : < BYE
        30    > 200       : ResponseReceived
        30    .           :
    """)
    assert ladder.stack.transactions == 0


def test_accepted_states_linger_over_reliable_transports_too() -> None:
    Ladder("tcp").play("""
        0     send INVITE : < INVITE
        1     > 200       : ResponseReceived
        32    > 200       : ResponseReceived
        34    > 200       :
    """)


def test_broken_link_fails_what_waits_for_a_response() -> None:
    Ladder("tcp").play("""
        0     send INVITE : < INVITE
        1     link down   : TransportFailed
        1     link down   :
        5.9   .           :
        6     > 200       :
    """)


def test_broken_link_is_listened_past_for_a_while() -> None:
    """The far end opens another connection for its responses (RFC 3261 §18.2.2)."""
    ladder = Ladder("tcp")
    ladder.play("""
        0     send INVITE timeout=6 : < INVITE
        1     link down   : TransportFailed
        20    > 180       : < CANCEL, ResponseReceived
        21    > 200       : ResponseReceived
        100   .           :
    """)
    assert ladder.stack.transactions == 0


def test_silent_target_is_listened_to_until_64_t1() -> None:
    """A user that went on after 6 s: nothing is sent again, and what still comes is cleared up."""
    ladder = Ladder()
    ladder.play("""
        0     send INVITE timeout=6 : < INVITE
        5     .           : < INVITE, < INVITE, < INVITE
        6     .           : ClientTimedOut
        31    > 100       : < CANCEL, ResponseReceived
        31.1  > 200 CANCEL :
        31.2  > 487       : < ACK, ResponseReceived
        80    .           :
    """)
    assert ladder.stack.transactions == 0
    cancel = next(data for data, _ in ladder.wire if data.startswith(b"CANCEL"))
    assert b'Reason: SIP;cause=408;text="Request Timeout"' in cancel


@pytest.mark.parametrize(
    ("status", "brings"), [("200", "ResponseReceived"), ("486", "< ACK, ResponseReceived")]
)
def test_late_final_answer_of_a_silent_target(status: str, brings: str) -> None:
    ladder = Ladder()
    ladder.play(f"""
        0     send INVITE timeout=2 : < INVITE
        2     .           : < INVITE, < INVITE, ClientTimedOut
        30    > {status}  : {brings}
        80    .           :
    """)
    assert ladder.stack.transactions == 0


def test_silent_target_is_forgotten_at_64_t1() -> None:
    ladder = Ladder()
    ladder.play("""
        0     send INVITE timeout=2 : < INVITE
        2     .           : < INVITE, < INVITE, ClientTimedOut
        31.9  .           :
        32    .           :
        32.1  > 200       :
    """)
    assert ladder.stack.transactions == 0
    Ladder("tcp").play("""
        0     send INVITE : < INVITE
        1     > 486       : < ACK, ResponseReceived
        1     link down   :
    """)
