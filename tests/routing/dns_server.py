"""A name server on loopback, over UDP and TCP, that says what a test wants it to say."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TICK_SECONDS = 0.05
_ALIASES = 20


class DnsServer:
    """Serves `put` records until `close`. What is not there is NXDOMAIN, or no data where the name has other
    records. `asked` holds (name, kind, transport) of each question.

    silent: nothing is answered. broken: names whose questions get SERVFAIL. truncates: over UDP, nothing but
    the flag TC. deaf_to_tcp: connections are taken and never answered. follows: whether the answer to an
    alias has what it leads to.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        while True:
            self._listener = socket.create_server((host, 0))
            self.address: tuple[str, int] = self._listener.getsockname()[:2]
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._udp.bind(self.address)
            except OSError:
                self._udp.close()
                self._listener.close()
                continue
            break
        self.silent = self.truncates = self.deaf_to_tcp = False
        self.follows = True
        self.broken: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self._records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._held: list[socket.socket] = []
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="name server", daemon=True)
        self._thread.start()

    @property
    def host_port(self) -> str:
        """For the environment."""
        return f"{self.address[0]}:{self.address[1]}"

    def put(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        """These records in place of what was there."""
        self._records[(name.lower(), kind)] = (ttl, list(values))

    def drop(self, name: str, kind: str) -> None:
        """No such records any more."""
        self._records.pop((name.lower(), kind), None)

    def count(self, name: str, kind: str) -> int:
        """How often this was asked."""
        return sum(asked[:2] == (name.lower(), kind) for asked in list(self.asked))

    def close(self) -> None:
        """Stop serving."""
        self._closed = True
        self._thread.join(5)
        for one in (self._udp, self._listener, *self._held):
            one.close()

    def _serve(self) -> None:
        while not self._closed:
            ready, _, _ = select.select([self._udp, self._listener], [], [], _TICK_SECONDS)
            for one in ready:
                with contextlib.suppress(OSError, dns.exception.DNSException, struct.error):
                    if one is self._udp:
                        data, source = self._udp.recvfrom(4096)
                        reply = self._answer(data, "udp")
                        if reply is not None:
                            self._udp.sendto(reply, source)
                    else:
                        self._over_tcp()

    def _over_tcp(self) -> None:
        taken, _ = self._listener.accept()
        if self.deaf_to_tcp or self.silent:
            self._held.append(taken)
            return
        taken.settimeout(2)
        with taken:
            (length,) = struct.unpack("!H", taken.recv(2))
            reply = self._answer(taken.recv(length), "tcp")
            if reply is not None:
                taken.sendall(struct.pack("!H", len(reply)) + reply)

    def _answer(self, data: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = str(question.name).rstrip(".").lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        if self.silent:
            return None
        reply = dns.message.make_response(query)
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif self.truncates and transport == "udp":
            reply.flags |= dns.flags.TC
        else:
            self._fill(reply, name, kind)
        try:
            return bytes(reply.to_wire(max_size=65535 if transport == "tcp" else 1232))
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return bytes(reply.to_wire())

    def _fill(self, reply: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(_ALIASES):
            if (name, kind) in self._records:
                self._add(reply, name, kind)
                return
            if (name, "CNAME") not in self._records:
                break
            self._add(reply, name, "CNAME")
            if not self.follows:
                return
            name = self._records[(name, "CNAME")][1][0].rstrip(".").lower()
        if not any(known == name for known, _ in self._records) and not reply.answer:
            reply.set_rcode(dns.rcode.NXDOMAIN)

    def _add(self, reply: dns.message.Message, name: str, kind: str) -> None:
        ttl, values = self._records[(name, kind)]
        if values:
            reply.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", kind, *values))
