"""Rules about `listen` and about TLS, and which entries are one socket: it may have several certificates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from config.model import Listener, ProviderConfig
from config.problem import join
from config.scopes import Report
from config.served import unserved_listener
from config.structure import Draft

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})
_OF_THE_SOCKET = ("advertise", "client_ca_file")
_OF_A_PROVIDER = ("ca_file", "certificate_file", "key_file")


def by_socket(listen: Iterable[Listener]) -> list[tuple[Listener, ...]]:
    """The entries of each socket, in the order of the file. Several for one TLS address are its certificates:
    the first is shown to whoever asks for no name, or for one that no entry has. With port 0 each entry gets
    a socket of its own."""
    groups: list[list[Listener]] = []
    found: dict[tuple[str, int], list[Listener]] = {}
    for listener in listen:
        key = (listener.host, listener.port)
        if listener.transport == "tls" and listener.port and key in found:
            found[key].append(listener)
        else:
            groups.append([listener])
            if listener.transport == "tls":
                found.setdefault(key, groups[-1])
    return [tuple(group) for group in groups]


def check_listeners(draft: Draft, report: Report) -> None:
    """Every rule over `listen`."""
    seen: dict[tuple[str, str, int], tuple[str, Listener]] = {}
    everywhere = draft.sections.get("advertise")
    for path, listener in draft.items.get("listen", []):
        report.problems.extend(unserved_listener(listener, path))
        _check_certificates(listener, path, report)
        socket = ("udp" if listener.transport == "udp" else "tcp", listener.host, listener.port)
        if listener.port and socket in seen:
            _check_shared(listener, path, *seen[socket], report)
            continue
        seen[socket] = (path, listener)
        if listener.host in _ANY_ADDRESS and listener.advertise is None and everywhere is None:
            text = "listens on every address: say in `advertise` what peers are told in place of it"
            report.problem(path, text)


def _check_shared(listener: Listener, path: str, first: str, other: Listener, report: Report) -> None:
    """One address twice: only as another certificate of a TLS listener."""
    if not listener.transport == other.transport == "tls":
        report.problem(path, f"listens where {first} already does")
        return
    for key in _OF_THE_SOCKET:
        value = getattr(listener, key)
        if value is not None and value != getattr(other, key):
            text = f"is for all certificates of this address: write it at {first} only"
            report.problem(join(path, key), text)


def _check_certificates(listener: Listener, path: str, report: Report) -> None:
    given = [key for key in ("certificate_file", "key_file", "client_ca_file") if getattr(listener, key)]
    if listener.transport != "tls":
        for key in given:
            report.problem(join(path, key), f"has a meaning for `tls` only, not for `{listener.transport}`")
    elif not {"certificate_file", "key_file"} <= set(given):
        report.problem(path, "a `tls` listener needs `certificate_file` and `key_file`")


def check_provider_certificates(
    provider: ProviderConfig, path: str, seen: dict[str, tuple[str, ProviderConfig]], report: Report
) -> None:
    """The TLS keys of one provider; `seen` holds the TLS providers so far, by host."""
    given = [key for key in _OF_A_PROVIDER if getattr(provider, key) is not None]
    if provider.transport != "tls":
        for key in given:
            report.problem(join(path, key), f"has a meaning for `tls` only, not for `{provider.transport}`")
        return
    for key, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
        if key in given and other not in given:
            report.problem(join(path, key), f"needs `{other}` as well")
    first, earlier = seen.setdefault(provider.host.lower().rstrip("."), (path, provider))
    if _files(provider) != _files(earlier):
        text = f"is the host of {first} too, with other {_named(_OF_A_PROVIDER)}: write the same in both"
        report.problem(join(path, "hostname"), text)


def _files(provider: ProviderConfig) -> Mapping[str, Any]:
    return {key: getattr(provider, key) for key in _OF_A_PROVIDER}


def _named(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)
