"""A UDP socket that is bound to all addresses, and answers from the one that was spoken to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from proxy.sip.message import Flow
from proxy.transport.udp import BATCH, LARGEST, REFUSED, Datagrams, UdpEndpoint

# ip(7); Python has no name for it before 3.12.
_IP_PKTINFO: Final = 8
_ANCILLARY: Final = socket.CMSG_SPACE(20)
_NO_INTERFACE: Final = bytes(4)
_MULTICAST: Final = 0xFF
# One machine may call any address its own (a routed network, all of 127/8).
_MOST_REMEMBERED: Final = 1024


class UdpEverywhere(UdpEndpoint):
    """A UdpEndpoint on `0.0.0.0` or `::`. `Flow.local` is the address that a datagram was sent to, and the
    one that a datagram leaves from (RFC 3581 §4); where it is the endpoint's own, the system chooses.

    An address that the machine has lost meanwhile is as good as none given: the system chooses.
    """

    def __init__(self, host: str, port: int, on_datagrams: Callable[[Datagrams], None]) -> None:
        super().__init__(host, port, on_datagrams)
        self._locals: dict[bytes, tuple[str, int]] = {}
        self._sources: dict[str, list[tuple[int, int, bytes]]] = {}
        if ":" in host:
            self._level, self._kind, self._place = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, slice(0, 16)
            self._socket.setsockopt(self._level, socket.IPV6_RECVPKTINFO, 1)
        else:
            # ipi_spec_dst: our own address also where the datagram was broadcast.
            self._level, self._kind, self._place = socket.IPPROTO_IP, _IP_PKTINFO, slice(4, 8)
            self._socket.setsockopt(self._level, _IP_PKTINFO, 1)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one datagram from the flow's own address."""
        if flow.local == self.local:
            super().send(data, flow)
            return
        try:
            self._socket.sendmsg((data,), self._from(flow.local[0]), 0, flow.remote)
        except BlockingIOError:
            self.unsent += 1
        except (OSError, OverflowError, TypeError, ValueError):
            super().send(data, flow)

    def _drain(self) -> None:
        receive = self._socket.recvmsg
        batch: Datagrams = []
        for _ in range(BATCH):
            try:
                data, ancillary, _flags, address = receive(LARGEST, _ANCILLARY)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in REFUSED:
                    continue
                break
            batch.append((data, Flow("udp", self._local_of(ancillary), (address[0], address[1]))))
        if batch:
            self._on_datagrams(batch)

    def _local_of(self, ancillary: list[tuple[int, int, bytes]]) -> tuple[str, int]:
        for level, kind, value in ancillary:
            if level == self._level and kind == self._kind:
                address = value[self._place]
                found = self._locals.get(address)
                return self._remember(address) if found is None else found
        return self.local

    def _remember(self, address: bytes) -> tuple[str, int]:
        if len(address) == 16 and address[0] == _MULTICAST:
            return self.local
        if len(self._locals) >= _MOST_REMEMBERED:
            self._locals.clear()
        family = socket.AF_INET6 if len(address) == 16 else socket.AF_INET
        found = self._locals[address] = (socket.inet_ntop(family, address), self.local[1])
        return found

    def _from(self, host: str) -> list[tuple[int, int, bytes]]:
        """What sendmsg(2) needs to send from `host`; the way out stays the system's choice."""
        found = self._sources.get(host)
        if found is None:
            if self._level == socket.IPPROTO_IPV6:
                value = socket.inet_pton(socket.AF_INET6, host.partition("%")[0]) + _NO_INTERFACE
            else:
                value = _NO_INTERFACE + socket.inet_pton(socket.AF_INET, host) + bytes(4)
            if len(self._sources) >= _MOST_REMEMBERED:
                self._sources.clear()
            found = self._sources[host] = [(self._level, self._kind, value)]
        return found
