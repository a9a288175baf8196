"""Whole numbers, as phonenumbers' metadata read them: slow, for the few that the tables leave open."""

from __future__ import annotations

import phonenumbers


def parsed(digits: str) -> phonenumbers.PhoneNumber | None:
    """The international number `digits` (no plus); None when it begins with no calling code."""
    for length in (1, 2, 3):
        code = int(digits[:length])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            break
    else:
        return None
    national = digits[length:]
    zeros = len(national) - len(national.lstrip("0"))
    return phonenumbers.PhoneNumber(
        country_code=code,
        national_number=int(national or "0"),
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros or None,
    )
