"""Where readers differ, and which of them is right: every difference between our reading and another's is
classified here by the section that decides, or it is a failure.

What the RFC calls malformed is refused by us, and then nobody's reading of it matters, but for what stands in
TOLERATED.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fuzz import readers
from tests.fuzz.dialects import Dialect, Reading

FIELDS = ("to_tag", "routes", "user", "length")

KNOWN: dict[tuple[str, str, str], str] = {
    ("kamailio", "user", "semicolon in user"): (
        "RFC 3261 §25.1: `;` is user-unreserved, so it belongs to the user; Kamailio keeps what follows "
        "it apart, as parameters of a telephone number"
    ),
    ("kamailio", "routes", "comma after Route"): (
        "RFC 3261 §25.1: no empty item may stand in the list; Kamailio reads none of its values, we those "
        "that are there; no element follows a Route of ours"
    ),
    ("sipmessage", "length", "space around Content-Length"): (
        "RFC 3261 §7.3.1 and §25.1 (HCOLON): whitespace may stand before the colon; sipmessage takes it for "
        "another header"
    ),
    ("sipmessage", "routes", "Route in another case"): (
        "RFC 3261 §25.1 (HCOLON): whitespace may stand before the colon; sipmessage takes it for "
        "another header"
    ),
    ("sipmessage", "routes", "fold in Route"): (
        "RFC 3261 §7.3.1: a line that begins with whitespace goes on with the header before; sipmessage "
        "reads it by itself"
    ),
    ("sipmessage", "to_tag", "TAG in upper case"): (
        "RFC 3261 §7.3.1: names of parameters are case-insensitive"
    ),
    ("sipmessage", "to_tag", "tag in a quoted parameter"): (
        "RFC 3261 §25.1 (quoted-string): `;` does not separate within quotes"
    ),
}
"""(reader, field, the way of writing that brings it about) → what decides it, in our favour."""

TOLERATED: dict[str, str] = {
    "empty Route": "RFC 3261 §25.1 wants an address; user agents copy it from a broken Record-Route",
    "empty Route value": "the same; readers pass it over",
    "comma after Route": "the same; Routes are neither followed nor passed on",
    "empty user": "RFC 3261 §25.1 wants one character at least; it is no number, and so 484 by the policy",
    "hash in user": "devices dial `#` without the escape that RFC 3261 §19.1.2 wants; all readers take it",
    "not UTF-8 in a header": "RFC 3261 §7.3.1 wants UTF-8; the header is not read, and leaves as it came",
    "same Content-Length twice": "RFC 3261 §7.3.1 lets it stand once; two that agree leave one reading",
}
"""Rules that a message may break and be accepted by us, and why nobody can be misled by it."""


@dataclass
class Comparison:
    """counts: messages by what became of them. differences: by (reader, field, way of writing).
    failures: what nobody has decided, and messages that we read wrongly."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def differing(one: Reading, other: Reading) -> list[str]:
    """The fields that two readers do not read alike."""
    same = {
        "to_tag": one.to_tag == other.to_tag,
        "routes": readers.same_routes(one.routes, other.routes),
        "user": readers.same_user(one.user, other.user),
        "length": one.length == other.length,
    }
    return [name for name in FIELDS if not same[name]]


def compare(messages: Sequence[Dialect], kamailio: Sequence[Reading | None] | None) -> Comparison:
    """Judge our reading of each message by what it means, and by what sipmessage and, where it is there,
    Kamailio read."""
    found = Comparison()
    for index, message in enumerate(messages):
        ours = readers.ours(message.data)
        if message.broken is None:
            found.counts["well formed"] += 1
            if ours is None or differing(ours, message.meaning):
                found.failures.append(f"we read {ours}, it means {message.meaning}: {message.data!r}")
                continue
        elif ours is None:
            found.counts["malformed, refused"] += 1
            continue
        else:
            found.counts["malformed, tolerated"] += 1
            if message.broken not in TOLERATED:
                found.failures.append(f"we accept what breaks the rule `{message.broken}`: {message.data!r}")
        others = {"sipmessage": readers.of_sipmessage(message.data)}
        if kamailio is not None:
            others["kamailio"] = kamailio[index]
        for reader, theirs in others.items():
            _against(found, message, ours, reader, theirs)
    return found


def _against(found: Comparison, message: Dialect, ours: Reading, reader: str, theirs: Reading | None) -> None:
    if theirs is None:
        found.counts[f"refused by {reader} alone"] += 1
        return
    fields = differing(ours, theirs)
    found.counts[f"read as {reader} does" if not fields else f"read unlike {reader}"] += 1
    for name in fields:
        what = (reader, name, message.way(name))
        found.differences[what] += 1
        if what not in KNOWN:
            found.failures.append(f"{what}: we read {ours}, they {theirs}: {message.data!r}")
