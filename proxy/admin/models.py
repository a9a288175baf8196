"""What the HTTP API takes and gives. Amounts of money are decimal strings, moments RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool

MAX_TEXT = 2048
MAX_MESSAGE = 65_535


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """`failing` names the parts that do not work; `detail` says why, where that is known."""

    status: str
    parts: dict[str, bool]
    failing: list[str]
    detail: dict[str, str]


class Usage(BaseModel):
    """What a trunk uses and may use, over all instances; a limit of null is unlimited."""

    active_calls: int
    capacity_limit: int | None
    spent_amount: str
    reserved_amount: str
    threshold_amount: str | None
    threshold_reached: bool = Field(description="No further money can be reserved.")
    window_starts_at: str


class Calls(BaseModel):
    """Live calls of all instances: what the call's record says, and of the ledger `ref`, `trunk`, `instance`,
    `reserved_at`, `answered_at`, `spent_amount` and `reserved_amount`."""

    calls: list[dict[str, Any]]


class HungUp(BaseModel):
    """How many live calls are being ended; their BYEs are under way. `unanswered` instances heard the
    request and did not answer in time: they may end more."""

    calls: int
    unanswered: int


class Decisions(BaseModel):
    """Records of decisions, newest first."""

    decisions: list[dict[str, Any]]


class ExplainRequest(BaseModel):
    """A call that nobody makes: its source address, its number or URI, and where they matter its From URI and
    the whole SIP message. `user` is the user name that it proves where a login is wanted. `live` asks the
    ledger how much room is left."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={"example": {"source": "192.0.2.10", "to": "+442071838750", "live": True}},
    )

    source: str = Field(max_length=64)
    to: str = Field(max_length=MAX_TEXT)
    from_: str | None = Field(default=None, alias="from", max_length=MAX_TEXT)
    message: str | None = Field(default=None, max_length=MAX_MESSAGE)
    user: str | None = Field(default=None, max_length=MAX_TEXT)
    live: StrictBool = False


class Policy(BaseModel):
    """The policy in force. `problems` are those of the last attempt to load one, when that failed.
    `store_version` is the number of its version in the store; null where the policy is in the file."""

    version: str
    loaded_at: str
    problems: list[str]
    store_version: int | None = None


class Reloaded(BaseModel):
    version: str
