"""Timer values: RFC 3261 appendix A, RFC 4320."""

from __future__ import annotations

import pytest

from proxy.sip.timers import Timers
from tests.playbook import Ladder


def test_defaults_are_the_standard_s() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.timeout) == (0.5, 4.0, 5.0, 32.0)


def test_a_100_to_a_non_invite_waits_until_timer_e_reaches_t2() -> None:
    assert Timers().non_invite_trying == 3.5
    assert Timers(t1=4.0).non_invite_trying == 0.0


@pytest.mark.parametrize(("t1", "t2", "t4"), [(0, 4, 5), (-1, 4, 5), (5, 4, 5), (0.5, 4, 0)])
def test_values_that_make_no_sense_are_refused(t1: float, t2: float, t4: float) -> None:
    with pytest.raises(ValueError, match="timers need"):
        Timers(t1, t2, t4)


def test_everything_follows_from_t1() -> None:
    Ladder(timers=Timers(t1=0.125, t2=0.5, t4=0.5)).play("""
        0      send INVITE : < INVITE
        0.125  .           : < INVITE
        0.375  .           : < INVITE
        7.9    .           : < INVITE, < INVITE, < INVITE, < INVITE
        8      .           : ClientTimedOut
    """)


def test_timer_d_is_no_shorter_than_32_seconds() -> None:
    ladder = Ladder(timers=Timers(t1=0.1))
    ladder.play("""
        0    send INVITE   : < INVITE
        0    > 486         : < ACK, ResponseReceived
        31.9 > 486         : < ACK
        32.1 > 486         :
    """)
