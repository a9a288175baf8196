from __future__ import annotations

import pytest

from policy.reasons import REFUSALS, ReasonCode

CONTRACT = [
    ("SOURCE", 403, "Source Not Authorized", 21, None),
    ("AUTH", 407, "Proxy Authentication Required", None, None),
    ("DISABLED", 403, "Outbound Calling Is Disabled", 21, None),
    ("NUMBER", 484, "Address Incomplete", 28, None),
    ("COUNTRY", 403, "Destination Country Not Whitelisted", 21, None),
    ("COUNTRY_UNKNOWN", 403, "Destination Country Unknown", 21, None),
    ("PREFIX", 403, "Destination Prefix Rejected", 21, None),
    ("CLI", 403, "Caller Identity Not Allowed", 21, None),
    ("RATE", 403, "Maximum Destination Rate Exceeded", 21, None),
    ("NO_RATE", 403, "No Rate Found", 21, None),
    ("WINDOW", 403, "Outside Calling Window", 21, None),
    ("SPEND", 403, "Spend Limit Reached", 21, None),
    ("CAPACITY", 403, "Channel Limit Exceeded", 34, None),
    ("CPS", 503, "Calls Per Second Exceeded", 42, 1),
    ("MEDIA", 488, "Not Acceptable Here", 88, None),
    ("ROUTE", 404, "No Route", 3, None),
    ("LEDGER", 503, "Ledger Unavailable", 41, 2),
    ("DRAINING", 503, "Service Unavailable", 42, 5),
    ("OVERLOAD", 503, "Service Unavailable", 42, 5),
]


@pytest.mark.parametrize(("code", "status", "phrase", "cause", "retry_after"), CONTRACT)
def test_what_a_refused_caller_sees(
    code: str, status: int, phrase: str, cause: int | None, retry_after: int | None
) -> None:
    refusal = REFUSALS[ReasonCode(code)]
    assert (refusal.status, refusal.phrase, refusal.cause) == (status, phrase, cause)
    assert refusal.retry_after == retry_after


def test_the_set_is_closed() -> None:
    assert [code for code, *_ in CONTRACT] == [code.value for code in ReasonCode] == list(REFUSALS)
