"""Certificates, keys and authorities: what `check` says about their files."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.certificates import UnusableFile, names_of
from config.load import Loaded, load_config
from tests.certificates import Authority

TLS = "tls:127.0.0.1:5061"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def load(folder: Path, listen: list[Any], providers: list[dict[str, Any]] | None = None) -> Loaded:
    file = folder / "trunkwarden.yaml"
    file.write_text(yaml.safe_dump({"listen": listen, "providers": providers or [], "emergency": "none"}))
    return load_config(file, {})


def listener(files: dict[str, str], bind: str = TLS, **more: str) -> dict[str, str]:
    return {"bind": bind, **files, **more}


def carrier(**more: str) -> dict[str, str]:
    return {"name": "a", "hostname": "carrier.example", "transport": "tls", **more}


def said(findings: list[Any]) -> list[tuple[str, str]]:
    return [(found.path, found.message) for found in findings if found.path]


def test_what_is_good_is_not_spoken_of(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("a", "DNS:a.example")
    shown = authority.issue("b", "DNS:b.example")
    loaded = load(
        tmp_path,
        [listener(files, client_ca_file=str(authority.file))],
        [carrier(ca_file=str(authority.file), **shown)],
    )
    assert loaded.problems == []
    assert said(loaded.warnings) == []
    assert loaded.config is not None
    assert loaded.config.providers[0].ca_file == authority.file


def test_the_line_is_that_of_the_entry(tmp_path: Path, authority: Authority) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        'emergency: none\nlisten:\n  - bind: "tls:127.0.0.1"\n'
        "    certificate_file: none.pem\n    key_file: none.key\n"
    )
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in load_config(file, {}).problems] == [
        "t.yaml:4: listen[0].certificate_file: `none.pem` cannot be read: No such file or directory",
        "t.yaml:5: listen[0].key_file: `none.key` cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("spoil", "key", "message"),
    [
        (lambda files: files.update(certificate_file=files["key_file"]), "certificate_file",
         "holds no certificate in PEM form: it begins with `-----BEGIN CERTIFICATE-----`"),
        (lambda files: files.update(key_file=files["certificate_file"]), "key_file",
         "holds no private key in PEM form: it begins with `-----BEGIN PRIVATE KEY-----`"),
        (lambda files: Path(files["certificate_file"]).write_bytes(b""), "certificate_file",
         "holds no certificate in PEM form"),
        (lambda files: files.update(certificate_file="/"), "certificate_file",
         "cannot be read: Is a directory"),
        (lambda files: Path(files["key_file"]).unlink(), "key_file",
         "cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(
    tmp_path: Path, authority: Authority, spoil: Any, key: str, message: str
) -> None:
    files = authority.issue("a", "DNS:a.example")
    spoil(files)
    (found,) = said(load(tmp_path, [listener(files)]).problems)
    assert found[0] == f"listen[0].{key}"
    assert message in found[1]


def test_a_key_of_another_certificate(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("a", "DNS:a.example")
    files["key_file"] = authority.issue("b", "DNS:b.example")["key_file"]
    (found,) = said(load(tmp_path, [listener(files)]).problems)
    assert found[0] == "listen[0].key_file"
    assert "is not the key of the first certificate in" in found[1]
    problems = said(load(tmp_path, ["udp:127.0.0.1"], [carrier(**files)]).problems)
    assert [path for path, _ in problems if "key" in path] == ["providers[0].key_file"]


def test_an_encrypted_key(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("a", "DNS:a.example")
    locked = tmp_path / "locked.key"
    command = [
        "openssl",
        "ec",
        "-aes256",
        "-passout",
        "pass:x",
        "-in",
        files["key_file"],
        "-out",
        str(locked),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = said(load(tmp_path, [listener({**files, "key_file": str(locked)})]).problems)
    assert found[0] == "listen[0].key_file"
    assert "is encrypted" in found[1]


@pytest.mark.parametrize(("days", "start", "word"), [(-1, -9, "expired on"), (9, 1, "is not valid before")])
def test_out_of_its_time_is_a_problem(
    tmp_path: Path, authority: Authority, days: float, start: float, word: str
) -> None:
    files = authority.issue("a", "DNS:a.example", days=days, start=start)
    (found,) = said(load(tmp_path, [listener(files)]).problems)
    assert found[0] == "listen[0].certificate_file"
    assert word in found[1]


def test_thirty_days_ahead_is_a_warning(tmp_path: Path, authority: Authority) -> None:
    for days, count in ((29.9, 1), (31, 0)):
        files = authority.issue("a", "DNS:a.example", days=days)
        loaded = load(tmp_path, [listener(files)])
        assert loaded.problems == []
        warnings = [text for path, text in said(loaded.warnings) if path == "listen[0].certificate_file"]
        assert len(warnings) == count
        assert all("expires on" in text for text in warnings)


def test_the_clock_is_an_argument(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("a", "DNS:a.example")
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump({"listen": [listener(files)], "emergency": "none"}))
    late = datetime.now(UTC) + timedelta(days=366)
    assert load_config(file, {}).problems == []
    assert [problem.path for problem in load_config(file, {}, late).problems] == [
        "listen[0].certificate_file"
    ]


def test_authorities(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("a", "DNS:a.example")
    for bad in (str(tmp_path / "none.pem"), files["key_file"]):
        loaded = load(tmp_path, [listener(files, client_ca_file=bad)], [carrier(ca_file=bad)])
        assert [path for path, _ in said(loaded.problems)] == [
            "listen[0].client_ca_file",
            "providers[0].ca_file",
        ]
    over = authority.issue("over", days=-1)["certificate_file"]
    (found,) = said(load(tmp_path, [listener(files, client_ca_file=over)]).problems)
    assert "expired on" in found[1]
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(over).read_bytes() + authority.file.read_bytes())
    assert load(tmp_path, [listener(files, client_ca_file=str(bundle))]).problems == []


def test_a_certificate_that_nobody_could_ask_for(tmp_path: Path, authority: Authority) -> None:
    first = listener(authority.issue("a", "DNS:a.example", "DNS:b.example"))
    for name, word in ((("DNS:b.example",), "has no name that listen[0] has not"), ((), "names no host")):
        loaded = load(tmp_path, [first, listener(authority.issue("b", *name))])
        (found,) = said(loaded.problems)
        assert found[0] == "listen[1].certificate_file"
        assert word in found[1]
    third = listener(authority.issue("c", "DNS:c.example"))
    assert load(tmp_path, [first, third]).problems == []


def test_names(authority: Authority) -> None:
    names = (
        "DNS:A.example",
        "URI:sip:B.example",
        "URI:sip:x@c.example",
        "URI:https://d.example",
        "IP:127.0.0.1",
    )
    file = Path(authority.issue("a", *names)["certificate_file"])
    assert names_of(file) == {"a.example", "b.example"}
    with pytest.raises(UnusableFile, match="cannot be read"):
        names_of(file / "none")
