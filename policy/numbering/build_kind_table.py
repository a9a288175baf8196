"""Builds kind_table.csv from the metadata of the phonenumbers package.

    python -m policy.numbering.build_kind_table

The rows are ranges whose numbers are, or may be, of a kind that costs more or bills otherwise than an
ordinary call: calling code and up to DEPTH national digits, then the kinds separated by spaces. `other` in a
row says that some of its numbers are ordinary; phonenumbers itself tells those apart. Regions that share a
calling code are taken together.

Satellite networks have no kind in the metadata: their codes are those of the ITU's list of assigned shared
country codes (Operational Bulletin, annex to no. 1114).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

from policy.numbering.automaton import Automaton, Rows, walk

TABLE = Path(__file__).with_name("kind_table.csv")
DEPTH = 5
OTHER = "other"
_KINDS = {
    "premium": ("premium_rate",),
    "shared_cost": ("shared_cost",),
    "personal": ("personal_number",),
    "pager": ("pager",),
    "toll_free": ("toll_free",),
    OTHER: ("fixed_line", "mobile", "voip", "uan", "voicemail"),
}
# Inmarsat, the networks of +881 (Iridium, Globalstar and others), EMSAT, Thuraya.
_SATELLITE = ("870", "881", "88213", "88216")


def _automata(code: int) -> dict[str, Automaton]:
    """One automaton for each kind that numbers of this calling code have."""
    found: dict[str, Automaton] = {}
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        if region == "001":
            metadata = PhoneMetadata.metadata_for_nongeo_region(code)
        else:
            metadata = PhoneMetadata.metadata_for_region(region)
        for kind, descriptions in _KINDS.items():
            for name in descriptions:
                desc: PhoneNumberDesc | None = getattr(metadata, name)
                if desc is not None and desc.national_number_pattern not in (None, "", "NA"):
                    found.setdefault(kind, Automaton()).add(desc.national_number_pattern)
    return found


def build_rows() -> Iterator[tuple[str, str]]:
    """(digits, kinds separated by spaces) in the order of digits; ranges of ordinary numbers are left out."""
    rows = [(code, "satellite") for code in _SATELLITE]
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        if str(code) in _SATELLITE:
            continue
        automata = _automata(code)
        if not automata.keys() - {OTHER}:
            continue
        start = {kind: automaton.start() for kind, automaton in automata.items()}
        found: Rows = walk(automata, start, DEPTH, {})
        rows += [(f"{code}{digits}", kinds) for digits, kinds in found if kinds != OTHER]
    return iter(sorted(rows))


def render() -> str:
    """The whole file: a line with the version of the metadata, then the rows."""
    rows = "".join(f"{prefix},{kinds}\n" for prefix, kinds in build_rows())
    return f"# phonenumbers {phonenumbers.__version__}\nprefix,kinds\n{rows}"


if __name__ == "__main__":
    TABLE.write_text(render(), encoding="ascii")
