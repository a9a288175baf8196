"""What the call core asks of the world beyond SIP. The server executes them in the order in which they were
issued."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy.verdict import Verdict
    from proxy.call.session import CallSession


class Reserve:
    """The policy lets the call pass: reserve its place and money, then tell `ProxyCore.admitted` or
    `.refused`."""

    __slots__ = ("session",)

    def __init__(self, session: CallSession) -> None:
        self.session = session


class Refused:
    """The call was refused, by the policy or by the ledger: its decision is to be recorded. The caller is
    answered."""

    __slots__ = ("session",)

    def __init__(self, session: CallSession) -> None:
        self.session = session


class StrangerRefused:
    """An INVITE was refused without state (SOURCE, AUTH): to be counted, and sampled in the log, no more."""

    __slots__ = ("source", "verdict")

    def __init__(self, source: str, verdict: Verdict) -> None:
        self.source = source
        self.verdict = verdict


class Shed:
    """A call was turned away without state because there is too much to do (OVERLOAD): to be counted, and
    sampled in the log."""

    __slots__ = ("verdict",)

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


class Answered:
    """The first 2xx went upstream; charging began at `session.answered_at`."""

    __slots__ = ("session",)

    def __init__(self, session: CallSession) -> None:
        self.session = session


class Ended:
    """An admitted call is over: settle it from `answered_at` to `ended_at`, or release it when it was never
    answered."""

    __slots__ = ("session",)

    def __init__(self, session: CallSession) -> None:
        self.session = session


class Changed:
    """What another instance would need to go on with the call is no longer what it was at its answer."""

    __slots__ = ("session",)

    def __init__(self, session: CallSession) -> None:
        self.session = session


class Fetch:
    """A request of a call that this instance does not have waits for it: ask for the call with this ref, then
    tell `ProxyCore.fetched`."""

    __slots__ = ("ref",)

    def __init__(self, ref: str) -> None:
        self.ref = ref


Command = Reserve | Refused | StrangerRefused | Shed | Answered | Changed | Ended | Fetch
