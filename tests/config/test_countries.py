"""The table of country codes against the regions that numbering knows."""

from __future__ import annotations

import phonenumbers

from config.countries import COUNTRIES, ISO_3166, NUMBERING_ONLY, OFTEN_MEANT


def test_every_region_with_numbers_can_be_named() -> None:
    assert set(phonenumbers.SUPPORTED_REGIONS) <= COUNTRIES


def test_there_are_249_codes_of_iso_3166() -> None:
    assert len(ISO_3166) == 249
    assert not ISO_3166 & NUMBERING_ONLY


def test_what_is_often_meant_is_no_code_and_leads_to_one() -> None:
    assert not set(OFTEN_MEANT) & COUNTRIES
    assert set(OFTEN_MEANT.values()) <= COUNTRIES
