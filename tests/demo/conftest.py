from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from proxy.demo.stage import OFFICE, PROVIDER, SHOP, STRANGER


@pytest.fixture
def loopback_addresses() -> None:
    """Skips where the demo's addresses are not to be had, as on macOS."""
    for host in (OFFICE, PROVIDER, SHOP, STRANGER):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                pytest.skip(f"{host} cannot be bound here: {error.strerror}")


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """The command configures logging for its whole process: put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
