"""Which entries of `listen` are one socket."""

from __future__ import annotations

from config.listeners import by_socket
from config.model import Listener


def test_certificates_of_one_tls_address_are_one_socket() -> None:
    binds = ["tls:127.0.0.1", "udp:127.0.0.1", "tls:127.0.0.1:5061", "tls:127.0.0.2", "tcp:127.0.0.1:5061"]
    listen = [Listener(bind=bind) for bind in binds]
    assert by_socket(listen) == [(listen[0], listen[2]), (listen[1],), (listen[3],), (listen[4],)]


def test_with_port_0_each_entry_has_a_socket_of_its_own() -> None:
    listen = [Listener(bind="tls:127.0.0.1:0"), Listener(bind="tls:127.0.0.1:0")]
    assert by_socket(listen) == [(listen[0],), (listen[1],)]
