"""Kamailio on either side of us over TLS: each shows a certificate and verifies the other's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.certificates import Certificates, issue_for
from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, provider, trunk
from tests.e2e.interop.installed import needs_file, needs_program
from tests.e2e.interop.kamailio import Kamailio
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.trunkwarden_process import Trunkwarden

DESK = "127.0.0.10"
EDGE = "127.0.0.50"  # Kamailio before us
FAR_EDGE = "127.0.0.60"  # Kamailio behind us
HOLD_MS = 150
CALLS = 3
LIMIT = 60.0


@dataclass
class Way:
    """UDP from the desk and to the carrier; TLS between us and Kamailio."""

    proxy: Trunkwarden
    entry: tuple[str, int]
    carrier: tuple[str, int]
    poor: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return issue_for(tmp_path_factory.mktemp("edges"), ("127.0.0.1", EDGE, FAR_EDGE))


@pytest.fixture(scope="module", params=["before", "behind"])
def way(request, certificates, serve_module, redis_server, tmp_path_factory) -> Iterator[Way]:
    needs_program("kamailio", "kamailio")
    needs_file("/usr/lib/*/kamailio/modules/tls.so", "kamailio-tls-modules")
    folder = tmp_path_factory.mktemp("kamailio-tls")
    carrier = (PROVIDER, free_udp_port(PROVIDER))
    before = request.param == "before"
    edge = FAR_EDGE
    kamailio = None
    if not before:
        kamailio = Kamailio(folder / "edge", edge, carrier, certificates=certificates)
    next_hop, transport = (carrier, "udp") if kamailio is None else (kamailio.tls_address, "tls")
    files = {"certificate_file": str(certificates.certificate), "key_file": str(certificates.key)}
    trust = {} if before else {"ca_file": str(certificates.authority)}
    poor = f"poor-{request.param}-tls"  # the ledger, and what was spent, outlives one way
    source = EDGE if before else DESK
    proxy = serve_module(
        configuration(
            folder,
            redis_server.url,
            [provider("carrier", next_hop, transport=transport, **trust)],
            [
                trunk("desk", source, rate_deck="retail", tech_prefix="1", threshold_amount="1000.00"),
                trunk(poor, source, rate_deck="retail", tech_prefix="2", threshold_amount="0.0530",
                      reserve_seconds=2),
            ],
            listen=[
                "udp:127.0.0.1:0",
                {"bind": "tls:127.0.0.1:0", **files, "client_ca_file": str(certificates.authority)},
            ],
            timers={"no_answer_seconds": 10},
            ledger={"lease_seconds": 2},
        )
    )  # fmt: skip
    if kamailio is None:
        kamailio = Kamailio(folder / "edge", EDGE, proxy.sockets["tls"], "tls", certificates=certificates)
    yield Way(proxy, kamailio.address if before else proxy.address, carrier, poor)
    kamailio.stop()


def call(
    way: Way, sipp, caller: str, callee: str, *, called: str = "1" + WASHINGTON, calls: int = CALLS
) -> None:
    """Calls between the two; no lease may be left."""
    far_end = sipp(callee, way.carrier, calls=calls, hold_ms=HOLD_MS, limit=LIMIT)
    near_end = sipp(
        caller, (DESK, free_udp_port(DESK)), target=way.entry, called=called, calls=calls,
        hold_ms=HOLD_MS, limit=LIMIT,
    )  # fmt: skip
    near_end.wait().assert_all_succeeded(calls)
    far_end.wait().assert_all_succeeded(calls)
    way.proxy.wait_until_idle()


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        ("uac_admitted", "uas_answering"),
        ("uac_hung_up_on", "uas_hanging_up"),
        ("uac_long_call", "uas_long_call"),
        ("uac_cancelled", "uas_ringing"),
    ],
)
def test_call(way: Way, sipp, caller: str, callee: str) -> None:
    call(way, sipp, caller, callee)


def test_cut_off_when_the_money_ends(way: Way, sipp) -> None:
    """Our own BYEs go over TLS, and are answered by both ends."""
    call(way, sipp, "uac_hung_up_on", "uas_answering", called="2" + LONDON, calls=1)
    assert Decimal(way.proxy.usage(way.poor)["reserved_amount"]) == 0


def test_refusal_reaches_the_caller_with_its_reason(way: Way, sipp) -> None:
    caller = sipp(
        "uac_refused", (DESK, free_udp_port(DESK)), target=way.entry, called="1" + PARIS, calls=CALLS,
        variables={
            "expected_status": "403 Destination Country Not Whitelisted",
            "expected_cause": "21",
            "expected_code": "COUNTRY",
        },
    )  # fmt: skip
    caller.wait().assert_all_succeeded(CALLS)
