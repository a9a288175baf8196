"""Configurations of the tests, by the contract's names, as mappings that become YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WASHINGTON = "+12025550123"
LONDON = "+442079460123"
PARIS = "+33142685300"
BERLIN = "+493012345678"

# For cases of providers that are silent, or ring for ever.
IMPATIENT = {"provider_response_seconds": 1, "no_answer_seconds": 3}

# What one call of ten seconds costs by each row stands beside it.
DECK = """\
prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment
1,United States,0.0600,0,60,60
1202,Washington,0.1000,0,60,60
44,United Kingdom,0.0600,0.0500,1,1
33,France,0.1200,0,30,6
1900,Premium,2.0000,1.0000,60,60
"""


def trunk(name: str, source: str, **fields: Any) -> dict[str, Any]:
    """A trunk that may call the United States and the United Kingdom unless `fields` say otherwise."""
    return {
        "name": name,
        "provider": "carrier",
        "allowed_sip_ips": [source],
        "destination_whitelist": ["us", "gb"],
        **fields,
    }


def provider(name: str, address: tuple[str, int], **fields: Any) -> dict[str, Any]:
    """A provider at a socket of the tests."""
    return {"name": name, "hostname": f"{address[0]}:{address[1]}", **fields}


def configuration(
    folder: Path,
    ledger_url: str,
    providers: list[dict[str, Any]],
    trunks: list[dict[str, Any]],
    **sections: Any,
) -> dict[str, Any]:
    """A whole configuration: system-chosen ports, a short T1, patience with peers on a busy machine, records
    in `folder`, the deck `retail`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retail.csv").write_text(DECK)
    ledger_section = {"url": ledger_url, "data_dir": str(folder / "var"), **sections.pop("ledger", {})}
    timers = {
        "t1_ms": 100,
        "provider_response_seconds": 5,
        "no_answer_seconds": 30,
        **sections.pop("timers", {}),
    }
    return {
        "listen": ["udp:127.0.0.1:0"],
        "admin": {"listen": "127.0.0.1:0"},
        "ledger": ledger_section,
        "timers": timers,
        "records": {"file": str(folder / "records.jsonl")},
        "rate_decks": {"retail": {"file": str(folder / "retail.csv"), "currency": "USD"}},
        "emergency": "none",
        "providers": providers,
        "trunks": trunks,
        **sections,
    }
