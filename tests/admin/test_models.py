from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.admin.models import MAX_MESSAGE, ExplainRequest, Usage

CALL = {"source": "192.0.2.10", "to": "+442079460000"}


def test_from_is_called_from_on_the_wire() -> None:
    asked = ExplainRequest.model_validate({**CALL, "from": "sip:100@pbx"})
    assert asked.from_ == "sip:100@pbx"
    assert asked.model_dump(by_alias=True, exclude_none=True) == {
        **CALL,
        "from": "sip:100@pbx",
        "live": False,
    }


@pytest.mark.parametrize(
    "extra",
    [{"trunk": "office"}, {"source": None}, {"source": "x" * 65}, {"message": "x" * (MAX_MESSAGE + 1)}],
)
def test_what_cannot_be_meant_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExplainRequest.model_validate({**CALL, **extra})


def test_usage_has_the_fields_of_the_contract() -> None:
    assert list(Usage.model_fields) == [
        "active_calls",
        "capacity_limit",
        "spent_amount",
        "reserved_amount",
        "threshold_amount",
        "threshold_reached",
        "window_starts_at",
    ]
