"""`trunkwarden explain --json` and the wire say the same of every case of a table: number × policy."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.e2e.configuration import configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer, refusing
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall

ADMITTED, REFUSED = 0, 3
BUSY = "486 Busy Here"

POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "plus-only": ("127.0.0.11", {}),
    "british-pbx": (
        "127.0.0.12",
        {"dial_plan": {"country_code": "44", "international_prefixes": ["00"], "national_prefixes": ["0"]}},
    ),
    "american-pbx": (
        "127.0.0.13",
        {
            "destination_whitelist": ["us", "ca"],
            "dial_plan": {
                "country_code": "1", "international_prefixes": ["011"], "national_prefixes": ["1", ""]
            },
        },
    ),
    "no-premium": (
        "127.0.0.14",
        {"dst_prefixes": {"allow": ["+44207"], "deny": ["+1900", "+44"]}, "allow_any_country": True,
         "destination_whitelist": None},
    ),
    "cheap-only": (
        "127.0.0.15",
        {"rate_deck": "retail", "max_destination_rate": "0.07",
         "destination_whitelist": ["us", "gb", "fr", "de"]},
    ),
    "tech-prefixed": ("127.0.0.16", {"tech_prefix": "77#", "provider": "dressed"}),
    "blocked": ("127.0.0.17", {"status": "blocked"}),
}  # fmt: skip

NUMBERS = [
    "+12025550123",  # Washington
    "+19005550123",  # premium
    "+18765550123",  # Jamaica, behind the +1 of the United States
    "+14165550123",  # Toronto
    "+442079460123",  # London
    "+447700900123",  # British mobile
    "+441534496123",  # Jersey, behind +44
    "+33142685300",  # Paris
    "+9991234567",  # nobody's
    "12025550123",
    "2025550123",
    "02079460123",
    "0018765550123",
    "01118765550123",
    "%2B12025550123",
    "%252B12025550123",
    "++12025550123",
    "+1(202)555.01-23",
    "77#+12025550123",
    "112",
]
CASES = [(policy, number) for policy in POLICIES for number in NUMBERS]


@pytest.fixture(scope="module")
def far_end(provider: Peer) -> Peer:
    provider.reaction = refusing(BUSY)
    return provider


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, far_end, tmp_path_factory) -> Iterator[Trunkwarden]:
    config = configuration(
        tmp_path_factory.mktemp("explain"),
        redis_server.url,
        [
            provider_entry("carrier", far_end.address),
            provider_entry("dressed", far_end.address, tech_prefix="9", tech_postfix="1", strip_plus=True),
        ],
        [trunk(name, source, **fields) for name, (source, fields) in POLICIES.items()],
        emergency={"numbers": ["112"], "providers": ["carrier"]},
    )
    return serve_module(config)


@pytest.fixture(scope="module")
def explain(proxy):
    """The command's JSON and exit code; in this process, which spares a second a case."""
    from proxy.cli.console import app

    runner = CliRunner()

    @functools.cache
    def ask(source: str, called: str) -> tuple[dict[str, Any], int]:
        result = runner.invoke(
            app, ["explain", "-c", str(proxy.file), "--source", source, "--to", called, "--json"]
        )
        assert result.exit_code in (ADMITTED, REFUSED), result.output
        return json.loads(result.stdout), result.exit_code

    return ask


@pytest.mark.parametrize(("policy", "called"), CASES)
def test_table(proxy, far_end, explain, new_peer, policy: str, called: str) -> None:
    source, _ = POLICIES[policy]
    said, code = explain(source, called)

    call = OutgoingCall(new_peer(source), proxy.address, called).send()
    response = call.final()
    invites = far_end.transactions("INVITE", call.call_id)

    if said["decision"] == "admitted":
        assert code == ADMITTED
        assert said["reason"] is None
        assert response.start == f"SIP/2.0 {BUSY}"
        assert [invite.uri for invite in invites] == [said["request_uri"]]
    else:
        assert code == REFUSED
        assert not invites
        assert response.start.startswith(f"SIP/2.0 {said['sip_status']} ")
        assert response.one("warning").startswith(f'399 trunkwarden "{said["reason"]} ')
        assert said["checks"][-1]["outcome"] == "refuse"


def test_table_is_long_and_has_both_outcomes(explain) -> None:
    assert len(CASES) >= 60
    reasons = {explain(POLICIES[policy][0], called)[0]["reason"] for policy, called in CASES}
    assert {
        None,
        "NUMBER",
        "COUNTRY",
        "COUNTRY_UNKNOWN",
        "PREFIX",
        "RATE",
        "DISABLED",
        "SOURCE",
    } >= reasons - {"NO_RATE"}
    assert {None, "NUMBER", "COUNTRY", "COUNTRY_UNKNOWN", "PREFIX", "RATE", "DISABLED"} <= reasons


@pytest.mark.parametrize(("policy", "called"), [("plus-only", "+12025550123"), ("plus-only", "+18765550123")])
def test_real_command_and_http_agree(proxy, explain, policy: str, called: str) -> None:
    source, _ = POLICIES[policy]
    said, code = explain(source, called)

    done = command("explain", "-c", str(proxy.file), "--source", source, "--to", called, "--json")
    over_http = proxy.http.post("/v1/explain", json={"source": source, "to": called}).json()

    assert (json.loads(done.stdout), done.returncode) == (said, code)
    for field in ("decision", "reason", "sip_status", "trunk", "called", "country", "request_uri", "checks"):
        assert over_http[field] == said[field], field
