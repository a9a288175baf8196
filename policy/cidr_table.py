"""CidrTable: which value belongs to the most specific network that holds an address.

One dict per prefix length, tried from the longest to the shortest: a table has few different lengths, so a
lookup is a few dict accesses however many networks there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

T = TypeVar("T")
Network = IPv4Network | IPv6Network

_MAPPED_PREFIX = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
_MAPPED_LENGTH = 96


class CidrTable(Generic[T]):
    """An immutable map from IP networks to values.

    An IPv4-mapped IPv6 address or network (`::ffff:192.0.2.1`, `::ffff:192.0.2.0/120`) is its IPv4
    counterpart, on both sides; a shorter IPv6 network such as `::/0` therefore holds no IPv4 address. Of a
    network that is given twice the last value counts.
    """

    __slots__ = ("_entries", "_v4", "_v6")

    def __init__(self, entries: Iterable[tuple[Network, T]]) -> None:
        self._entries: dict[Network, T] = {unmapped(network): value for network, value in entries}
        v4: dict[int, dict[int, T]] = {}
        v6: dict[int, dict[int, T]] = {}
        for network, value in self._entries.items():
            shift = network.max_prefixlen - network.prefixlen
            table = v4 if network.version == 4 else v6
            table.setdefault(shift, {})[int(network.network_address) >> shift] = value
        self._v4: tuple[tuple[int, dict[int, T]], ...] = tuple(sorted(v4.items(), key=_by_shift))
        self._v6: tuple[tuple[int, dict[int, T]], ...] = tuple(sorted(v6.items(), key=_by_shift))

    def lookup(self, text: str) -> T | None:
        """The value of the longest network that holds the address `text`; None for none, and for what is no
        address.

        An IPv6 zone (`fe80::1%eth0`) is ignored. Never raises.
        """
        address = _parse_v4(text)
        tables = self._v4
        if address is None:
            if ":" not in text:
                return None
            try:
                address = int(IPv6Address(text))
            except ValueError:
                return None
            if address >> 32 == 0xFFFF:
                address &= 0xFFFFFFFF
            else:
                tables = self._v6
        for shift, values in tables:
            value = values.get(address >> shift)
            if value is not None:
                return value
        return None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Network, T]]:
        """Every network with its value, in the order in which they were given."""
        return iter(self._entries.items())


def unmapped(network: Network) -> Network:
    """The IPv4 network that an IPv4-mapped IPv6 network stands for; any other network as it is."""
    if (
        isinstance(network, IPv6Network)
        and network.prefixlen >= _MAPPED_LENGTH
        and int(network.network_address) >> 32 == _MAPPED_PREFIX >> 32
    ):
        address = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((address, network.prefixlen - _MAPPED_LENGTH))
    return network


def _by_shift(item: tuple[int, object]) -> int:
    return item[0]


def _parse_v4(text: str) -> int | None:
    """A dotted quad as an integer; leading zeros are refused, since some readers take them as octal."""
    parts = text.split(".")
    if len(parts) != 4:
        return None
    address = 0
    for part in parts:
        if not (part.isascii() and part.isdigit()) or len(part) > 3 or (part[0] == "0" and len(part) > 1):
            return None
        octet = int(part)
        if octet > 255:
            return None
        address = address << 8 | octet
    return address
