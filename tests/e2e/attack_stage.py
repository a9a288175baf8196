"""The stage of the attack cases: the fixture of tests/cases, its sink, and what must hold after each case."""

from __future__ import annotations

import re
import select
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cases.reading import Plan, denied, number_of, region
from tests.e2e.configuration import configuration
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import EVIL
from tests.e2e.redis_server import RedisServer
from tests.e2e.sip_text import SDP, Message, fresh, text
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import fence
from tests.e2e.waiting import eventually

CASES = Path(__file__).parents[1] / "cases"
FIXTURE: dict[str, Any] = yaml.safe_load((CASES / "fixture.yaml").read_text())
SETTLE_SECONDS = 20.0
_FILL = re.compile(r"\{fill:(\d+)\}")
_SCOPE = "{tw}:s:"
_WINDOW = "{tw}:w:"


def load(name: str) -> list[dict[str, Any]]:
    """The cases of one file."""
    return list(yaml.safe_load((CASES / f"{name}.yaml").read_text()))


def attack_configuration(folder: Path, ledger: str, provider: tuple[str, int]) -> dict[str, Any]:
    """The fixture as a configuration."""
    trunks = []
    for name, own in FIXTURE["trunks"].items():
        fields = {key: value for key, value in own.items() if key != "source"}
        trunks.append(
            {"name": name, "provider": "carrier", "allowed_sip_ips": [own["source"]], "rate_deck": "attacks",
             **FIXTURE["policy"], **fields}
        )  # fmt: skip
    config = configuration(
        folder, ledger, [provider_entry("carrier", provider)], trunks,
        listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        emergency={"numbers": FIXTURE["emergency"], "providers": ["carrier"]},
        ledger={"lease_seconds": 600},
    )  # fmt: skip
    (folder / "attacks.csv").write_text(FIXTURE["rates"])
    config["rate_decks"]["attacks"] = {"file": str(folder / "attacks.csv")}
    return config


class Sink:
    """`evil`: counts what reaches its UDP and TCP port, which is nothing."""

    def __init__(self) -> None:
        self._peer = Peer(EVIL)
        self.address = self._peer.address
        self.host_port = self._peer.host_port
        self._listener = socket.create_server(self.address)

    @property
    def packets(self) -> int:
        """Datagrams and connections so far."""
        return len(self._peer.received) + bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        self._listener.close()
        self._peer.close()


@dataclass
class Stage:
    """The running program between callers, one provider and the sink. `live` is how many calls live now."""

    proxy: Trunkwarden
    provider: Peer
    evil: Sink
    redis: RedisServer
    live: int = 0
    _judged_so_far: int = 0
    _callers: dict[tuple[str, str], Peer] = field(default_factory=dict)

    def caller(self, source: str, purpose: str = "cases") -> Peer:
        """The peer at this address for this purpose, the same each time. Those of cases get responses that
        nobody can read as a whole."""
        key = (source, purpose)
        if key not in self._callers:
            self._callers[key] = Peer(source)
        return self._callers[key]

    def close(self) -> None:
        for peer in self._callers.values():
            peer.close()
        self.evil.close()

    # --- writing a case's message

    def filled(self, template: str, caller: Peer, **more: str) -> str:
        """The places in braces, filled in."""
        host, port = self.proxy.address
        names = {
            "proxy": f"{host}:{port}", "provider": self.provider.host_port, "evil": self.evil.host_port,
            "caller": caller.host_port, **more,
        }  # fmt: skip
        for name, value in names.items():
            template = template.replace("{" + name + "}", value)
        return _FILL.sub(lambda match: "a" * int(match[1]), template)

    def message(self, case: dict[str, Any], caller: Peer, branch: str) -> bytes:
        """What the case sends."""
        method = case.get("method", "INVITE")
        uri = case.get("uri") or f"sip:{case['dialled']}@{{proxy}}"
        body = b"x" * case["body"] if "body" in case else SDP
        transport = case.get("transport", "udp").upper()
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{transport} {{caller}};rport;branch={branch}",
            "Max-Forwards: 70",
            f'From: "Desk" <sip:+12025550117@{{caller}}>;tag={fresh("from")}',
            f"To: {case.get('to', '<sip:x@{proxy}>')}",
            f"Call-ID: {case.get('call_id', '')}{fresh('attack')}",
            f"CSeq: 1 {method}",
            "Contact: <sip:desk@{caller}>",
            *case.get("extra", ()) * case.get("repeat", 1),
            "Content-Type: application/sdp",
            "Content-Length: {length}",
        ]
        lines = [line for line in lines if "drop" not in case or not line.startswith(case["drop"] + ":")]
        template = case.get("prepend", "") + "\r\n".join(lines) + "\r\n\r\n"
        for old, new in case.get("replace", ()):
            assert old in template, f"{case['id']}: nothing to replace: {old!r}"
            template = template.replace(old, new)
        template = template.replace("\r\n", case.get("newlines", "\r\n"))
        return self.filled(template, caller, length=str(len(body))).encode() + body

    # --- what came of it

    def fence(self, source: str) -> None:
        """What was sent before has been worked on: an OPTIONS behind it is answered."""
        fence(self.caller(source, "fences"), self.proxy.address, SETTLE_SECONDS)

    def acknowledge(self, caller: Peer, response: Message) -> None:
        """The ACK of a refused INVITE, made of its response, where that has all it takes."""
        if any(len(response.all(name)) != 1 for name in ("from", "to", "call-id", "cseq")):
            return
        via = response.all("via")[0]
        headers = [("Via", via.split(";received")[0]), ("Max-Forwards", "70")]
        headers += [(name, response.one(name)) for name in ("from", "to", "call-id")]
        headers.append(("CSeq", response.one("cseq").split()[0] + " ACK"))
        caller.send(text("ACK sip:x@x SIP/2.0", headers), self.proxy.address)

    # --- what must hold

    def first_invites(self) -> list[Message]:
        """The initial INVITEs at the provider, retransmissions left out."""
        seen: dict[str, Message] = {}
        for datagram in list(self.provider.received):
            message = datagram.message
            if not message.is_response and message.method == "INVITE" and message.tag("to") is None:
                seen.setdefault(message.all("via")[0], message)
        return list(seen.values())

    def holds(self) -> None:
        """The invariants. Raises AssertionError."""
        assert self.evil.packets == 0, "something reached evil"
        eventually(self._counted, SETTLE_SECONDS, "as many INVITEs at the provider as admissions")
        invites = self.first_invites()
        fresh_ones, self._judged_so_far = invites[self._judged_so_far :], len(invites)
        for invite in fresh_ones:
            self._judged(invite.uri)
        eventually(lambda: self._leases() == self.live, SETTLE_SECONDS, "as many leases as live calls")
        self._books()

    def _counted(self) -> bool:
        name = "trunkwarden_admission_decisions_total"
        admitted = self.proxy.metric(name, decision="admitted")
        return len(self.first_invites()) == admitted

    def _judged(self, uri: str) -> None:
        emergency = [f"sip:{number}@{self.provider.host_port}" for number in FIXTURE["emergency"]]
        if uri in emergency or uri.startswith("urn:service:sos"):
            return
        number = number_of(uri, Plan())
        assert number is not None, uri
        assert uri == f"sip:{number}@{self.provider.host_port}", uri
        policy = FIXTURE["policy"]
        assert region(number) in [code.upper() for code in policy["destination_whitelist"]], uri
        assert not denied(number, tuple(policy["dst_prefixes"]["deny"])), uri

    def _leases(self) -> int:
        found = self.redis.client.zcard("{tw}:leases")
        assert isinstance(found, int)
        return found

    def _books(self) -> None:
        """The sum that is kept of a scope's window is that of its buckets; nothing is below zero."""
        client = self.redis.client
        for key in client.scan_iter(match=_SCOPE + "*"):
            name = key.decode().removeprefix(_SCOPE)
            with client.pipeline() as both:  # of one moment
                numbers, entries = both.hgetall(key).lrange(_WINDOW + name, 0, -1).execute()
            kept = {field.decode(): int(value) for field, value in numbers.items()
                    if value.lstrip(b"-").isdigit()}  # fmt: skip
            buckets = [int(entry.partition(b":")[2]) for entry in entries]
            assert all(value >= 0 for value in (*kept.values(), *buckets)), (name, kept, buckets)
            assert kept.get("w", 0) == sum(buckets), (name, kept, buckets)
            if self.live == 0:
                assert kept.get("n", 0) == kept.get("r", 0) == 0, (name, kept)
