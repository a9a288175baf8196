from __future__ import annotations

from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from policy.numbering.country import CountryTable, country_of


@pytest.mark.parametrize(
    ("number", "country"),
    [
        # +1 is twenty-five countries
        ("+12025550100", "US"),
        ("+14165550100", "CA"),
        ("+18765550100", "JM"),
        ("+16585550100", "JM"),
        ("+12425550100", "BS"),
        ("+18095550100", "DO"),
        ("+17875550100", "PR"),
        ("+19395550100", "PR"),
        ("+13405550100", "VI"),
        ("+16715550100", "GU"),
        ("+16846331234", "AS"),
        ("+16702345678", "MP"),
        ("+18002345678", "US"),
        # one calling code, several countries
        ("+74951234567", "RU"),
        ("+77172123456", "KZ"),
        ("+77011234567", "KZ"),
        ("+390612345678", "IT"),
        ("+390669812345", "VA"),
        ("+442079460018", "GB"),
        ("+441481234567", "GG"),
        ("+441534234567", "JE"),
        ("+441624234567", "IM"),
        ("+447911123456", "GG"),
        ("+447624123456", "IM"),
        ("+4721234567", "NO"),
        ("+4779123456", "SJ"),
        ("+61212345678", "AU"),
        ("+61891641234", "CX"),
        ("+61891621234", "CC"),
        ("+262262161234", "RE"),
        ("+262269601234", "YT"),
        ("+358181234567", "AX"),
        ("+35891234567", "FI"),
        ("+590590201234", "GP"),
        ("+59995181234", "CW"),
        ("+5997151234", "BQ"),
        ("+212520123456", "MA"),
        ("+2908123", "TA"),
        ("+38328012345", "XK"),
        ("+24762889", "AC"),
        # cut short, told as far as it can be
        ("+1876", "JM"),
        ("+187655501", "JM"),
        ("+33", "FR"),
        ("+1", None),
        ("+44", None),
        ("+447911", None),
        # calling codes that belong to no country
        ("+80012345678", "+800"),
        ("+80812345678", "+808"),
        ("+870773111111", "+870"),
        ("+87812345678901", "+878"),
        ("+881612345678", "+881"),
        ("+8821612345678", "+882"),
        ("+883510012345", "+883"),
        ("+888123456789", "+888"),
        ("+979123456789", "+979"),
        # not allocated
        ("+999123456789", None),
        ("+210123456789", None),
        ("+10115550100", None),
        ("+11165550100", None),
        ("+440123456789", None),
        ("+447700900123", None),
        ("+3300123456", None),
        ("+83123456789", None),
        ("+", None),
    ],
)
def test_country_by_region(number: str, country: str | None) -> None:
    assert country_of(number) == country


def test_a_number_that_is_valid_nowhere_in_a_shared_row_has_no_country() -> None:
    assert country_of("+18002345678") == "US"
    assert country_of("+1800234567") is None
    assert country_of("+1800234567890") is None


def _examples() -> Iterator[tuple[str, str]]:
    kinds = [
        getattr(PhoneNumberType, name)
        for name in ("FIXED_LINE", "MOBILE", "TOLL_FREE", "PREMIUM_RATE", "SHARED_COST", "VOIP", "UAN",
                     "PAGER", "PERSONAL_NUMBER", "VOICEMAIL")
    ]  # fmt: skip
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in kinds:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            national = phonenumbers.national_significant_number(example)
            # The example itself, and its neighbours that are valid, too.
            for offset in (0, 1, 9, 10, 99, 1000, 5555):
                changed = str((int(national) + offset) % 10 ** len(national)).rjust(len(national), "0")
                yield region, f"+{example.country_code}{changed}"


def test_agrees_with_phonenumbers_on_valid_numbers_of_every_region() -> None:
    compared: set[str] = set()
    differing: dict[str, tuple[str | None, str | None]] = {}
    regions: set[str | None] = set()
    for _, number in _examples():
        parsed = phonenumbers.parse(number)
        if phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) != number:
            continue  # parse() dropped a national prefix: another number
        if not phonenumbers.is_valid_number(parsed):
            continue
        wanted = phonenumbers.region_code_for_number(parsed)
        regions.add(wanted)
        compared.add(number)
        if country_of(number) != wanted:
            differing[number] = (country_of(number), wanted)
    assert differing == {}
    assert len(compared) >= 2000
    # All numbers of Western Sahara are Moroccan, too, and those of Saint Martin also of Saint Barthélemy: the
    # metadata cannot tell them, and name the region that stands first.
    assert regions == set(phonenumbers.SUPPORTED_REGIONS) - {"EH", "MF"}


@given(st.from_regex(r"\+[1-9][0-9]{0,14}", fullmatch=True))
def test_any_number_has_a_country_a_code_or_nothing(number: str) -> None:
    country = country_of(number)
    assert country is None or number.startswith(country) or (len(country) == 2 and country.isupper())


@given(st.text(max_size=20))
def test_never_raises(text: str) -> None:
    country_of(text)


def test_rows_below_decide_for_what_ends_above_them() -> None:
    table = CountryTable([("12", "US"), ("1876", "JM"), ("1877", "JM"), ("135", "US CA")])
    assert table.regions("187") == ("187", "JM")
    assert table.regions("1") is None
    assert table.regions("18760") == ("1876", "JM")
    assert table.regions("13") == ("13", "US CA")
    assert table.regions("19") is None
