"""Timer values of RFC 3261 §17 (Table 4 of appendix A) and RFC 6026, in seconds."""

from __future__ import annotations


class Timers:
    """The three base values, and what follows from them.

    t1: estimate of the round-trip time; t2: longest interval between retransmissions of a non-INVITE request
    and of an INVITE's response; t4: longest time that a message stays in the network. All in seconds and
    above 0.
    """

    __slots__ = ("t1", "t2", "t4", "timeout")

    def __init__(self, t1: float = 0.5, t2: float = 4.0, t4: float = 5.0) -> None:
        if not 0 < t1 <= t2 or t4 <= 0:
            raise ValueError("timers need 0 < t1 <= t2 and t4 > 0")
        self.t1 = t1
        self.t2 = t2
        self.t4 = t4
        self.timeout = 64 * t1  # Timers B, D (at least 32 s), F, H, J, L and M

    @property
    def non_invite_trying(self) -> float:
        """Seconds after which a 100 to a non-INVITE request over an unreliable transport may be sent: when
        the sender's Timer E has reached T2 (RFC 4320 §4.1)."""
        waited, interval = 0.0, self.t1
        while interval < self.t2:
            waited += interval
            interval = min(2 * interval, self.t2)
        return waited
