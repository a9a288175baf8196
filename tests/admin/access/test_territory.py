"""Nobody's calls are taken by a more specific network of another account."""

from __future__ import annotations

import pytest

from proxy.admin.access.identity import Identity, everything
from proxy.admin.access.territory import taken_from_others
from proxy.objects.document import Document, new_id

ACME = Identity("acme", frozenset({"write"}), "acme")
DOCUMENT = Document()
for name, account, networks in (
    ("own", "acme", ["192.0.2.0/24"]),
    ("theirs", "zenith", ["198.51.100.0/24", "2001:db8::/32", "${OFFICE}"]),
    ("nobody's", None, ["203.0.113.0/24"]),
    ("everywhere", None, ["0.0.0.0/0", "::/0"]),
):
    spec = {"allowed_sip_ips": networks, **({} if account is None else {"account": account})}
    DOCUMENT = DOCUMENT.create("trunks", name, spec, id=new_id())


@pytest.mark.parametrize(
    ("networks", "taken"),
    [
        (["192.0.2.7/32"], None),
        (["198.51.100.7/32"], "198.51.100.7/32"),
        (["192.0.2.7", "2001:db8:1::/48"], "2001:db8:1::/48"),
        (["203.0.113.0/25"], "203.0.113.0/25"),
        (["198.51.100.0/24"], None),  # whether both can be told apart is judged elsewhere
        (["198.51.0.0/16", "0.0.0.0/0"], None),  # the more specific one stays theirs
        (["233.252.0.1/32", "${OFFICE}"], None),
    ],
)
def test_who_sees_one_account(networks: list[str], taken: str | None) -> None:
    assert taken_from_others(DOCUMENT, ACME, networks) == taken


def test_who_sees_all_may() -> None:
    assert taken_from_others(DOCUMENT, everything("ops"), ["198.51.100.7/32"]) is None
