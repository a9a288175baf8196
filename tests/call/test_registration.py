"""Registrations, with time in the test's hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from proxy.call.registration import Registrations
from proxy.sip.message import SipRequest
from tests.call.playbook import CARRIER, STRANGER, Playbook, answer, policy
from tests.call.test_provider_login import challenge, is_right

LOGIN = {"username": "customer 7", "password": "secret", "realm": "carrier", "register_seconds": 600}


class Registered:
    def __init__(self, **provider: Any) -> None:
        self.play = Playbook(policy(provider={**LOGIN, **provider}))
        self.registrations = Registrations(self.play.core)
        self.keep()

    def keep(self, **provider: Any) -> None:
        if provider:
            self.play.store.replace(policy(provider={**LOGIN, **provider}))
        self.registrations.keep(self.play.store.policy.providers.values(), self.play.now)
        self.play.pump()

    def request(self) -> SipRequest:
        found = self.play.last(CARRIER)
        assert isinstance(found, SipRequest)
        assert found.method == b"REGISTER"
        return found

    def answer(self, status: int, extra: str = "", contact: str = "") -> None:
        self.play.receive(answer(self.request(), status, extra=extra, contact=contact), CARRIER)

    def log_in(self, **more: Any) -> None:
        self.play.receive(challenge(self.request(), 401), CARRIER)
        self.answer(200, **more)

    def left(self) -> float:
        return self.registrations.seconds_left(self.play.now)["carrier"]

    def sent(self) -> int:
        return sum("REGISTER" in label for label in self.play.take())


def test_it_registers_with_credentials_and_the_next_cseq() -> None:
    it = Registered()
    first = it.request()
    assert first.uri == b"sip:127.0.0.3:5090"
    assert first.first(b"to") == b"<sip:customer%207@127.0.0.3:5090>"
    assert first.first(b"contact") == b"<sip:customer%207@127.0.0.1:5060>"
    assert first.first(b"expires") == b"600"
    assert it.left() == 0
    it.play.receive(challenge(first, 401), CARRIER)
    again = it.request()
    assert (again.call_id, again.cseq, again.from_tag) == (first.call_id, first.cseq + 1, first.from_tag)
    assert is_right(again, b"authorization", "n-1")
    it.answer(200)
    assert it.left() == 600


@pytest.mark.parametrize(
    ("extra", "contact", "seconds"),
    [
        ("Expires: 120", "", 120),
        ("Expires: 120", "sip:customer%207@127.0.0.1:5060>;expires=90;x=<", 120),
        ("Contact: <sip:customer%207@127.0.0.1:5060>;expires=300", "", 300),
        ("Contact: <sip:other@192.0.2.9>;expires=20, <sip:customer%207@127.0.0.1:5060>;expires=300", "", 300),
        ("Expires: -1", "", 0),
        ("Expires: 99999999999", "", 0),
    ],
)
def test_it_lasts_as_long_as_the_provider_says(extra: str, contact: str, seconds: int) -> None:
    it = Registered()
    it.log_in(extra=extra, contact=contact)
    assert it.left() == seconds


def test_it_is_kept_up() -> None:
    it = Registered()
    it.log_in()
    it.play.take()
    it.play.pass_time(475)
    assert it.sent() == 0
    it.play.pass_time(10)
    assert it.left() > 0
    it.log_in()
    assert it.left() == 600


def test_failures_are_tried_again_ever_more_seldom() -> None:
    it = Registered()
    times = []
    for _ in range(7):
        it.answer(503)
        start = it.play.now
        it.play.sent.clear()
        while not it.play.sent:
            it.play.pass_time(1)
        times.append(it.play.now - start)
    assert 22 <= times[0] <= 32
    assert all(later >= earlier * 0.7 for earlier, later in pairwise(times))
    assert 440 <= times[-1] <= 602
    it.answer(200)
    assert it.left() == 600


def test_a_wrong_password_is_not_hammered() -> None:
    it = Registered()
    it.play.receive(challenge(it.request(), 401), CARRIER)
    it.play.receive(challenge(it.request(), 401), CARRIER)
    it.play.take()
    it.play.pass_time(20)
    assert it.sent() == 0
    assert it.left() == 0


def test_silence_is_a_failure() -> None:
    it = Registered()
    it.play.pass_time(33)
    it.play.take()
    it.play.pass_time(32)
    assert it.sent() >= 1
    assert it.left() == 0


def test_too_brief_and_retry_after() -> None:
    it = Registered()
    it.answer(423, extra="Min-Expires: 1800")
    assert it.request().first(b"expires") == b"1800"
    it.answer(503, extra="Retry-After: 300 (maintenance)")
    it.play.take()
    it.play.pass_time(220)
    assert it.sent() == 0
    it.play.pass_time(90)
    assert it.sent() >= 1


def test_what_is_changed_registers_anew_and_what_is_gone_runs_out() -> None:
    it = Registered()
    it.log_in()
    it.play.take()
    it.keep(register_seconds=900)
    assert it.request().first(b"expires") == b"900"
    it.keep(register_seconds=0)
    assert it.registrations.seconds_left(it.play.now) == {}
    it.play.take()
    it.play.pass_time(1000)
    assert it.sent() <= 11  # copies of the last one, which nobody answered
    it.play.pass_time(1000)
    assert it.sent() == 0


def test_only_the_provider_may_answer() -> None:
    it = Registered(networks=["127.0.0.3"])
    forged = answer(it.request(), 200)
    it.play.receive(forged, STRANGER)
    assert it.left() == 0
