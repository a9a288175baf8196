"""Which listener an address of ours belongs to, where one listener has all of them."""

from __future__ import annotations

from typing import Final, TypeVar

Address = tuple[str, int]
Listener = tuple[str, Address]
"""(transport, local address), as the first two fields of a flow."""

EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})
"""What a listener on all addresses of its family is bound to."""

_V = TypeVar("_V")


class ByListener(dict[Listener, _V]):
    """Something for each listener. An address that has none is looked up as one of the listener that has all
    addresses at this port: KeyError where there is none either."""

    def __missing__(self, listener: Listener) -> _V:
        transport, (host, port) = listener
        everywhere = "::" if ":" in host else "0.0.0.0"
        if host == everywhere:
            raise KeyError(listener)
        return self[(transport, (everywhere, port))]

    def covers(self, listener: Listener) -> bool:
        """Whether it has one for this address, its own or that of all."""
        try:
            self[listener]
        except KeyError:
            return False
        return True
