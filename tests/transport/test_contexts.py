"""Certificates of listeners and providers, from their files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from config.model import Config
from proxy.transport.contexts import CertificateError, PeerFiles, TlsContexts, TlsFiles, files_by_bind
from tests.certificates import Authority
from tests.transport.stage import files_of


def configuration(listen: list[dict[str, Any]], *providers: dict[str, Any]) -> Config:
    return Config.model_validate({"listen": listen, "providers": list(providers)})


def carrier(**more: Any) -> dict[str, Any]:
    return {"name": "a", "hostname": "Carrier.example.:5071", "transport": "tls", **more}


def test_files_that_cannot_be_used_are_named(certificates: Path) -> None:
    locked = TlsFiles(certificates / "proxy.pem", certificates / "locked.key")
    with pytest.raises(CertificateError, match=r"locked\.key: the key is encrypted"):
        TlsContexts(locked)
    for field in ("client_ca", "trusted_ca"):
        with pytest.raises(CertificateError, match=r"authorities .*proxy\.key"):
            TlsContexts(files_of(certificates, "proxy", **{field: certificates / "proxy.key"}))
    with pytest.raises(CertificateError, match="No such file"):
        TlsContexts(files_of(certificates, "none"))
    peers = {"a": PeerFiles(certificates / "none.pem")}
    with pytest.raises(CertificateError, match=r"authorities .*none\.pem"):
        TlsContexts(files_of(certificates, "proxy", peers=peers))


def test_a_key_that_does_not_fit(certificates: Path, tmp_path: Path) -> None:
    shutil.copy(certificates / "proxy.pem", tmp_path / "now.pem")
    shutil.copy(certificates / "pbx.key", tmp_path / "now.key")
    with pytest.raises(CertificateError, match=r"now\.pem .*KEY_VALUES_MISMATCH"):
        TlsContexts(files_of(tmp_path, "now"))


def test_entries_of_one_address_are_told_apart_by_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    a = authority.issue("a", "DNS:a.example", "DNS:both.example")
    b = authority.issue("b", "DNS:b.example", "DNS:both.example", "DNS:*.b.example")
    bind = "tls:127.0.0.1:5061"
    config = configuration(
        [
            {"bind": bind, **a, "client_ca_file": str(authority.file)},
            {"bind": bind, **b},
            {"bind": "udp:127.0.0.1"},
        ]
    )
    found = files_by_bind(config)
    assert list(found) == [bind]
    files = found[bind]
    assert (str(files.certificate), files.client_ca) == (a["certificate_file"], authority.file)
    pair = (Path(b["certificate_file"]), Path(b["key_file"]))
    assert files.by_name == {"b.example": pair, "*.b.example": pair}
    TlsContexts(files)


def test_a_file_that_vanished_is_an_error(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    bind = "tls:127.0.0.1:5061"
    listen = [{"bind": bind, **authority.issue(name, f"DNS:{name}.example")} for name in "ab"]
    (tmp_path / "b.pem").unlink()
    with pytest.raises(CertificateError, match=r"b\.pem` cannot be read"):
        files_by_bind(configuration(listen))


def test_providers_that_are_verified_in_a_way_of_their_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("a", "DNS:a.example")
    listen = [{"bind": "tls:127.0.0.1:5061", **files}]
    plain = carrier(name="b", hostname="b.example")
    config = configuration(listen, carrier(ca_file=str(authority.file)), plain)
    (found,) = files_by_bind(config).values()
    assert found.peers == {"carrier.example": PeerFiles(authority.file)}
    shown = carrier(**files)
    (found,) = files_by_bind(configuration(listen, shown)).values()
    assert found.peers == {
        "carrier.example": PeerFiles(None, Path(files["certificate_file"]), Path(files["key_file"]))
    }


def test_requests_go_back_only_where_one_file_vouches_in_both_directions(certificates: Path) -> None:
    ca, other = certificates / "ca.pem", certificates / "stranger.pem"
    peers = {"a.example": PeerFiles(ca), "b.example": PeerFiles(other)}
    both = TlsContexts(files_of(certificates, "proxy", client_ca=ca, peers=peers))
    allowed = [name for name in ("A.example.", "b.example", "c.example") if both.may_call_back(name)]
    assert allowed == ["A.example."]
    assert not TlsContexts(files_of(certificates, "proxy", peers=peers)).may_call_back("a.example")
