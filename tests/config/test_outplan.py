from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.outplan import OutplanConfig


def test_times_are_milliseconds_and_short_ones_are_doubted() -> None:
    plan = OutplanConfig(name="a")
    assert (plan.dial_timeout, plan.try_interval, plan.max_try_count_0) == (30_000, 60_000, 0)
    assert plan.short_times() == []
    assert OutplanConfig(name="a", dial_timeout=30, try_interval=0).short_times() == ["dial_timeout"]


@pytest.mark.parametrize(
    "fields",
    [{"dial_timeout": -1}, {"try_interval": 86_400_001}, {"max_try_count_4": 101}, {"source": {}}, {"x": 1}],
)  # fmt: skip
def test_what_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OutplanConfig.model_validate({"name": "a", **fields})
