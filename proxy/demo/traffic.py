"""Random calls, as an office, a shop with a budget, and somebody who should not call at all place them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from proxy.demo.provider import BUSY, SHORT, SILENT

MEAN_PAUSE_SECONDS: Final = 1.2
RING_SECONDS: Final = (0.3, 1.5)

# (share, number; a number that ends with a dot gets random digits that the provider gives no meaning to)
_OFFICE: Final = (
    (30, "02079460."),
    (14, "+12125550."),
    (10, "00442079460."),
    (8, "+447400123."),
    (6, "+442079460" + BUSY),
    (5, "+442079460" + SILENT),
    (5, "+442079460" + SHORT),
    (4, "+33199001."),
    (3, "+18765550."),
    (4, "+19005550."),
    (3, "+449098790."),
    (2, "+5371234."),
    (2, "+447000000."),
    (2, "*43"),
    (1, "+9990000."),
    (1, "112"),
)
_SHOP: Final = (
    (10, "+12125550."),
    (8, "+447400123."),
    (4, "+448440000."),
    (2, "+33199001."),
    (1, "+447000000."),
)
_STRANGER: Final = ((3, "+5371234."), (2, "+442079460."), (1, "+9990000."))
_CALLERS: Final = ((70, "office", _OFFICE), (25, "shop", _SHOP), (5, "stranger", _STRANGER))


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """Who calls what; seconds until he hangs up, and until he gives up on one who does not answer."""

    caller: str
    number: str
    talk: float
    patience: float


class Traffic:
    """The same calls from the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def next(self) -> PlannedCall:
        """The next call."""
        draw = self._random
        _, caller, numbers = draw.choices(_CALLERS, [share for share, _, _ in _CALLERS])[0]
        _, number = draw.choices(numbers, [share for share, _ in numbers])[0]
        if number.endswith("."):
            number = f"{number[:-1]}{draw.randint(100, 479)}"
        return PlannedCall(caller, number, draw.uniform(1.0, 5.0), draw.uniform(2.5, 5.0))

    def pause(self) -> float:
        """Seconds until the next call."""
        return min(self._random.expovariate(1 / MEAN_PAUSE_SECONDS), 3 * MEAN_PAUSE_SECONDS)

    def ring_seconds(self) -> float:
        """How long a call rings."""
        return self._random.uniform(*RING_SECONDS)
