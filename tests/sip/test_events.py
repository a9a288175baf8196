"""Events carry what their names say, and nothing can be hung on them."""

from __future__ import annotations

import typing

import pytest

from proxy.sip import events


def test_every_event_is_one_of_the_union_and_closed() -> None:
    classes = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and value.__module__ == events.__name__
    }
    assert set(typing.get_args(events.Event)) == classes
    for kind in classes:
        assert "__dict__" not in dir(kind)
    event = events.ServerTerminated(typing.cast("events.ServerTransaction", None), True)
    assert event.acknowledged
    with pytest.raises(AttributeError):
        event.other = 1  # type: ignore[attr-defined]
