"""Baresip: Debian's baresip as a telephone, driven over its control socket."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.e2e.ports import free_udp_port
from tests.e2e.waiting import eventually

READY_SECONDS = 40.0
WAIT_SECONDS = 20.0
STOP_SECONDS = 3.0
_MODULES = Path("/usr/lib/baresip/modules")
_TAIL = 4_000

# A tone goes out; what comes in is counted, and thrown away.
_CONFIGURATION = """\
module_path {modules}
module g711.so
module ausine.so
module aubridge.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:{control}
sip_listen {host}:{port}
net_interface {host}
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 2
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
rtp_ports {media}-{media_end}
rtp_stats no
{tls}
"""

Event = dict[str, Any]


class Baresip:
    """A telephone at `host` whose number is `number`; it sends its calls by `outbound`, a SIP URI, or
    to whom they name.

    Serves when the constructor returns. `answers`: picks up at once. `tls` names a PEM file with certificate
    and key, and the authority's. `events` is all that it told so far.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        number: str,
        outbound: str = "",
        *,
        answers: bool = False,
        account: str = "",
        tls: tuple[Path, Path] | None = None,
        media_port: int = 21_000,
    ) -> None:
        folder.mkdir(parents=True)
        # Its TLS socket, if it has one, is on the port after the others.
        self.address = (host, free_udp_port(host))
        control = free_udp_port(host)
        certificates = "" if tls is None else f"sip_certificate {tls[0]}\nsip_cafile {tls[1]}\n"
        (folder / "config").write_text(
            _CONFIGURATION.format(
                modules=_MODULES, host=host, control=control, port=self.address[1], tls=certificates,
                media=media_port, media_end=media_port + 400,
            )
        )  # fmt: skip
        way = f';outbound="{outbound}"' if outbound else ""
        mode = "auto" if answers else "manual"
        (folder / "accounts").write_text(
            f"<sip:{number}@{host}:{self.address[1]}>;regint=0{way};answermode={mode}"
            f";audio_codecs=PCMA/8000/1{account}\n"
        )
        (folder / "contacts").write_text("")
        self.events: list[Event] = []
        self._responses: list[Event] = []
        self._taken = 0
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["baresip", "-f", str(folder), "-4", "-s", "-v"],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self._control = eventually(
                lambda: self._connected(host, control), READY_SECONDS, "baresip's socket"
            )
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.diagnostics()}") from None
        self._news = threading.Condition()
        threading.Thread(target=self._read, name="baresip", daemon=True).start()

    def _connected(self, host: str, port: int) -> socket.socket | None:
        if self.process.poll() is not None:
            raise AssertionError(f"baresip ended with {self.process.returncode}")
        try:
            return socket.create_connection((host, port), 1.0)
        except OSError:
            return None

    def _read(self) -> None:
        """Netstrings of JSON: responses to commands, and events."""
        self._control.settimeout(None)
        pending = b""
        while True:
            try:
                data = self._control.recv(65_536)
            except OSError:
                return
            if not data:
                return
            pending += data
            while (found := re.match(rb"(\d+):", pending)) is not None:
                end = found.end() + int(found.group(1))
                if len(pending) <= end:
                    break
                message = json.loads(pending[found.end() : end])
                pending = pending[end + 1 :]
                with self._news:
                    (self.events if message.get("event") else self._responses).append(message)
                    self._news.notify_all()

    def command(self, name: str, parameters: str = "") -> str:
        """Run one command of its menu: what it prints. Raises AssertionError when it is not understood."""
        token = f"{time.monotonic_ns()}"
        text = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))
        with self._news:
            answered = self._news.wait_for(lambda: self._response(token) is not None, WAIT_SECONDS)
            response = self._response(token)
        assert answered, f"baresip did not answer {name}\n{self.diagnostics()}"
        assert response is not None
        assert response["ok"], f"{name}: {response['data']}"
        return str(response["data"])

    def _response(self, token: str) -> Event | None:
        return next((one for one in self._responses if one.get("token") == token), None)

    def expect(self, kind: str, limit: float = WAIT_SECONDS) -> Event:
        """The next event of this type after the last that was expected. Raises AssertionError."""

        def index() -> int | None:
            later = range(self._taken, len(self.events))
            return next((at for at in later if self.events[at]["type"] == kind), None)

        with self._news:
            self._news.wait_for(lambda: index() is not None, limit)
            found = index()
            if found is None:
                seen = [event["type"] for event in self.events]
                raise AssertionError(f"baresip told of no {kind} but {seen}\n{self.diagnostics()}")
            self._taken = found + 1
            return self.events[found]

    def forget(self) -> None:
        """Events that are already there are not expected any more."""
        self._taken = len(self.events)

    def end_calls(self) -> None:
        """Hang up whatever is left."""
        for _ in range(3):
            if "Active calls (0)" in self.command("listcalls"):
                return
            self.command("hangup")

    def printed(self) -> str:
        """All that it has shown on its terminal, with all SIP messages."""
        return self._log.read_text(errors="replace")

    def diagnostics(self) -> str:
        """The end of what it printed."""
        return self.printed()[-_TAIL:]

    def stop(self) -> None:
        """SIGTERM; a live call of it gets its BYE."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
