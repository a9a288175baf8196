"""Numbers that are dressed up, from datagram to datagram: what is judged is what is sent.

An independent reading of the Request-URI at the provider must find an allowed number, whatever came in.
"""

from __future__ import annotations

import re
from typing import Any

import phonenumbers
import pytest

from tests.call.playbook import CARRIER, PBX, Playbook, invite, policy

ALLOWED = "+442071838750"
JAMAICA = "+18765550123"

# What a provider may be sent: nothing but the judged number, at its own host, without a parameter.
_SENT = re.compile(r"sip:(\+[1-9][0-9]{1,14})@127\.0\.0\.3:5090")

PLAN = {"dial_plan": {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}}
FIXTURE: dict[str, Any] = {
    "destination_whitelist": ["us", "gb"],
    "dst_prefixes": {"deny": ["+1900", "+4470", "+4476", "+449"]},
}


def place(uri: str, trunk: dict[str, Any] | None = None, **arguments: Any) -> Playbook:
    play = Playbook(policy(trunk={**FIXTURE, **(trunk or {})}))
    play.receive(invite(uri, to=arguments.pop("to", "sip:x@y"), **arguments))
    return play


def outcome(play: Playbook) -> tuple[int, str | None]:
    """(status, code) of a refusal, or (0, the number at the provider)."""
    invites = [message for to, message, _ in play.sent if to == CARRIER]
    assert all(to in (PBX, CARRIER) for to, _, _ in play.sent)
    assert len(invites) == play.commands.count("Reserve")
    if not invites:
        refused = play.last(PBX)
        warning = refused.first(b"warning")
        return refused.status, None if warning is None else warning.split(b'"')[1].split()[0].decode()
    match = _SENT.fullmatch(invites[0].uri.decode())
    assert match is not None, invites[0].uri
    number = match.group(1)
    region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    assert region in ("US", "GB"), number
    assert not number.startswith(("+1900", "+4470", "+4476", "+449"))
    return 0, number


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+18765550123@127.0.0.1",  # N01
        "sip:+1-876-555-0123@127.0.0.1",  # N03
        "sip:+1(876)555.0123@127.0.0.1",
        "tel:+1-876-555-0123",
        "tel:8765550123;phone-context=+1",
        "sip:8765550123;phone-context=+1@127.0.0.1;user=phone",
        "sip:%2B18765550123@127.0.0.1",  # N04
        "sip:+1%3876%35550123@127.0.0.1",
        "SIP:+18765550123@127.0.0.1",  # N10
        "sip:+18765550123:secret@127.0.0.1",
        "sip:+18765550123@127.0.0.1;user=ip",
        "sip:+18765550123@127.0.0.1;user=phone",
        "sip:+18765550123@[::1]:5060",
        "sips:+18765550123@127.0.0.1",
        "sip:+18765550123@[2001:db8::1];maddr=127.0.0.9;transport=tcp",
        "sip:+18765550123;rn=+442071838750@127.0.0.1",
        "sip:+18765550123;npdi;cic=+440@127.0.0.1",
    ],
)
def test_one_country_however_it_is_written(uri: str) -> None:
    assert outcome(place(uri)) == (403, "COUNTRY")


@pytest.mark.parametrize(
    "uri", ["sip:0018765550123@x", "sip:00-1876.555.0123@x", "tel:0018765550123;phone-context=x"]
)
def test_dial_plan_reads_or_nothing_does(uri: str) -> None:
    """N02."""
    assert outcome(place(uri, PLAN)) == ((403, "COUNTRY") if "context" not in uri else (484, "NUMBER"))
    assert outcome(place(uri)) == (484, "NUMBER")


@pytest.mark.parametrize("user", ["18765550123", "8765550123", "0118765550123", "011%2018765550123"])
@pytest.mark.parametrize("plan", [{}, PLAN])
def test_what_no_plan_reads_is_never_guessed(user: str, plan: dict[str, Any]) -> None:
    """N02."""
    status, code = outcome(place(f"sip:{user}@x", plan))
    assert (status, code) == (484, "NUMBER") or code in ("COUNTRY_UNKNOWN", "COUNTRY")


@pytest.mark.parametrize(
    "uri",
    [
        "tel:2071838750;phone-context=example.com",  # N03
        "sip:2071838750;phone-context=example.com@x",
        "sip:%252B442071838750@x",  # N04
        "sip:++1@x",  # N06
        "sip:+01@x",
        "sip:00+1@x",
        "sip:x",
        "sip:@x",
        "sip:+1234567890123456@x",
        "sip:+44207183875a@x",
        "sip:*72%2B442071838750@x",
        "sip:+442071838750;ext=900@x",
        "sip:+442071838750;postd=pp19005550100@x",
        "sip:+442071838750;isub=1@x",
        "tel:+442071838750;ext=900",
        "sip:+442071838750,19005550100@x",
        "sip:+442071838750&+19005550100@x",
        "sip:+442071838750%00@x",
        "sip:+442071838750%0D%0AX@x",
        "sip:%EF%BC%8B442071838750@x",  # a full-width plus
        "sip:%D9%A4%D9%A4@x",  # Arabic digits
    ],
)
def test_what_is_no_number_is_484(uri: str) -> None:
    status, code = outcome(place(uri))
    assert (status, code) in ((484, "NUMBER"), (400, None))


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+442071838750@evil;maddr=127.0.0.9;transport=tcp",  # R04
        "sip:+442071838750@127.0.0.9:5066;lr",
        "sip:+442071838750@x?Route=%3Csip:127.0.0.9%3E&Replaces=a%3Bto-tag%3Db",  # R05
        "sip:+442071838750;phone-context=+1@x",
        "tel:+44-20-7183-8750;rn=+19005550100;npdi",
        "sip:+442071838750;tgrp=evil;trunk-context=127.0.0.9@x",
        "sip:+442071838750:19005550100@x",
    ],
)
def test_what_comes_with_an_allowed_number_is_left_behind(uri: str) -> None:
    assert outcome(place(uri)) == (0, ALLOWED)


def test_request_uri_decides() -> None:
    """N09."""
    assert outcome(place(f"sip:{ALLOWED}@x", to="sip:+19005550100@x")) == (0, ALLOWED)
    assert outcome(place("sip:+19005550100@x", to=f"sip:{ALLOWED}@x")) == (403, "PREFIX")


@pytest.mark.parametrize("number", ["+19005550100", "+447011234567", "+447640123456", "+449012345678"])
def test_denied_prefixes(number: str) -> None:
    assert outcome(place(f"sip:{number}@x")) == (403, "PREFIX")


@pytest.mark.parametrize(
    ("number", "codes"),
    [
        ("+870772001234", {"COUNTRY_UNKNOWN"}),
        ("+881612345678", {"COUNTRY_UNKNOWN"}),
        ("+882161234567", {"COUNTRY_UNKNOWN"}),
        ("+883510012345", {"COUNTRY_UNKNOWN"}),
        ("+979123456789", {"COUNTRY_UNKNOWN"}),
        ("+77012345678", {"COUNTRY"}),  # Kazakhstan
        ("+79161234567", {"COUNTRY"}),  # Russia
        ("+390669812345", {"COUNTRY"}),  # Vatican
        ("+441534456789", {"COUNTRY"}),  # Jersey, not the United Kingdom
        ("+441481256789", {"COUNTRY"}),  # Guernsey
        ("+441624756789", {"COUNTRY"}),  # Isle of Man
        ("+17875550123", {"COUNTRY"}),  # Puerto Rico, not the United States
        ("+13405550123", {"COUNTRY"}),  # Virgin Islands
        ("+16715550123", {"COUNTRY"}),  # Guam
        ("+14165550123", {"COUNTRY"}),  # Canada
        ("+18095550123", {"COUNTRY"}),
        ("+2105550123", {"COUNTRY_UNKNOWN"}),  # not allocated
    ],
)
def test_region_and_not_calling_code(number: str, codes: set[str]) -> None:
    """N11."""
    status, code = outcome(place(f"sip:{number}@x"))
    assert status == 403
    assert code in codes


def test_tls_that_the_provider_cannot_give_is_not_left_out() -> None:
    """N10, RFC 5630: the same policy, and then TLS onward or nothing."""
    assert outcome(place("sips:+19005550100@x")) == (403, "PREFIX")
    assert outcome(place(f"sips:{ALLOWED}@x")) == (404, "ROUTE")


@pytest.mark.parametrize(
    "lines",
    [
        "Expires: -1",
        "Expires: 2147483648",
        "Expires: soon",
        "Session-Expires: -1;refresher=uac",
        "Session-Expires: 99999999999999999999",
        "Session-Expires: \x01",
        "Min-SE: 4294967296",
        "Retry-After: -1",
        "Timestamp: NaN",
        "Content-Type: /",
        "Contact: garbage",
        "Contact: *",
        "Contact: <mailto:x@y>",
        "Contact: <sip:>",
        "Record-Route: garbage",
        "Record-Route: <sip:\xff;lr>,,,",
        "Reason: \t",
        "Privacy: ;;;",
        "Max-Breadth: x",
        "Subject: \x7f\x1b[31m",
    ],
)
def test_values_that_mean_nothing_do_no_harm(lines: str) -> None:
    """C13, O01."""
    play = Playbook()
    data = invite().replace(b"Contact: <sip:alice@127.0.0.2:5070>\r\n", b"")
    play.receive(data.replace(b"Max-Forwards", lines.encode("latin-1") + b"\r\nMax-Forwards"))
    assert "carrier <- INVITE" in play.take()


@pytest.mark.parametrize(
    "name", ["From: <sip:a@b>;tag=2", "To: <sip:a@b>", "Call-ID: 2", "CSeq: 2 INVITE", "i: 2"]
)
def test_what_may_stand_once_stands_once(name: str) -> None:
    """F05."""
    play = Playbook()
    play.receive(invite(extra=name + "\r\n"))
    assert play.take() == ["pbx <- 400 (INVITE)"]


@pytest.mark.parametrize(
    "lines", ["Content-Length: 5\r\nl: 6", "Content-Length: +5", "Content-Length: 0x5", "Content-Length: 5,5"]
)
def test_lengths_that_disagree(lines: str) -> None:
    """F03 over UDP."""
    play = Playbook()
    data = invite(body=b"hello").replace(b"Content-Length: 5", lines.encode())
    play.receive(data)
    assert play.take() == ["pbx <- 400 (INVITE)"]
