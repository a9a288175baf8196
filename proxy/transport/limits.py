"""StreamLimits: what connections may take of us, in number, time and memory."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.sip.framing import MAX_BODY


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one stream listener. A stranger is an address that belongs to no trunk and no provider.

    known, known_per_address, strangers, strangers_per_address: connections that peers may hold, in all and
    from one address (IPv6: from one /64). opened: connections that we hold towards others; those that are
    opened again for a response have as many places of their own as strangers.

    stranger_handshakes: TLS handshakes a second with strangers, from all addresses together.

    message_seconds: from the first byte of a message to its last; a TLS handshake; and how long a stranger
    may keep a connection after each of its messages. idle_seconds: how long others may be silent: longer than
    any transaction takes (RFC 3261 §18). connect_seconds: until a connection of ours is ready to send.

    body_bytes: longest body. unread_bytes: what may wait for a peer that does not read. waiting_bytes: what
    may wait for a connection of ours to be ready.
    """

    known: int = 4096
    known_per_address: int = 1024
    strangers: int = 256
    strangers_per_address: int = 16
    opened: int = 512
    stranger_handshakes: int = 50
    message_seconds: float = 10.0
    idle_seconds: float = 900.0
    connect_seconds: float = 4.0
    body_bytes: int = MAX_BODY
    unread_bytes: int = 262_144
    waiting_bytes: int = 262_144
