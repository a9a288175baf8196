"""Registrations at providers that want them (RFC 3261 §10.2), kept up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from proxy.call.provider_login import answer_challenge
from proxy.sip.errors import HeaderError
from proxy.sip.headers import delta_seconds, name_addr, split_list
from proxy.sip.message import Header, SipResponse
from proxy.sip.serialize import OutgoingRequest

if TYPE_CHECKING:
    from policy.compiled import Provider
    from proxy.call.core import ProxyCore
    from proxy.call.forwarding import Identity
    from proxy.sip.transaction import ClientTransaction

FIRST_RETRY_SECONDS: Final = 30.0
LONGEST_RETRY_SECONDS: Final = 600.0
LONGEST_SECONDS: Final = 86_400

_USER: Final = "-_.!~*'()&=+$,;?/"  # what may stand in a user part as it is


class Registration:
    """One provider's: owner of its client transactions. `expires_at` is when the provider forgets us, unless
    that is before now; `wake_at` belongs to the core's alarms."""

    __slots__ = (
        "_answered", "_at", "_call_id", "_core", "_cseq", "_failures", "_hop", "_login", "_over", "_seconds",
        "_tag", "expires_at", "provider", "wake_at",
    )  # fmt: skip

    def __init__(self, core: ProxyCore, provider: Provider) -> None:
        self._core = core
        self.provider = provider
        self.expires_at = 0.0
        self.wake_at = 0.0
        self._at = 0.0
        self._call_id = core.branch()[-24:]
        self._tag = core.branch()[-12:]
        self._cseq = 0
        self._hop = 0
        self._seconds = provider.register_seconds
        self._login: Header | None = None
        self._answered = 0
        self._failures = 0
        self._over = False

    def start(self, now: float) -> None:
        """Register now, and keep it up."""
        self._answered = 0
        self._login = None
        self._send(now)

    def stop(self) -> None:
        """Let it run out: other instances may be registered under the same address."""
        self._over = True

    def wake(self, now: float) -> float | None:
        """Register again when it is time."""
        if self._over:
            return None
        if now < self._at:
            return self._at
        self.start(now)
        return None

    def _send(self, now: float) -> None:
        core, provider = self._core, self.provider
        hops = core.routes(provider)
        if not hops:
            self._failed(now, None)
            return
        flow = hops[self._hop % len(hops)].flow
        identity = core.identity(flow)
        host = f"[{provider.host}]" if ":" in provider.host else provider.host
        uri = b"sip:" + host.encode() if provider.port is None else f"sip:{host}:{provider.port}".encode()
        self._cseq += 1
        branch = core.branch()
        user = self._user()
        address = b"<sip:%b@%b>" % (user, uri[4:])
        headers: list[Header] = [
            (b"via", identity.via + branch),
            (b"max-forwards", b"Max-Forwards: 70"),
            (b"from", b"From: %b;tag=%b" % (address, self._tag)),
            (b"to", b"To: " + address),
            (b"call-id", b"Call-ID: " + self._call_id),
            (b"cseq", b"CSeq: %d REGISTER" % self._cseq),
            (b"contact", b"Contact: <%b>" % self._contact(identity)),
            (b"expires", b"Expires: %d" % self._seconds),
        ]
        if self._login is not None:
            headers.append(self._login)
        headers.append((b"content-length", b"Content-Length: 0"))
        request = OutgoingRequest(b"REGISTER", uri, headers, branch)
        client = core.stack.send_request(request, flow, now, owner=self)
        if provider.networks is not None:
            client.senders = provider.networks.lookup

    def _user(self) -> bytes:
        login = self.provider.login
        return b"" if login is None else quote(login.username, safe=_USER).encode()

    def _contact(self, identity: Identity) -> bytes:
        return b"sip:" + self._user() + b"@" + identity.uri[4:]

    def response(self, client: ClientTransaction, response: SipResponse, now: float) -> None:
        """The provider's answer."""
        status = response.status
        if status < 200 or self._over:
            return
        login = answer_challenge(self._core, self.provider, response, client.request, self._answered)
        if login is not None:
            self._login = login
            self._answered += 1
            self._send(now)
        elif 200 <= status < 300:
            identity = self._core.identity(client.flow)
            granted = _granted(response, self._contact(identity), self._seconds)
            self._failures = 0
            self.expires_at = now + granted
            # Early enough to try again before it is forgotten.
            self._again(now, max(granted * 0.8, granted - 120.0) if granted else FIRST_RETRY_SECONDS)
        elif status == 423 and (wanted := delta_seconds(response.first(b"min-expires"))) > self._seconds:
            self._seconds = min(wanted, LONGEST_SECONDS)
            self._send(now)
        else:
            self._failed(now, response)

    def no_response(self, client: ClientTransaction, now: float) -> None:
        """Nobody answered: the next host is tried."""
        self._hop += 1
        self._failed(now, None)

    def unreachable(self, client: ClientTransaction, now: float) -> None:
        """The same."""
        self.no_response(client, now)

    def _failed(self, now: float, response: SipResponse | None) -> None:
        wait = min(FIRST_RETRY_SECONDS * 2.0**self._failures, LONGEST_RETRY_SECONDS)
        self._failures = min(self._failures + 1, 10)
        if response is not None:
            wait = max(wait, float(min(delta_seconds(response.first(b"retry-after")), LONGEST_SECONDS)))
        # Up to a fourth less, so that many do not come back at once.
        self._again(now, wait * (1.0 - int(self._core.branch()[-2:], 16) / 1024.0))

    def _again(self, now: float, seconds: float) -> None:
        if not self._over:
            self._at = now + seconds
            self._core.wake(self, self._at, now)


class Registrations:
    """All registrations of one instance, by the provider's name."""

    def __init__(self, core: ProxyCore) -> None:
        self._core = core
        self._live: dict[str, Registration] = {}

    def keep(self, providers: Iterable[Provider], now: float) -> None:
        """Register at these, as far as they want it; where something has changed, anew."""
        wanted = {each.name: each for each in providers if each.register_seconds and each.active}
        for name, live in list(self._live.items()):
            if wanted.get(name) != live.provider:
                live.stop()
                del self._live[name]
        for name, provider in wanted.items():
            if name not in self._live:
                live = self._live[name] = Registration(self._core, provider)
                live.start(now)

    def seconds_left(self, now: float) -> dict[str, float]:
        """For each provider how long we are known there; 0 where we are not."""
        return {name: max(live.expires_at - now, 0.0) for name, live in self._live.items()}


def _granted(response: SipResponse, contact: bytes, asked: int) -> int:
    """For how many seconds we are registered: as our Contact says, else Expires, else what was asked for."""
    expires = response.first(b"expires")
    granted = asked if expires is None else delta_seconds(expires)
    for value in (item for line in response.all(b"contact") for item in split_list(line)):
        try:
            parsed = name_addr(value)
        except HeaderError:
            continue
        own = parsed.param(b"expires")
        if parsed.uri == contact and own is not None:
            granted = delta_seconds(own)
    return min(granted, LONGEST_SECONDS)
