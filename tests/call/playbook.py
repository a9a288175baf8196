"""A ladder diagram as a test: the real stack, call core and policy, with two peers and time in the test's
hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from config.model import Config
from policy.compile import compile_policy
from policy.compiled import Policy, Provider
from policy.reasons import ReasonCode
from proxy.admission.policy_store import PolicyStore
from proxy.call.authenticator import Authenticator
from proxy.call.commands import Changed, Reserve
from proxy.call.core import CallSettings, ProxyCore
from proxy.call.forwarding import Identity
from proxy.call.nonce import Nonces
from proxy.call.reach import Hop
from proxy.sip.counters import SipCounters
from proxy.sip.message import Flow, SipRequest, SipResponse
from proxy.sip.parse import parse_message
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers

PROXY = ("127.0.0.1", 5060)
PBX = ("127.0.0.2", 5070)
STREAM_PROXY = ("127.0.0.1", 5062)
CARRIER = ("127.0.0.3", 5090)
STRANGER = ("127.0.0.9", 5099)

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def policy(**changes: Any) -> Policy:
    """One trunk, one provider; `trunk`, `provider` and top-level keys can be changed; `stir_files`: what
    is read for `stir`."""
    trunk = {
        "name": "office",
        "provider": "carrier",
        "allowed_sip_ips": ["127.0.0.2"],
        "destination_whitelist": ["gb", "us"],
        **changes.pop("trunk", {}),
    }
    provider = {"name": "carrier", "hostname": f"{CARRIER[0]}:{CARRIER[1]}", **changes.pop("provider", {})}
    more = changes.pop("more_providers", [])
    stir = changes.pop("stir_files", None)
    config = Config.model_validate({"trunks": [trunk], "providers": [provider, *more], **changes})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    result = compile_policy(config, {}, version="test", loaded_at=at, stir=stir)
    assert result.policy is not None, result.problems
    return result.policy


class Playbook:
    """Sends datagrams into the core and reads what it sends. `admit_all` grants each reservation at once."""

    def __init__(
        self,
        compiled: Policy | None = None,
        *,
        admit_all: bool = True,
        settings: CallSettings | None = None,
        identities: dict[tuple[str, int], Identity] | None = None,
        tcp: bool = False,
    ) -> None:
        self.now = 1000.0
        self._minted = -1  # the first is the core's own
        self.counters = SipCounters()
        self.stack = SipStack(Timers(), self.counters)
        self.store = PolicyStore(compiled or policy())
        self.core = ProxyCore(
            self.stack,
            self.store,
            self.routes,
            self.leads_to,
            self._mint,
            {
                ("udp", at): identity
                for at, identity in (identities or {PROXY: Identity("udp", b"127.0.0.1:5060")}).items()
            }
            | ({("tcp", STREAM_PROXY): Identity("tcp", b"127.0.0.1:5062")} if tcp else {}),
            settings or CallSettings(),
            Authenticator(Nonces(b"k" * 32, lambda: int(self.now * 1000))),
        )
        self.admit_all = admit_all
        self.commands: list[str] = []
        self.unreachable: set[str] = set()
        self.more_hosts: set[str] = set()
        self.more_hops: list[tuple[str, int]] = []
        self.executed: list[Any] = []
        self.pending: list[Any] = []
        self.sessions: list[Any] = []
        self.left_by: list[tuple[str, int]] = []
        self.flows: list[Flow] = []
        self.sent: list[tuple[tuple[str, int], SipRequest | SipResponse, bytes]] = []

    def routes(self, provider: Provider) -> list[Hop]:
        if provider.name in self.unreachable:
            return []
        local = next(
            at
            for kind, at in self.core.identities
            if kind == "udp" and (":" in at[0]) == (":" in provider.host)
        )
        remote = (provider.host, provider.port or 5060)
        first = Hop(Flow("udp", local, remote), self.core.ways.stream(remote))
        return [first, *(Hop(Flow("udp", local, remote)) for remote in self.more_hops)]

    def leads_to(self, provider: Provider, host: str) -> bool:
        return host in (provider.host, *self.more_hosts)

    def _mint(self) -> tuple[str, bytes, bytes]:
        self._minted += 1
        ref = f"ref{self._minted}"
        return ref, ref.encode() + b".callee-signed", ref.encode() + b".caller-signed"

    # --- what the peers and the clock do ---

    def receive(
        self,
        data: bytes,
        source: tuple[str, int] = PBX,
        local: tuple[str, int] = PROXY,
        flow: Flow | None = None,
    ) -> Playbook:
        """A datagram from `source` at one of our listeners, or a message that came by `flow`."""
        for event in self.stack.receive(data, flow or Flow("udp", local, source), self.now):
            self.core.handle(event, self.now)
        return self._pump()

    def pass_time(self, seconds: float) -> Playbook:
        """Let time pass, firing whatever is due on the way."""
        end = self.now + seconds
        while True:
            due = [at for at in (self.stack.next_timer(), self.core.next_alarm()) if at is not None]
            if not due or min(due) > end:
                break
            self.now = max(min(due), self.now)
            for event in self.stack.handle_timers(self.now):
                self.core.handle(event, self.now)
            self.core.handle_alarms(self.now)
            self._pump()
        self.now = end
        return self

    def link_down(self, flow: Flow) -> Playbook:
        """The connection of this flow breaks, or did not come to be."""
        for event in self.stack.transport_failed(flow, self.now):
            self.core.handle(event, self.now)
        return self._pump()

    def decide(self, reason: ReasonCode | None = None) -> Playbook:
        """The ledger's answer to the oldest reservation that waits."""
        session = self.pending.pop(0)
        if reason is None:
            session.admitted(self.now)
        else:
            session.refused(reason, self.now)
        return self._pump()

    def pump(self) -> Playbook:
        return self._pump()

    def read(self, data: bytes, flow: Flow) -> SipRequest | SipResponse:
        """What the peer reads in what was sent to it."""
        message = parse_message(data, flow)
        assert message is not None
        return message

    def _pump(self) -> Playbook:
        while self.core.commands or self.stack.outbox:
            outbox, self.stack.outbox = self.stack.outbox, []
            for data, flow in outbox:
                self.sent.append((flow.remote, self.read(data, flow), data))
                self.left_by.append(flow.local)
                self.flows.append(flow)
            commands, self.core.commands = self.core.commands, []
            for command in commands:
                if not isinstance(command, Changed):  # moves no call
                    self.commands.append(type(command).__name__)
                self.executed.append(command)
                if isinstance(command, Reserve):
                    self.sessions.append(command.session)
                    if self.admit_all:
                        command.session.admitted(self.now)
                    else:
                        self.pending.append(command.session)
        return self

    # --- what the peers saw ---

    def take(self) -> list[str]:
        """What was sent since the last look, as `address <- start of the message`."""
        seen = [f"{_name(remote)} <- {_label(message)}" for remote, message, _ in self.sent]
        self.sent.clear()
        return seen

    def last(self, remote: tuple[str, int]) -> Any:
        """The newest message to `remote`."""
        return next(message for to, message, _ in reversed(self.sent) if to == remote)

    def last_bytes(self, remote: tuple[str, int]) -> bytes:
        """The newest datagram to `remote`."""
        return next(data for to, _, data in reversed(self.sent) if to == remote)


def _name(remote: tuple[str, int]) -> str:
    return {PBX: "pbx", CARRIER: "carrier", STRANGER: "stranger"}.get(remote, f"{remote[0]}:{remote[1]}")


def _label(message: SipRequest | SipResponse) -> str:
    if isinstance(message, SipRequest):
        return message.method.decode()
    return f"{message.status} ({message.cseq_method.decode()})"


def invite(
    uri: str = "sip:+442071838750@127.0.0.1",
    *,
    branch: str = "z9hG4bK-1",
    call_id: str = "call-1",
    tag: str = "pbx1",
    extra: str = "",
    body: bytes = SDP,
    cseq: int = 1,
    to: str | None = None,
    method: str = "INVITE",
    to_tag: str = "",
) -> bytes:
    """An INVITE, or another request outside or inside a dialog, as the PBX sends it."""
    to_value = f"<{to or uri}>" + (f";tag={to_tag}" if to_tag else "")
    head = (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.2:5070;branch={branch};rport\r\n"
        f'From: "Alice" <sip:+15551230001@127.0.0.2>;tag={tag}\r\n'
        f"To: {to_value}\r\n"
        f"Call-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\n"
        "Contact: <sip:alice@127.0.0.2:5070>\r\n"
        "Max-Forwards: 70\r\n"
        f"{extra}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer(
    request: SipRequest,
    status: int,
    phrase: str = "OK",
    *,
    tag: str = "uas1",
    extra: str = "",
    contact: str = "",
) -> bytes:
    """The carrier's response to a request that it received."""
    lines = [f"SIP/2.0 {status} {phrase}".encode()]
    for name, line in request.headers:
        if name in (b"via", b"from", b"call-id", b"cseq", b"record-route"):
            lines.append(line)
        elif name == b"to":
            lines.append(line if request.to_tag or status == 100 else line + f";tag={tag}".encode())
    target = contact or f"sip:carrier@{CARRIER[0]}:{CARRIER[1]}"
    lines.append(f"Contact: <{target}>".encode())
    if extra:
        lines.extend(extra.encode().split(b"\r\n"))
    lines.append(b"Content-Length: 0")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def in_dialog(
    method: str,
    response: SipResponse,
    *,
    cseq: int,
    from_callee: bool = False,
    uri: str | None = None,
    branch: str = "z9hG4bK-in",
    route: bool = True,
    extra: str = "",
) -> bytes:
    """A request within the dialog that `response`, as the PBX received it, made."""
    from_value, to_value = response.first(b"from") or b"", response.first(b"to") or b""
    if from_callee:
        from_value, to_value = to_value, from_value
    host = "127.0.0.3:5090" if from_callee else "127.0.0.2:5070"
    routes = response.all(b"record-route")
    if from_callee:
        # What it was shown itself, not what the PBX was.
        routes = [value.replace(b".caller-", b".callee-") for value in routes]
    else:
        routes = routes[::-1]
    target = uri or ("sip:alice@127.0.0.2:5070" if from_callee else "sip:carrier@127.0.0.3:5090")
    lines = [
        f"{method} {target} SIP/2.0".encode(),
        f"Via: SIP/2.0/UDP {host};branch={branch};rport".encode(),
        *([b"Route: " + value for value in routes] if route else []),
        b"From: " + from_value,
        b"To: " + to_value,
        b"Call-ID: " + response.call_id,
        f"CSeq: {cseq} {method}".encode(),
        b"Max-Forwards: 70",
        *([line for line in extra.encode().split(b"\r\n") if line]),
        b"Content-Length: 0",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def established(playbook: Playbook, **arguments: Any) -> SipResponse:
    """Place a call, answer and acknowledge it; the 200 as the PBX saw it. What was sent is taken."""
    playbook.receive(invite(**arguments))
    playbook.receive(answer(playbook.last(CARRIER), 200), CARRIER)
    ok: SipResponse = playbook.last(PBX)
    playbook.receive(in_dialog("ACK", ok, cseq=1, branch="z9hG4bK-ack"))
    playbook.take()
    return ok
