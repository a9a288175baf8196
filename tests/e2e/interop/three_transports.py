"""A configuration with one trunk a transport towards the provider; the prefix that is dialled chooses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.certificates import Certificates
from tests.e2e.configuration import configuration, provider, trunk

PREFIXES = {"udp": "1", "tcp": "2", "tls": "3"}
POOR = "9"  # over UDP, with money for three seconds to London
TRANSPORTS = tuple(PREFIXES)


def three_transports(
    folder: Path,
    ledger_url: str,
    sources: list[str],
    carrier: dict[str, tuple[str, int]],
    certificates: Certificates,
    name: str,
) -> dict[str, Any]:
    """`sources` may call `carrier`, where it listens by transport. Trunks are called `NAME-TRANSPORT` and
    `NAME-poor`: what a trunk has spent outlives one proxy."""
    # Programs that bind no address open their connections from whatever address the system chooses.
    networks = [*{address[0] for address in carrier.values()}, "127.0.0.1"]
    money = {"rate_deck": "retail", "threshold_amount": "100.00", "destination_whitelist": ["us", "gb"]}
    tls = {"certificate_file": str(certificates.certificate), "key_file": str(certificates.key)}
    trunks = [
        trunk(f"{name}-{transport}", "", tech_prefix=prefix, provider=f"carrier-{transport}", **money)
        for transport, prefix in PREFIXES.items()
    ]
    poor = {**money, "threshold_amount": "0.0530", "reserve_seconds": 2}
    trunks.append(trunk(f"{name}-poor", "", tech_prefix=POOR, provider="carrier-udp", **poor))
    for one in trunks:
        one["allowed_sip_ips"] = sources
    return configuration(
        folder,
        ledger_url,
        [
            provider(f"carrier-{transport}", carrier[transport], transport=transport, networks=networks)
            for transport in TRANSPORTS
        ],
        trunks,
        listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0", {"bind": "tls:127.0.0.1:0", **tls}],
        timers={"no_answer_seconds": 20, "t1_ms": 300, "provider_response_seconds": 5},
    )
