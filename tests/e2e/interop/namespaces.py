"""Network namespaces of a test's own: hosts behind a router that translates addresses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.waiting import eventually

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """A network namespace. It lives as long as something uses it: this object, sockets that were made in it,
    processes that were started in it."""

    def __init__(self) -> None:
        before = os.open(_OWN, os.O_RDONLY)
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
            self.fd = os.open(_OWN, os.O_RDONLY)
            _checked(_libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)
        self.run("ip", "link", "set", "lo", "up")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread makes meanwhile, sockets and processes, belongs to the namespace."""
        before = os.open(_OWN, os.O_RDONLY)
        try:
            _checked(_libc.setns(self.fd, _CLONE_NEWNET))
            try:
                yield
            finally:
                _checked(_libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)

    def run(self, *command: str, text: str | None = None) -> None:
        """Run a command in it. Raises CalledProcessError."""
        with self.entered():
            subprocess.run(command, input=text, check=True, capture_output=True, text=True)

    def join(self, name: str, address: str, other: Namespace, other_name: str, other_address: str) -> None:
        """A cable to another namespace; addresses with their prefix length."""
        there = f"/proc/{os.getpid()}/fd/{other.fd}"
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", there)
        for side, interface, own in ((self, name, address), (other, other_name, other_address)):
            side.run("ip", "address", "add", own, "dev", interface)
            side.run("ip", "link", "set", interface, "up")

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


OUTSIDE = "198.18.0.1"  # a host in the open
OUTSIDE_TOO = "198.18.0.2"
ROUTER = "198.18.0.10"  # what the router's translations show
ONE_TO_ONE = "198.18.0.20"  # the public address of INSIDE_TOO, for what comes in as well
INSIDE = "198.19.0.2"
INSIDE_TOO = "198.19.0.3"


class TranslatedNetwork:
    """`inside`, a router, `outside`. The router gives what leaves `inside` its own address and ports of its
    choice; only INSIDE_TOO has a public address to itself."""

    def __init__(self) -> None:
        self.outside, self.inside = Namespace(), Namespace()
        self.ports = range(30_000, 30_100)
        self._connect()

    def _connect(self) -> None:
        self.router = Namespace()
        self.outside.join("open", f"{OUTSIDE}/24", self.router, "public", f"{ROUTER}/24")
        self.inside.join("office", f"{INSIDE}/24", self.router, "private", "198.19.0.1/24")
        self.outside.run("ip", "address", "add", f"{OUTSIDE_TOO}/24", "dev", "open")
        self.router.run("ip", "address", "add", f"{ONE_TO_ONE}/24", "dev", "public")
        self.inside.run("ip", "address", "add", f"{INSIDE_TOO}/24", "dev", "office")
        self.inside.run("ip", "route", "add", "default", "via", "198.19.0.1")
        self.router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._translate()
        self._wait_for_the_cables()

    def forget(self) -> None:
        """Another router takes the place of this one: what is sent now gets other ports. (With a
        mere interface translations end later, by a worker of the kernel.)"""
        self.ports = range(self.ports.stop, self.ports.stop + 100)
        self.outside.run("ip", "link", "delete", "open")
        self.inside.run("ip", "link", "delete", "office")
        self.router.close()
        self._connect()

    def _translate(self) -> None:
        ports = f"{self.ports.start}-{self.ports.stop - 1}"
        rules = f"""
            table ip nat {{
                chain out {{
                    type nat hook postrouting priority srcnat;
                    oifname "public" ip saddr {INSIDE_TOO} snat to {ONE_TO_ONE}
                    oifname "public" meta l4proto {{ tcp, udp }} masquerade to :{ports}
                }}
                chain in {{
                    type nat hook prerouting priority dstnat;
                    iifname "public" ip daddr {ONE_TO_ONE} dnat to {INSIDE_TOO}
                }}
            }}
        """
        self.router.run("nft", "-f", "-", text=rules)

    def _wait_for_the_cables(self) -> None:
        """The kernel brings them up a moment later, and drops what is sent before."""
        with self.outside.entered():
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with self.inside.entered():
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with there, here:
            there.bind((OUTSIDE_TOO, 0))
            there.setblocking(False)

            def passes() -> bool:
                with contextlib.suppress(OSError):
                    here.sendto(b"?", there.getsockname())
                    return bool(there.recv(1))
                return False

            eventually(passes, what="the way from inside to outside")

    def close(self) -> None:
        """Let go of all three."""
        for one in (self.outside, self.router, self.inside):
            one.close()


def translated_network() -> TranslatedNetwork:
    """Skips, and says why, where the machine does not allow it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    try:
        return TranslatedNetwork()
    except OSError as error:
        pytest.skip(f"no network namespaces: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no address translation: {' '.join(error.cmd)}: {error.stderr.strip()}")
