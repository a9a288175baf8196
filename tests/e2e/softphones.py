"""User agents that others wrote: baresip and PJSIP as processes, judged by the SIP messages that they log."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.e2e.ports import free_udp_port
from tests.e2e.waiting import eventually

LIMIT_SECONDS = 15.0
_MODULES = Path("/usr/lib/baresip/modules")
_BARESIP_CONFIG = """\
sip_listen {host}:{port}
audio_source aubridge,sink
audio_player aubridge,sink
audio_alert aubridge,sink
module_path {modules}
module g711.so
module aubridge.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen {host}:{control}
"""


def missing(kind: str) -> str | None:
    """Why this softphone cannot be used here, or None."""
    if kind == "pjsip" and importlib.util.find_spec("pjsua2") is None:
        return "pjsua2-python is not installed (pip install trunkwarden[peers])"
    if kind == "baresip" and (shutil.which("baresip") is None or not _MODULES.is_dir()):
        return "baresip is not installed (Debian: baresip-core)"
    return None


class Softphone:
    """One process of `kind` (`pjsip`, `baresip`) on `host` that answers every call for `user`; ready when
    made."""

    def __init__(self, kind: str, host: str, user: str, folder: Path) -> None:
        self.kind = kind
        self.user = user
        self.address = (host, free_udp_port(host))
        self._log = folder / "log"
        self._control: socket.socket | None = None
        folder.mkdir(parents=True)
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command(folder), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT
            )
        ready = "PHONE READY" if kind == "pjsip" else "baresip is ready"
        eventually(lambda: ready in self.log, LIMIT_SECONDS, f"{kind} on {host}")

    def _command(self, folder: Path) -> list[str]:
        host, port = self.address
        if self.kind == "pjsip":
            return [sys.executable, str(Path(__file__).with_name("pjsip_phone.py")), host, str(port)]
        with socket.socket() as free:
            free.bind((host, 0))
            self._port = free.getsockname()[1]
        (folder / "config").write_text(
            _BARESIP_CONFIG.format(host=host, port=port, modules=_MODULES, control=self._port)
        )
        account = f"<sip:{self.user}@{host}:{port};transport=udp>;regint=0;answermode=auto\n"
        (folder / "accounts").write_text(account)
        return ["baresip", "-f", str(folder), "-s", "-v"]

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return self._log.read_text(errors="replace")

    def dial(self, uri: str) -> None:
        """Call this URI."""
        self._order(f"dial {uri}", "dial", uri)

    def reinvite(self) -> None:
        """Send a re-INVITE in the call."""
        self._order("reinvite", "hold", "")

    def hang_up(self) -> None:
        """End the call."""
        self._order("hangup", "hangup", "")

    def _order(self, pjsip: str, baresip: str, parameters: str) -> None:
        if self.kind == "pjsip":
            assert self._process.stdin is not None
            self._process.stdin.write(pjsip.encode() + b"\n")
            self._process.stdin.flush()
            return
        if self._control is None:
            self._control = socket.create_connection((self.address[0], self._port), LIMIT_SECONDS)
        text = json.dumps({"command": baresip, "params": parameters}).encode()
        self._control.sendall(b"%d:%b," % (len(text), text))

    def answers(self, method: str) -> list[int]:
        """The statuses of the responses to this method that it logged, sent and received, in order."""
        found = []
        status = ""
        for line in self.log.splitlines():
            if line.startswith("SIP/2.0 "):
                status = line.split()[1]
            elif line.startswith("CSeq:") and status:
                if line.split()[-1] == method:
                    found.append(int(status))
                status = ""
        return found

    def stop(self) -> None:
        """End the process."""
        if self._control is not None:
            self._control.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
