"""Three readers of one message: ours, the package sipmessage, and Kamailio."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import sipmessage

from proxy.sip.errors import HeaderError, ParseError
from proxy.sip.headers import name_addr, split_list
from proxy.sip.message import SipRequest
from proxy.sip.parse import parse_message
from tests.e2e.ports import free_udp_port
from tests.e2e.waiting import eventually, socket_is_bound
from tests.fuzz.dialects import Reading
from tests.playbook import CALLER, flow_to

UNREADABLE = b"unreadable"
"""Stands for the Route values of a line that is no list of addresses."""

_FLOW = flow_to(CALLER)
_SPACE = re.compile(rb"[ \t\r\n]+")


def ours(data: bytes) -> Reading | None:
    """What our parser reads; None: it refuses the message."""
    try:
        request = parse_message(data, _FLOW)
    except ParseError:
        return None
    assert isinstance(request, SipRequest)
    try:
        routes = tuple(
            plain(item)
            for value in request.all(b"route")
            for item in filter(None, split_list(value))
            if name_addr(item).uri and b"<" in item
        )
    except HeaderError:
        routes = (UNREADABLE,)
    length = None if request.first(b"content-length") is None else len(request.body)
    return Reading(request.to_tag, routes, request.parsed_uri.user, length)


def plain(value: bytes) -> bytes:
    """A Route value without its display name and without whitespace around `<`, `>` and `;`."""
    at = value.rfind(b"<", 0, value.rfind(b">") + 1)
    value = value[at:] if at >= 0 else value
    return re.sub(rb" ?([<>;=]) ?", rb"\1", _SPACE.sub(b" ", value)).strip()


def of_sipmessage(data: bytes) -> Reading | None:
    """What sipmessage reads; None: it refuses the message."""
    try:
        request = sipmessage.Message.parse(data)
        tag = request.to_address.parameters.get("tag")
        routes = tuple(
            b"<%b>%b" % (str(one.uri).encode(), str(one.parameters).encode()) for one in request.route
        )
        user = request.uri.user  # type: ignore[union-attr]
        return Reading(
            (tag or "").encode(), routes, None if user is None else user.encode(), request.content_length
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def same_user(one: bytes | None, other: bytes | None) -> bool:
    """Whether two user parts are equal once unescaped; an empty one and none are the same to most readers."""
    return unquote_to_bytes(one or b"") == unquote_to_bytes(other or b"")


def same_routes(one: Sequence[bytes], other: Sequence[bytes]) -> bool:
    """Whether two Route sets are equal, whatever their parameters are escaped or quoted like."""

    def key(values: Iterable[bytes]) -> list[str]:
        return [quote_from_bytes(unquote_to_bytes(value)) for value in values]

    return key(one) == key(other)


class Kamailio:
    """A Kamailio of our own on loopback that answers with what it read."""

    MODULES = Path("/usr/lib/x86_64-linux-gnu/kamailio/modules")
    HOST = "127.0.0.83"  # nobody else's: what is free there stays so
    BATCH = 20
    WAIT_SECONDS = 30.0

    def __init__(self, folder: Path) -> None:
        self.address = (self.HOST, free_udp_port(self.HOST))
        file = folder / "kamailio.cfg"
        text = Path(__file__).with_name("kamailio.cfg").read_text()
        text = text.replace("@LISTEN@", f"{self.HOST}:{self.address[1]}")
        file.write_text(text.replace("@MODULES@", f"{self.MODULES}/"))
        self._log = folder / "kamailio.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["kamailio", "-f", str(file), "-DD", "-E", "-m", "64", "-M", "16", "-Y", str(folder)],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.HOST, 0))
        self._socket.settimeout(self.WAIT_SECONDS)
        self._sentinels = 0
        eventually(lambda: socket_is_bound("udp", *self.address), 60.0, "the socket of Kamailio")

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be asked here, or None."""
        if shutil.which("kamailio") is None or not (cls.MODULES / "rr.so").exists():
            return "kamailio is not installed (Debian: kamailio)"
        return None

    def read(self, messages: Sequence[bytes]) -> Iterator[Reading | None]:
        """What it reads of each; None: it did not take the message."""
        for start in range(0, len(messages), self.BATCH):
            yield from self._read(messages[start : start + self.BATCH])

    def _read(self, messages: Sequence[bytes]) -> list[Reading | None]:
        for data in messages:
            self._socket.sendto(data, self.address)
        self._sentinels += 1
        last = b"sentinel-%d" % self._sentinels
        self._socket.sendto(_SENTINEL.replace(b"{id}", last), self.address)
        answers: dict[bytes, bytes] = {}
        while last not in answers:
            answer = self._socket.recv(65536)
            branch = re.search(rb"branch=z9hG4bK([\w-]+)", answer)
            if branch is not None:
                answers[branch.group(1)] = answer
        found = []
        for data in messages:
            branch = re.search(rb"branch=z9hG4bK([\w-]+)", data)
            assert branch is not None
            found.append(_read_answer(answers.get(branch.group(1), b"")))
        return found

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_SENTINEL = (
    b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;rport;branch=z9hG4bK{id}\r\n"
    b"From: <sip:a@b>;tag=a\r\nTo: <sip:b@c>\r\nCall-ID: {id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def _read_answer(answer: bytes) -> Reading | None:
    if not answer.startswith(b"SIP/2.0 299 "):
        return None

    def found(name: bytes) -> list[bytes]:
        values = re.findall(rb"\r\n" + name + rb": \[(.*?)\](?=\r\n\S)", answer, re.DOTALL)
        return [b"" if value == b"<null>" else value for value in values]

    count = int(found(b"X-Routes")[0] or b"0")
    length = found(b"X-Length")[0].strip()
    return Reading(
        found(b"X-To-Tag")[0],
        tuple(plain(value) for value in found(b"X-Route")[:count]),
        found(b"X-User")[0] or None,
        int(length) if length.lstrip(b"-").isdigit() else None,
    )
