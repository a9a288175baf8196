"""The real instance in this process, and real SIP peers on loopback sockets to call through it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from proxy import app as app_module
from proxy.app import Application
from proxy.configuration import load_policy
from proxy.ledger.sharded_ledger import opener_of
from proxy.sip.message import Flow, SipRequest, SipResponse
from proxy.sip.parse import parse_message
from tests.call.playbook import answer, in_dialog, invite
from tests.ledger.servers import PATIENT

PBX_HOST = "127.0.0.2"
LONDON = "sip:+442071838750@127.0.0.1"
PATIENCE = 20.0

Address = tuple[str, int]
Message = SipRequest | SipResponse


class Peer:
    """One UDP socket that speaks SIP as told."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, 0))
        except OSError as error:
            self._socket.close()
            pytest.skip(f"{host} cannot be bound here: {error.strerror}")
        self._socket.settimeout(PATIENCE)
        self.address: Address = self._socket.getsockname()
        self.seen: list[str] = []

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes, to: Address) -> None:
        self._socket.sendto(data, to)

    def expect(self, what: str) -> Any:
        """The next message with this label, such as `INVITE` or `503 INVITE`; others are passed over."""
        while True:
            try:
                data, source = self._socket.recvfrom(65535)
            except TimeoutError:
                raise AssertionError(f"no `{what}` came; seen: {self.seen}") from None
            message = parse_message(data, Flow("udp", self.address, source))
            assert message is not None
            self.seen.append(label(message))
            if self.seen[-1] == what:
                return message

    def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing waits or comes within `seconds`."""
        self._socket.settimeout(seconds)
        try:
            data, source = self._socket.recvfrom(65535)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        message = parse_message(data, Flow("udp", self.address, source))
        self.seen.append("" if message is None else label(message))
        return False


def label(message: Message) -> str:
    if isinstance(message, SipRequest):
        return message.method.decode()
    return f"{message.status} {message.cseq_method.decode()}"


class Line:
    """A PBX and a provider with one proxy between them; everything blocks, so call it in a thread."""

    def __init__(self) -> None:
        self.pbx = Peer(PBX_HOST)
        self.provider = Peer()
        self.proxy: Address = ("127.0.0.1", 0)
        self._count = 0

    def dial(self, uri: str = LONDON, **more: Any) -> str:
        """Send an INVITE; its Call-ID."""
        self._count += 1
        call_id = f"call-{self._count}"
        branch = f"z9hG4bK-{self._count}"
        data = invite(uri, branch=branch, call_id=call_id, tag=f"t{self._count}", **more)
        self.pbx.send(data, self.proxy)
        return call_id

    def ring(self, uri: str = LONDON) -> SipRequest:
        """A call that rings: the provider's INVITE."""
        self.dial(uri)
        outgoing: SipRequest = self.provider.expect("INVITE")
        self.provider.send(answer(outgoing, 180, "Ringing"), self.proxy)
        self.pbx.expect("180 INVITE")
        return outgoing

    def talk(self, uri: str = LONDON) -> SipResponse:
        """A call that is answered: the 200 as the PBX saw it."""
        self.dial(uri)
        outgoing = self.provider.expect("INVITE")
        contact = f"sip:carrier@{self.provider.address[0]}:{self.provider.address[1]}"
        self.provider.send(answer(outgoing, 200, tag=f"u{self._count}", contact=contact), self.proxy)
        ok: SipResponse = self.pbx.expect("200 INVITE")
        ack = in_dialog("ACK", ok, cseq=1, branch=f"z9hG4bK-ack{self._count}")
        self.pbx.send(ack, self.proxy)
        self.provider.expect("ACK")
        return ok

    def hang_up(self, ok: SipResponse) -> None:
        """The PBX ends the call."""
        self._count += 1
        self.pbx.send(in_dialog("BYE", ok, cseq=2, branch=f"z9hG4bK-bye{self._count}"), self.proxy)
        self.provider.send(answer(self.provider.expect("BYE"), 200), self.proxy)
        self.pbx.expect("200 BYE")

    def take_byes(self) -> tuple[SipRequest, SipRequest]:
        """The proxy ends the call: both sides get BYE and accept it. (PBX's, provider's)"""
        byes = []
        for peer in (self.pbx, self.provider):
            request = peer.expect("BYE")
            peer.send(answer(request, 200), self.proxy)
            byes.append(request)
        return byes[0], byes[1]


@contextmanager
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.pbx.close()
    made.provider.close()


def configuration(line: Line | None = None, **changes: Any) -> dict[str, Any]:
    """One trunk at the PBX, one provider; `trunk` and top-level keys can be changed. All ports are free
    ones."""
    host, port = line.provider.address if line is not None else ("127.0.0.1", 5999)
    return {
        "listen": ["udp:127.0.0.1:0"],
        "admin": {"listen": "127.0.0.1:0"},
        "providers": [{"name": "carrier", "hostname": f"{host}:{port}"}],
        "trunks": [
            {
                "name": "office",
                "provider": "carrier",
                "allowed_sip_ips": [PBX_HOST],
                "destination_whitelist": ["gb", "us"],
                **changes.pop("trunk", {}),
            }
        ],
        "emergency": {"numbers": ["112"], "providers": ["carrier"]},
        **changes,
    }


def write(folder: Path, content: dict[str, Any] | str) -> Path:
    """Put a configuration file into `folder`."""
    path = folder / "trunkwarden.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text)
    return path


class WithoutHttp(Application):
    """The instance without its HTTP process, which takes most of the time that a start takes."""

    async def _start_admin(self) -> None:
        self.admin_url = "http://127.0.0.1:0"


def application(path: Path, kind: type[Application] = WithoutHttp) -> Application:
    compiled = load_policy(path)
    assert compiled.problems == ()
    assert compiled.config is not None
    assert compiled.policy is not None
    return kind(path, compiled.config, compiled.policy)


def _patient_opener(shard_by: str) -> Any:
    """A busy machine may let the ledger's server stand still for longer than a call waits for it."""
    return partial(opener_of(shard_by), deadline=PATIENT)


@asynccontextmanager
async def running(
    folder: Path, content: dict[str, Any], line: Line | None = None, kind: type[Application] = WithoutHttp
) -> AsyncIterator[Application]:
    """A started instance; the line's peers know its address."""
    app = application(write(folder, content), kind)
    with patch.object(app_module, "opener_of", _patient_opener):
        await app.start()
    if line is not None:
        line.proxy = next(iter(app.server.endpoints))[1]
    try:
        yield app
    finally:
        await app.stop()


async def aside(work: Any, *arguments: Any) -> Any:
    """Run what blocks in a thread, so that the instance in this loop goes on."""
    return await asyncio.to_thread(work, *arguments)


def descendants(pid: int) -> set[int]:
    """All processes below `pid` (Linux)."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in below.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def only_linux() -> None:
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("needs /proc")
