from __future__ import annotations

import random
from collections.abc import Iterator

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberType

from policy.numbering.build_kind_table import TABLE, render
from policy.numbering.kind import kinds_of

KIND_OF_TYPE = {
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.TOLL_FREE: "toll_free",
}


def test_the_shipped_table_is_what_the_metadata_say() -> None:
    shipped = TABLE.read_text(encoding="ascii")
    version = shipped.split("\n", 1)[0].removeprefix("# phonenumbers ")
    if version != phonenumbers.__version__:
        pytest.skip(f"built from phonenumbers {version}, installed is {phonenumbers.__version__}")
    assert shipped == render(), "run python -m policy.numbering.build_kind_table"


def test_the_pinned_phonenumbers_is_the_one_that_the_tables_were_built_from() -> None:
    version = TABLE.read_text(encoding="ascii").split("\n", 1)[0].removeprefix("# phonenumbers ")
    assert version == phonenumbers.__version__, "run python -m policy.numbering.build_kind_table"


def test_rows_are_unique_and_none_hides_another() -> None:
    rows = [line.split(",")[0] for line in TABLE.read_text(encoding="ascii").splitlines()[2:]]
    known = set(rows)
    assert len(known) == len(rows)
    assert not [row for row in rows if any(row[:end] in known for end in range(1, len(row)))]


def _valid_numbers() -> Iterator[tuple[str, int]]:
    """Example numbers of every kind of every region, and neighbours of them that are valid too."""
    draw = random.Random(20)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for type_name in ("premium_rate", "shared_cost", "personal_number", "pager", "toll_free", "mobile"):
            desc = getattr(PhoneMetadata.metadata_for_region(region), type_name)
            if desc is None or desc.example_number is None:
                continue
            code = phonenumbers.country_code_for_region(region)
            for _ in range(8):
                digits = list(desc.example_number)
                for at in draw.sample(range(2, len(digits)), k=min(3, len(digits) - 2)):
                    digits[at] = draw.choice("0123456789")
                text = f"+{code}{''.join(digits)}"
                number = phonenumbers.parse(text)
                if phonenumbers.is_valid_number(number):
                    yield text, phonenumbers.number_type(number)


def test_every_valid_number_has_the_kind_that_phonenumbers_tells() -> None:
    seen = 0
    for number, kind in _valid_numbers():
        wanted = KIND_OF_TYPE.get(kind)
        assert kinds_of(number) == (frozenset() if wanted is None else {wanted}), number
        seen += 1
    assert seen > 3_000
