"""Builds country_table.csv from the metadata of the phonenumbers package.

    python -m policy.numbering.build_country_table

Each region's patterns become a finite automaton. A walk over the digits after each calling code, five deep,
notes in which regions a number can still begin so; ten sisters that say the same become one row. Where
several regions share a calling code the patterns are those of every kind of number; a region that has its
code for itself is described by its general pattern, which leaves out what is not allocated at all but does
not lag behind each newly opened range.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

from policy.numbering.automaton import Automaton, walk

TABLE = Path(__file__).with_name("country_table.csv")
DEPTH = 5
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager",
    "uan", "voicemail",
)  # fmt: skip


def _automaton(region: str, *, shared: bool) -> Automaton:
    automaton = Automaton()
    metadata = PhoneMetadata.metadata_for_region(region)
    for kind in _KINDS if shared else ("general_desc",):
        desc: PhoneNumberDesc | None = getattr(metadata, kind)
        if desc is not None and desc.national_number_pattern not in (None, "", "NA"):
            automaton.add(desc.national_number_pattern)
    return automaton


def build_rows() -> Iterator[tuple[str, str]]:
    """(digits, regions separated by spaces) in numeric order; region 001 stands for no country (ITU-T
    E.164.1)."""
    for code, regions in sorted(
        phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items(), key=lambda item: str(item[0])
    ):
        if regions == ("001",):
            yield str(code), "001"
            continue
        automata = {region: _automaton(region, shared=len(regions) > 1) for region in regions}
        start = {name: made.start() for name, made in automata.items()}
        yield from ((f"{code}{digits}", owners) for digits, owners in walk(automata, start, DEPTH, {}))


def render() -> str:
    """The whole file: a line with the version of the metadata, then the rows."""
    rows = "".join(f"{prefix},{regions}\n" for prefix, regions in build_rows())
    return f"# phonenumbers {phonenumbers.__version__}\nprefix,regions\n{rows}"


if __name__ == "__main__":
    TABLE.write_text(render(), encoding="ascii")
