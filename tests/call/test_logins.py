"""Digest trunks as a ladder: 407, the answer, the call; and what gets round none of it."""

from __future__ import annotations

from typing import Any

import pytest

from policy.reasons import ReasonCode
from proxy.call.core import CallSettings
from proxy.sip.message import SipRequest, SipResponse
from tests.call.playbook import CARRIER, PBX, SDP, STRANGER, Playbook, policy
from tests.digest_caller import answer, challenge_of

LONDON = "sip:+442079460123@127.0.0.1"
USER = {"auth": "digest", "allowed_sip_ips": [], "username": "road", "password": "wide open"}
HOME = {**USER, "auth": "ip_and_digest", "allowed_sip_ips": ["127.0.0.2"]}


def invite(
    number: int = 1, credentials: str = "", *, uri: str = LONDON, extra: str = "", body: bytes = SDP
) -> bytes:
    line = f"Proxy-Authorization: {credentials}\r\n" if credentials else ""
    head = (
        f"INVITE {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.9:5099;branch=z9hG4bK-d{number};rport\r\n"
        "Max-Forwards: 70\r\n"
        'From: "Road" <sip:road@127.0.0.9>;tag=r1\r\n'
        f"To: <{uri}>\r\n"
        f"Call-ID: road-{number}@127.0.0.9\r\n"
        f"CSeq: {number} INVITE\r\n"
        "Contact: <sip:road@127.0.0.9:5099>\r\n"
        f"{line}{extra}"
        "Content-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Caller:
    """A user at `source` of a proxy with digest trunks."""

    def __init__(self, trunk: dict[str, Any] | None = None, source: tuple[str, int] = STRANGER, **more: Any):
        settings = more.pop("settings", None)
        self.book = Playbook(policy(trunk=trunk or USER, **more), settings=settings)
        self.source = source
        self.number = 0

    def send(self, credentials: str = "", **more: Any) -> SipResponse | None:
        """A new INVITE; the answer, None where there is none, or the call went on."""
        self.number += 1
        self.book.take()
        self.book.receive(invite(self.number, credentials, **more), self.source)
        answers = [message for to, message, _ in self.book.sent if to == self.source]
        return next((each for each in answers if isinstance(each, SipResponse) and each.status != 100), None)

    def challenge(self, at: int = 0) -> dict[str, str]:
        """A fresh challenge."""
        response = self.send()
        assert response is not None
        assert response.status == 407
        return challenge_of(response.all(b"proxy-authenticate")[at].decode())

    def call(self, username: str = "road", password: str = "wide open", **more: Any) -> int:
        """Challenge and answer; the status, 0 where the call went on to the provider."""
        at = more.pop("at", 0)
        credentials = answer(self.challenge(at), username, password, "INVITE", LONDON, **more)
        return self.status(credentials)

    def status(self, credentials: str, **more: Any) -> int:
        response = self.send(credentials, **more)
        if response is not None:
            assert not self.at_provider()
            return response.status
        return 0 if self.at_provider() else -1

    def at_provider(self) -> list[SipRequest]:
        return [message for to, message, _ in self.book.sent if to == CARRIER]  # type: ignore[misc]

    def is_stale(self) -> bool:
        message = self.book.last(self.source)
        return all(b"stale=true" in value for value in message.all(b"proxy-authenticate"))


def test_a_call_with_credentials() -> None:
    caller = Caller()
    challenge = caller.challenge()
    assert challenge["realm"] == "trunkwarden"
    assert (challenge["algorithm"], challenge["qop"]) == ("SHA-256", "auth,auth-int")
    assert caller.book.commands == ["StrangerRefused"]
    assert caller.book.stack.transactions == 0
    assert not caller.is_stale()
    assert caller.status(answer(challenge, "road", "wide open", "INVITE", LONDON)) == 0
    # What answered our challenge stays here (RFC 3261 §22.3).
    assert caller.at_provider()[0].first(b"proxy-authorization") is None


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize(("at", "algorithm"), [(0, "SHA-256"), (1, "SHA-512-256"), (2, "MD5")])
def test_every_algorithm_and_qop(at: int, algorithm: str, qop: str) -> None:
    caller = Caller(digest={"algorithms": ["SHA-256", "SHA-512-256", "MD5"]})
    body = SDP + b"a=sendrecv\r\n" * 30
    response = caller.send(body=body)
    assert response is not None
    challenge = challenge_of(response.all(b"proxy-authenticate")[at].decode())
    assert challenge["algorithm"] == algorithm
    credentials = answer(challenge, "road", "wide open", "INVITE", LONDON, qop=qop, body=body)
    assert caller.status(credentials, body=body) == 0


def test_a_small_request_is_asked_with_fewer_algorithms() -> None:
    caller = Caller(digest={"algorithms": ["SHA-256", "SHA-512-256", "MD5"]})
    response = caller.send(extra="Subject: small\r\n")
    assert response is not None
    offered = [challenge_of(value.decode())["algorithm"] for value in response.all(b"proxy-authenticate")]
    assert offered == ["SHA-256", "MD5"]


def test_md5_is_an_option_that_is_off() -> None:
    caller = Caller()
    response = caller.send()
    assert response is not None
    assert len(response.all(b"proxy-authenticate")) == 2
    challenge = {**caller.challenge(), "algorithm": "MD5"}
    assert caller.status(answer(challenge, "road", "wide open", "INVITE", LONDON)) == 403


def test_a_stored_ha1_does() -> None:
    from policy.digest import ha1

    stored = ha1("SHA-256", "road", "trunkwarden", "wide open").decode()
    trunk = {**USER, "ha1": stored}
    del trunk["password"]
    assert Caller(trunk).call() == 0
    assert Caller(trunk).call(password="wrong") == 403


CHANGES: list[dict[str, Any]] = [
    {"password": "wrong"},
    {"username": "nobody"},
    {"username": ""},
    {"response": ""},
    {"qop": "auth-conf"},
    {"nc": "1"},
    {"cnonce": ""},
    {"algorithm": "SHA-256-sess"},
    {"algorithm": "none"},
    {"username*": "UTF-8''road"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_looks_the_same_whatever_it_is(change: dict[str, Any]) -> None:
    wrong, unknown = Caller(), Caller()
    answers = []
    for caller, changes in ((wrong, change), (unknown, {"username": "somebody-else"})):
        challenge = caller.challenge()
        who = {
            "username": "road",
            "password": "wide open",
            **{key: value for key, value in changes.items() if key in ("username", "password")},
        }
        rest = {key: value for key, value in changes.items() if key not in who}
        credentials = answer(challenge, who["username"], who["password"], "INVITE", LONDON, **rest)
        assert caller.status(credentials) == 403
        answers.append(caller.book.last_bytes(STRANGER))
        assert caller.book.core.authenticator.counts["refused"] == 1
        assert caller.book.stack.transactions == 0
    assert answers[0] == answers[1]
    assert b"SOURCE Source Not Authorized" in answers[0]


def test_auth_int_holds_the_body() -> None:
    caller = Caller()
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON, qop="auth-int", body=SDP)
    assert caller.status(credentials, body=SDP.replace(b"127.0.0.2", b"127.0.0.3")) == 403


def test_credentials_for_one_number_pay_for_no_other() -> None:
    caller = Caller()
    challenge = caller.challenge()
    credentials = answer(challenge, "road", "wide open", "INVITE", LONDON)
    assert caller.status(credentials, uri="sip:+12025550123@127.0.0.1") == 403
    for_host = answer(challenge, "road", "wide open", "INVITE", "sip:127.0.0.1")
    assert caller.status(for_host) == 403
    same = answer(challenge, "road", "wide open", "INVITE", LONDON + ";user=phone")
    assert caller.status(same) == 0


def test_a_nonce_is_used_once_for_each_count() -> None:
    caller = Caller()
    challenge = caller.challenge()
    first = answer(challenge, "road", "wide open", "INVITE", LONDON)
    assert caller.status(first) == 0
    assert caller.status(first) == 407
    assert caller.is_stale()
    other = answer(challenge, "road", "wide open", "INVITE", "sip:+12025550123@127.0.0.1")
    assert caller.status(other, uri="sip:+12025550123@127.0.0.1") == 407
    assert caller.is_stale()
    second = answer(challenge, "road", "wide open", "INVITE", LONDON, count=2)
    assert caller.status(second) == 0


def test_a_refused_call_uses_its_nonce_up_too() -> None:
    caller = Caller(trunk={**USER, "destination_whitelist": ["us"]})
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    assert caller.status(credentials) == 403
    assert caller.book.commands[-1] == "Refused"
    assert caller.status(credentials) == 407
    assert caller.is_stale()


def test_an_old_nonce_is_stale_whoever_asks() -> None:
    caller = Caller()
    challenge = caller.challenge()
    caller.book.pass_time(61)
    for user, password in (("road", "wide open"), ("road", "wrong"), ("nobody", "x")):
        assert caller.status(answer(challenge, user, password, "INVITE", LONDON)) == 407
        assert caller.is_stale()
    assert caller.book.core.authenticator.counts["stale"] == 3
    assert caller.book.core.authenticator.counts["refused"] == 0


def test_a_nonce_is_for_one_address() -> None:
    caller = Caller()
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    caller.source = ("127.0.0.10", 5099)
    assert caller.status(credentials) == 407
    assert caller.is_stale()


def test_after_a_restart_a_nonce_is_good_and_with_another_key_stale() -> None:
    caller, restarted = Caller(), Caller()
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    assert restarted.status(credentials) == 0


def test_failures_of_an_address_are_throttled_and_nobody_is_told() -> None:
    caller = Caller()
    counts = caller.book.core.authenticator.counts
    for _ in range(10):
        assert caller.call(password="wrong") == 403
    assert counts["refused"] == 10
    refused = caller.book.last_bytes(STRANGER)
    assert caller.call() == 403  # the right password, too
    assert counts["throttled"] == 1
    assert caller.book.last_bytes(STRANGER)[:60] == refused[:60]
    caller.book.pass_time(12)
    assert caller.call() == 0


def test_forged_packets_lock_nobody_out() -> None:
    caller = Caller()
    for number in range(50):
        credentials = answer(
            {"realm": "trunkwarden", "algorithm": "SHA-256", "nonce": f"{number:032d}"},
            "road", "guess", "INVITE", LONDON,
        )  # fmt: skip
        assert caller.status(credentials) == 407
    assert caller.call() == 0


def test_guesses_from_many_addresses_lock_only_strangers_out() -> None:
    caller = Caller()
    assert caller.call() == 0
    for number in range(20):
        caller.source = (f"127.0.1.{number + 1}", 5099)
        assert caller.call(password=f"guess {number}") == 403
    caller.source = ("127.0.2.1", 5099)
    assert caller.call() == 403
    assert caller.book.core.authenticator.counts["throttled"] == 1
    caller.source = STRANGER  # where the user was right lately
    assert caller.call() == 0


def test_ip_and_digest_wants_both() -> None:
    at_home = Caller(HOME, source=PBX)
    assert at_home.call() == 0
    assert Caller(HOME, source=PBX).call(password="wrong") == 403
    away = Caller(HOME)
    response = away.send()
    assert response is not None
    assert response.status == 403


def test_the_right_password_at_the_wrong_address_is_as_wrong_as_any() -> None:
    """A roaming trunk makes that strangers are asked; the other's user is of its own address alone."""
    roaming = {**USER, "name": "roaming", "provider": "carrier", "destination_whitelist": ["gb"]}
    caller = Caller(HOME)
    config_policy = policy(trunk={**HOME, "username": "home"})
    assert config_policy.roaming == {}
    both = policy_with(roaming)
    caller.book.store.replace(both)
    assert caller.call(username="home") == 403
    right = caller.book.last_bytes(STRANGER)
    assert caller.call(username="home", password="wrong") == 403
    wrong = caller.book.last_bytes(STRANGER)
    assert right.replace(b"2", b"").replace(b"4", b"") == wrong.replace(b"2", b"").replace(b"4", b"")
    assert caller.book.core.authenticator.counts["refused"] == 2
    assert caller.book.core.authenticator.counts["accepted"] == 0
    assert caller.call() == 0


def policy_with(second: dict[str, Any]) -> Any:
    from datetime import UTC, datetime

    from config.model import Config
    from policy.compile import compile_policy

    home = {
        **HOME,
        "name": "home",
        "username": "home",
        "provider": "carrier",
        "destination_whitelist": ["gb"],
    }
    config = Config.model_validate(
        {
            "trunks": [home, second],
            "providers": [{"name": "carrier", "hostname": f"{CARRIER[0]}:{CARRIER[1]}"}],
        }
    )
    return compile_policy(config, {}, version="v", loaded_at=datetime(2026, 1, 1, tzinfo=UTC)).policy


def test_credentials_of_who_is_not_asked_stay_here_too() -> None:
    """A telephone with a login may send it with every call: one to an emergency number, or from an address
    that is enough."""
    other = 'Digest username="x", realm="elsewhere", nonce="n", uri="sip:x", response="0"'
    extra = f"Proxy-Authorization: {other}\r\n"
    at_home = Caller(HOME, source=PBX, emergency={"numbers": ["112"], "providers": ["carrier"]})
    elsewhere = Caller()
    plain = {"name": "plain", "allowed_sip_ips": [STRANGER[0]], "provider": "carrier"}
    elsewhere.book.store.replace(policy_with({**plain, "destination_whitelist": ["gb"]}))
    for caller, uri in ((at_home, "sip:112@127.0.0.1"), (elsewhere, LONDON)):
        credentials = answer(Caller().challenge(), "road", "wide open", "INVITE", uri)
        assert caller.status(credentials, uri=uri, extra=extra) == 0, uri
        assert caller.at_provider()[0].all(b"proxy-authorization") == [other.encode()]


def test_drop_still_asks_and_tells_no_wrong_password_anything() -> None:
    caller = Caller(settings=CallSettings(drop_strangers=True))
    assert caller.call(password="wrong") == -1
    assert caller.call() == 0


def test_credentials_of_other_realms_go_on_and_are_not_looked_at() -> None:
    caller = Caller()
    other = 'Digest username="x", realm="elsewhere", nonce="n", uri="sip:x", response="0"'
    assert caller.status(other) == 407
    extra = f"Proxy-Authorization: {other}\r\nAuthorization: {other}\r\n"
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    assert caller.status(credentials, extra=extra) == 0
    forwarded = caller.at_provider()[0]
    assert forwarded.all(b"proxy-authorization") == [other.encode()]
    assert forwarded.all(b"authorization") == [other.encode()]


def test_authorization_is_for_user_agents_unless_the_operator_asks_with_401() -> None:
    caller = Caller()
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    assert caller.status("", extra=f"Authorization: {credentials}\r\n") == 407
    caller = Caller(refusals={"AUTH": 401})
    response = caller.send()
    assert response is not None
    assert response.status == 401
    challenge = challenge_of(response.all(b"www-authenticate")[0].decode())
    credentials = answer(challenge, "road", "wide open", "INVITE", LONDON)
    assert caller.status("", extra=f"Authorization: {credentials}\r\n") == 0
    assert caller.at_provider()[0].first(b"authorization") is None


def test_the_ledger_may_say_that_another_instance_took_the_nonce() -> None:
    caller = Caller()
    caller.book.admit_all = False
    credentials = answer(caller.challenge(), "road", "wide open", "INVITE", LONDON)
    assert caller.status(credentials) == -1
    assert caller.book.pending[0].use
    caller.book.decide(ReasonCode.AUTH)
    message = caller.book.last(STRANGER)
    assert message.status == 407
    assert caller.is_stale()
    assert not caller.at_provider()


def test_answers_are_no_larger_than_half_again() -> None:
    caller = Caller()
    caller.number += 1
    data = invite(1, body=b"")
    caller.book.receive(data, STRANGER)
    assert caller.book.sent
    assert len(caller.book.last_bytes(STRANGER)) <= 1.5 * len(data)


def test_within_a_dialog_nobody_is_asked_and_credentials_stay_here() -> None:
    caller = Caller()
    assert caller.call() == 0
    forwarded = caller.at_provider()[0]
    ok = (
        b"SIP/2.0 200 OK\r\n"
        + b"\r\n".join(line for name, line in forwarded.headers if name in (b"via", b"record-route"))
        + b"\r\nFrom: " + (forwarded.first(b"from") or b"")
        + b"\r\nTo: " + (forwarded.first(b"to") or b"") + b";tag=c1"
        + b"\r\nCall-ID: " + forwarded.call_id
        + b"\r\nCSeq: %d INVITE\r\n" % forwarded.cseq
        + b"Contact: <sip:callee@127.0.0.3:5090>\r\nContent-Length: 0\r\n\r\n"
    )  # fmt: skip
    caller.book.receive(ok, CARRIER)
    answered = caller.book.last(STRANGER)
    route = answered.first(b"record-route")
    caller.book.take()
    for method, cseq in ((b"ACK", forwarded.cseq), (b"BYE", forwarded.cseq + 1)):
        data = (
            method + b" sip:callee@127.0.0.3:5090 SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 127.0.0.9:5099;branch=z9hG4bK-x" + method + b"\r\n"
            b"Max-Forwards: 70\r\nRoute: " + route + b"\r\nFrom: " + answered.first(b"from") + b"\r\n"
            b"To: " + answered.first(b"to") + b"\r\nCall-ID: " + answered.call_id + b"\r\n"
            b"CSeq: %d " % cseq + method + b"\r\n"
            b'Proxy-Authorization: Digest username="road", realm="trunkwarden", nonce="x"\r\n'
            b"Content-Length: 0\r\n\r\n"
        )
        caller.book.receive(data, STRANGER)
        assert caller.at_provider()[-1].method == method
        assert caller.at_provider()[-1].first(b"proxy-authorization") is None
