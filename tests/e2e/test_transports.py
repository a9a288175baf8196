"""Calls over TCP and TLS, and between transports: two Record-Routes, one call (RFC 5658)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, provider, trunk
from tests.e2e.ports import PROVIDER, free_udp_port

DESK = "127.0.0.10"
CALLS = 20
RATE = 20
HOLD_MS = 200
BOTH = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]


def place_calls(sipp, carrier, far_transport: str, target, near_transport: str) -> None:
    far_end = sipp("uas_answering", carrier, calls=CALLS, hold_ms=HOLD_MS, transport=far_transport)
    near_end = sipp(
        "uac_admitted", (DESK, free_udp_port(DESK)), target=target, called=WASHINGTON, calls=CALLS, rate=RATE,
        hold_ms=HOLD_MS, transport=near_transport,
    )  # fmt: skip
    near_end.wait().assert_all_succeeded(CALLS)
    far_end.wait().assert_all_succeeded(CALLS)


@pytest.mark.parametrize(("near", "far"), [("tcp", "tcp"), ("tcp", "udp"), ("udp", "tcp")])
def test_calls_cross_transports(serve, sipp, redis_server, tmp_path: Path, near: str, far: str) -> None:
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    server = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider("carrier", carrier, transport=far)],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=BOTH,
        )
    )
    place_calls(sipp, carrier, far, server.sockets[near], near)
    server.wait_until_idle()


def test_provider_whose_port_is_closed_is_500_and_the_place_returns(
    serve, sipp, redis_server, tmp_path
) -> None:
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    server = serve(
        configuration(
            tmp_path,
            redis_server.url,
            [provider("carrier", carrier, transport="tcp")],
            [trunk("desk", DESK, capacity_limit=1)],
            listen=BOTH,
        )
    )
    caller = sipp(
        "uac_failed", (DESK, free_udp_port(DESK)), target=server.address, called=WASHINGTON, calls=3,
        at_once=1, variables={"expected_status": "500 Server Internal Error"},
    )  # fmt: skip
    caller.wait().assert_all_succeeded(3)
    server.wait_until_idle()


def test_two_instances_over_tls_with_the_provider_verified_by_name(
    serve, sipp, redis_server, own_redis, tmp_path: Path, monkeypatch
) -> None:
    """UDP to the first, TLS from it to the second, UDP to the carrier."""
    authority, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    _openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key),
             "-out", str(authority), "-subj", "/CN=authority", "-days", "2")  # fmt: skip
    for name in ("near.example", "localhost"):
        _certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    far = serve(
        configuration(
            tmp_path / "far",
            own_redis.url,
            [provider("carrier", carrier)],
            [trunk("near", "127.0.0.0/8", capacity_limit=50)],
            listen=[
                "udp:127.0.0.1:0",
                {
                    "bind": "tls:127.0.0.1:0",
                    **_files(tmp_path, "localhost"),
                    "client_ca_file": str(authority),
                },
            ],
        )
    )
    next_hop = ("localhost", far.sockets["tls"][1])
    near = serve(
        configuration(
            tmp_path / "near",
            redis_server.url,
            [provider("carrier", next_hop, transport="tls", networks=["127.0.0.0/8"])],
            [trunk("desk", DESK, capacity_limit=50)],
            listen=["udp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **_files(tmp_path, "near.example")}],
        )
    )
    place_calls(sipp, carrier, "udp", near.address, "udp")
    near.wait_until_idle()


def _files(folder: Path, name: str) -> dict[str, str]:
    return {"certificate_file": str(folder / f"{name}.pem"), "key_file": str(folder / f"{name}.key")}


def _certificate(folder: Path, name: str) -> None:
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\n")
    _openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
             "-subj", f"/CN={name}")  # fmt: skip
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names")  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
