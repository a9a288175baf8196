from __future__ import annotations

from config.problem import Finding
from proxy.objects.errors import Conflict, EditError, Invalid, ReadOnly, Unknown, singular


def test_errors_say_what_is_wrong() -> None:
    assert str(Unknown("rate_decks", "x")) == "there is no rate deck `x`"
    assert str(Invalid([Finding("a.b", "is bad"), Finding("", "is worse")])) == "a.b: is bad; is worse"
    assert all(issubclass(one, EditError) for one in (Conflict, Invalid, ReadOnly, Unknown))
    assert singular("outplans") == "outplan"
