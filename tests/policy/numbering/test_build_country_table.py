from __future__ import annotations

import phonenumbers
import pytest

from policy.numbering.build_country_table import TABLE, render


def test_the_shipped_table_is_what_the_metadata_say() -> None:
    shipped = TABLE.read_text(encoding="ascii")
    version = shipped.split("\n", 1)[0].removeprefix("# phonenumbers ")
    if version != phonenumbers.__version__:
        pytest.skip(f"built from phonenumbers {version}, installed is {phonenumbers.__version__}")
    assert shipped == render(), "run python -m policy.numbering.build_country_table"


def test_rows_are_unique_and_none_hides_another() -> None:
    rows = [line.split(",")[0] for line in TABLE.read_text(encoding="ascii").splitlines()[2:]]
    known = set(rows)
    assert len(known) == len(rows)
    assert not [row for row in rows if any(row[:end] in known for end in range(1, len(row)))]
