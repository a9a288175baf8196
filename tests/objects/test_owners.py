"""Whose a trunk is, by ids."""

from __future__ import annotations

from pathlib import Path

from proxy.configuration import load_policy
from proxy.objects.document import Document
from proxy.objects.owners import document_in_force, ids_of, owner_of, owners_of
from proxy.objects.yaml_file import id_by_name
from tests.ledger.servers import Server

FILE = """emergency: none
policy: {source: %s}
ledger: {url: "%s"}
accounts: [{name: acme}]
providers: [{name: p, hostname: 192.0.2.1}]
trunks:
  - {name: office, account: acme, provider: p, allowed_sip_ips: [192.0.2.10], destination_whitelist: [us]}
  - {name: alone, provider: p, allowed_sip_ips: [192.0.2.11], destination_whitelist: [us]}
"""
OF_NAMES = {
    "office": f"accounts/{id_by_name('accounts', 'acme')}",
    "alone": f"trunks/{id_by_name('trunks', 'alone')}",
}


def test_owners() -> None:
    document = Document().create("accounts", "acme", {}, id="1").create("trunks", "alone", {}, id="2")
    known = ids_of(document)
    assert owner_of("office", "acme", known) == "accounts/1"
    assert owner_of("alone", None, known) == "trunks/2"
    assert owner_of("office", "gone", known) is None
    assert owner_of("gone", None, known) is None
    again = document.delete("accounts", "acme").create("accounts", "acme", {}, id="3")
    assert owner_of("office", "acme", ids_of(again)) == "accounts/3"  # another customer of that name


async def test_file_and_empty_store_say_the_same(empty_server: Server, tmp_path: Path) -> None:
    for source in ("file", "store"):
        file = tmp_path / f"{source}.yaml"
        file.write_text(FILE % (source, empty_server.url))
        config = load_policy(file).config
        assert config is not None
        document = await document_in_force(file, config)
        assert owners_of(config.trunks, ids_of(document)) == OF_NAMES
        assert owners_of(config.trunks, id_by_name) == OF_NAMES
