"""Pjsip: a PJSIP telephone (pjsua2) in a process of its own, as what it does must not end the tests."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.certificates import Certificates
from tests.e2e.ports import free_udp_port
from tests.e2e.sip_text import Message

READY_SECONDS = 40.0
WAIT_SECONDS = 20.0
_AGENT = Path(__file__).with_name("pjsip_agent.py")
_TAIL = 4_000

Event = dict[str, Any]


class Pjsip:
    """A telephone at `host` whose number is `number`. It sends its calls by `proxy`, a SIP URI with `lr`, or
    to whom they name. `answers`: picks up at once. `strict`: session timers are always on, and reliable
    provisional responses required. TLS needs `certificates`. `login`: user name and password."""

    def __init__(
        self,
        folder: Path,
        host: str,
        number: str,
        *,
        transport: str = "udp",
        certificates: Certificates | None = None,
        proxy: str = "",
        answers: bool = False,
        strict: bool = True,
        login: tuple[str, str] | None = None,
        media_port: int = 25_000,
    ) -> None:
        folder.mkdir(parents=True)
        self.address = (host, free_udp_port(host))
        settings = {
            "host": host, "port": self.address[1], "number": number, "transport": transport, "proxy": proxy,
            "tls": [] if certificates is None
            else [str(certificates.authority), str(certificates.certificate), str(certificates.key)],
            "media_port": media_port, "answers": answers, "strict": strict,
            "login": login,
        }  # fmt: skip
        self.events: list[Event] = []
        self._taken = 0
        self._news = threading.Condition()
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_AGENT), json.dumps(settings)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        threading.Thread(target=self._read, name="pjsip", daemon=True).start()
        try:
            self.expect("ready", limit=READY_SECONDS)
        except AssertionError:
            self.stop()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    def do(self, what: str, **arguments: Any) -> None:
        """One of the methods of the agent's `Phone`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def forget(self) -> None:
        """Events that are already there are not expected any more."""
        self._taken = len(self.events)

    def expect(
        self,
        kind: str,
        fits: Callable[[Event], bool] = lambda _: True,
        limit: float = WAIT_SECONDS,
        **facts: Any,
    ) -> Event:
        """The next event of this kind, with these facts, after the last that was expected. Raises
        AssertionError."""

        def wanted(event: Event) -> bool:
            known = all(event.get(name) == value for name, value in facts.items())
            return bool(event["event"] == kind and known and fits(event))

        deadline = time.monotonic() + limit
        with self._news:
            while True:
                for at in range(self._taken, len(self.events)):
                    if wanted(self.events[at]):
                        self._taken = at + 1
                        return self.events[at]
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"PJSIP told of no {kind} {facts}\n{self.diagnostics()}")

    def state(self, state: str, limit: float = WAIT_SECONDS) -> Event:
        """The call gets into this state."""
        return self.expect("state", limit=limit, state=state)

    def received(self, start: str) -> list[Message]:
        """The messages of calls that came so far and begin like this."""
        with self._news:
            texts = [event["text"] for event in self.events if event["event"] == "received"]
        return [Message.parse(text.encode()) for text in texts if text.startswith(start)]

    def packets(self) -> int:
        """RTP packets that its call has received."""
        self.do("packets")
        return int(self.expect("packets")["count"])

    def printed(self) -> str:
        """Its log, with all SIP messages."""
        return self._log.read_text(errors="replace")

    def diagnostics(self) -> str:
        """What happened, and the end of its log."""
        events = [{**event, "text": event.get("text", "")[:60]} for event in self.events]
        return f"{self.process.poll()} {events}\n{self.printed()[-_TAIL:]}"

    def stop(self) -> None:
        """At once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
