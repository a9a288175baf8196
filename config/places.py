"""Rules about the places that messages are sent to: providers' hosts, and what peers are told of ours."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from config.address import is_address, split_host_port
from config.model import Config, Listener, ProviderConfig
from config.problem import join
from config.scopes import Report
from config.structure import Draft

_BROADCAST = IPv4Address("255.255.255.255")
_LOOPBACK = {4: "127.0.0.1", 6: "[::1]"}
_DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}


def check_advertised(draft: Draft, report: Report) -> None:
    """What peers are told is somewhere to send to; listeners have the address by which peers know it."""
    everywhere = draft.sections.get("advertise")
    if everywhere is not None:
        _check_place(*split_host_port(everywhere), "advertise", report)
    for path, listener in draft.items.get("listen", []):
        if listener.advertise is not None:
            _check_place(*split_host_port(listener.advertise), join(path, "advertise"), report)
        _check_mapped(listener.host, join(path, "bind"), report)


def check_provider_place(provider: ProviderConfig, path: str, draft: Draft, report: Report) -> None:
    """A provider is somewhere else, where a listener can send to."""
    path = join(path, "hostname")
    default = [] if "listen" in draft.broken else [("listen", listener) for listener in Config().listen]
    listeners: list[tuple[str, Listener]] = draft.items.get("listen", default)
    if not _check_place(provider.host, provider.port, path, report) or not is_address(provider.host):
        return
    port = provider.port or _DEFAULT_PORT[provider.transport]
    for other, listener in listeners:
        if (listener.host, listener.port) == (provider.host, port):
            report.problem(path, f"`{provider.hostname}` is this proxy itself ({other})")
            return
    version = ip_address(provider.host).version
    families = {ip_address(one.host).version for _, one in listeners if one.transport == provider.transport}
    if families and version not in families:
        wanted = f"{provider.transport}:{_LOOPBACK[version]}"
        text = f"is IPv{version}, and no `{provider.transport}` listener is: add one such as `{wanted}` to"
        report.problem(path, f"{text} `listen`")


def _check_place(host: str, port: int | None, path: str, report: Report) -> bool:
    """Whether a message can be sent there, as far as the text shows."""
    if port == 0:
        report.problem(path, "port 0 is nowhere to send to")
        return False
    if not is_address(host):
        return True
    address = ip_address(host)
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        report.problem(path, f"`{host}` is the address of no single host")
        return False
    return _check_mapped(host, path, report)


def _check_mapped(host: str, path: str, report: Report) -> bool:
    address = ip_address(host)
    if not isinstance(address, IPv6Address) or address.ipv4_mapped is None:
        return True
    report.problem(path, f"`{host}` is IPv4 within IPv6: write `{address.ipv4_mapped}`")
    return False
