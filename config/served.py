"""What the configuration can say and this version of the program cannot do: refused when the file is checked.

One place, so that a transport or a kind of ledger that gets served is taken out of one table.
"""

from __future__ import annotations

from collections.abc import Iterator

from config.model import LedgerConfig, Listener, ProviderConfig
from config.problem import Finding, join

LISTEN_TRANSPORTS = frozenset({"udp", "tcp", "tls"})
PROVIDER_TRANSPORTS = frozenset({"udp", "tcp", "tls"})
LEDGER_SCHEMES = frozenset({"embedded", "redis", "rediss", "unix", "redis+sentinel", "redis+cluster"})


def unserved_listener(listener: Listener, path: str) -> Iterator[Finding]:
    if listener.transport not in LISTEN_TRANSPORTS:
        text = f"this version listens on {_words(LISTEN_TRANSPORTS)} only, not on `{listener.transport}`"
        yield Finding(path, text)


def unserved_provider(provider: ProviderConfig, path: str) -> Iterator[Finding]:
    if provider.transport not in PROVIDER_TRANSPORTS:
        text = f"this version sends over {_words(PROVIDER_TRANSPORTS)} only, not over `{provider.transport}`"
        yield Finding(join(path, "transport"), text)


def unserved_ledger(ledger: LedgerConfig, path: str) -> Iterator[Finding]:
    scheme = ledger.url.partition("://")[0]
    if scheme not in LEDGER_SCHEMES:
        text = f"this version has no `{scheme}://` ledger, only {_words(LEDGER_SCHEMES)}"
        yield Finding(join(path, "url"), text)


def _words(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
