"""Money as text, for people and for JSON: one form everywhere."""

from __future__ import annotations

MICRO = 1_000_000


def amount(micro: int) -> str:
    """Micro-units as a decimal string with at least two decimals: `100.00`, `-0.000001`."""
    sign = "-" if micro < 0 else ""
    units, fraction = divmod(abs(micro), MICRO)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units}.{decimals}"
