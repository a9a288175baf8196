"""Addresses of the tests: everything stays on loopback, every party has an address of its own."""

from __future__ import annotations

import socket

PROXY = "127.0.0.1"
STRANGER = "127.0.0.250"
PROVIDER = "127.0.0.100"
SECOND_PROVIDER = "127.0.0.101"
EVIL = "127.0.0.200"


def free_udp_port(host: str) -> int:
    """A port that nobody has bound on this address just now. For SIPp, which cannot say what it got."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
