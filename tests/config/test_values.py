"""Scalars: the text of the file and the Python value give the same, everything else is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import phonenumbers
import pytest
from pydantic import TypeAdapter, ValidationError

from config import values
from policy.reasons import ReasonCode


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (values.Flag, "true", True),
        (values.Flag, "YES", True),
        (values.Flag, "on", True),
        (values.Flag, "False", False),
        (values.Flag, "no", False),
        (values.Flag, "off", False),
        (values.Flag, True, True),
        (values.Country, "no", "NO"),
        (values.Country, "gB", "GB"),
        (values.Country, "xk", "XK"),
        (values.Capacity, "0", 0),
        (values.Capacity, "007", 7),
        (values.Capacity, 32767, 32767),
        (values.Amount, "100.10", Decimal("100.10")),
        (values.Amount, "0.0000010", Decimal("0.000001")),
        (values.Amount, 5, Decimal(5)),
        (values.Amount, Decimal("1E+1"), Decimal(10)),
        (values.Price, "0.000000001", Decimal("0.000000001")),
        (values.NumberPrefix, "+1900", "+1900"),
        (values.TrunkTechPrefix, "0011#", "0011#"),
        (values.ProviderAffix, "", ""),
        (values.Name, "Office-PBX_1.a", "Office-PBX_1.a"),
        (values.Currency, "EUR", "EUR"),
    ],
)
def test_what_is_read(kind: Any, value: object, expected: object) -> None:
    got = read(kind, value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((values.Flag, value) for value in ("1", "t", "y", "", 1, None, [])),
        *((values.Country, value) for value in ("u", "usa", "uk", "ZZ", "", None, 1, "u\u017f")),
        *(
            (values.Capacity, value)
            for value in ("1_0", "1.0", " 1", "", "\u0661", True, 1.0, None, "9" * 30, -1)
        ),
        *((values.Amount, value) for value in ("1e3", "+1", "-1", "1.", ".5", "NaN", "inf", 1.5, True, None)),
        *((values.Amount, value) for value in ("1.0000001", "1000000001", Decimal(-1), Decimal("NaN"))),
        *((values.NumberPrefix, value) for value in ("1900", "+", "+0", "++1", "", None, 1900, "+1 900")),
        *((values.TrunkTechPrefix, value) for value in ("", "123456789", "+1", "12*")),
        *((values.Name, value) for value in ("", "a b", "a:b", "-a", "a" * 65, "\u00e9", "a\n")),
        *((values.Currency, value) for value in ("usd", "US", "USDX")),
        *((values.ProviderAffix, value) for value in ("a@b", "a;b", "a b", "%23", "a" * 33)),
    ],
)
def test_what_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        read(kind, value)


def test_codes_without_a_country_are_those_of_the_numbering_data() -> None:
    known = {f"+{code}" for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS}
    assert set(values.NON_GEOGRAPHIC) == known


def test_reason_codes_are_those_of_the_policy() -> None:
    assert tuple(code.value for code in ReasonCode) == values.REASON_CODES


def test_a_value_in_a_message_is_short_and_on_one_line() -> None:
    assert values.show("a\nb\u202e") == "`a\\nb\\u202e`"
    assert len(values.show("x" * 1000)) < 70
