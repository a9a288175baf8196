"""What the SIP process leaves to be told."""

from __future__ import annotations

from proxy.observe.happenings import Happenings


def test_each_is_counted_and_given_once() -> None:
    happenings = Happenings()
    happenings.note("a", "t", {"called": "1"})
    happenings.note("a", "t", {"called": "2"})
    happenings.note("b", "t", {})
    happenings.short("t", 500)
    happenings.short("t", 300)
    happenings.short("t", 400)
    assert happenings.take() == {
        "tallies": [
            {"event": "a", "trunk": "t", "count": 2, "last": {"called": "2"}},
            {"event": "b", "trunk": "t", "count": 1, "last": {}},
        ],
        "short": {"t": 300},
    }
    assert happenings.take() == {"tallies": [], "short": {}}
