"""Kamailio on either side of us: as the customer's edge proxy, and as the provider's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.certificates import Certificates, issue_for
from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, provider, trunk
from tests.e2e.interop.installed import needs_file, needs_program
from tests.e2e.interop.kamailio import Kamailio
from tests.e2e.ports import PROVIDER, free_udp_port
from tests.e2e.sipp import SippResult
from tests.e2e.trunkwarden_process import Trunkwarden

pytestmark = pytest.mark.long

DESK = "127.0.0.10"
EDGE = "127.0.0.50"  # Kamailio before us
FAR_EDGE = "127.0.0.60"  # Kamailio behind us
HOLD_MS = 150
CALLS = 3
MANY_CALLS = 100
RATE = 40
LIMIT = 60.0


@dataclass
class Way:
    """Desk and carrier, with us and Kamailio between them: `entry` is where the desk sends its calls.
    `transport` is that of desk and carrier; `poor` is the trunk whose money ends soon, the prefix 2 chooses
    it."""

    proxy: Trunkwarden
    kamailio: Kamailio
    entry: tuple[str, int]
    carrier: tuple[str, int]
    transport: str
    poor: str


def _config(
    folder, ledger, source: str, carrier: dict[str, object], poor: str, certificates: Certificates
) -> dict:
    fields = {"rate_deck": "retail"}
    tls = {
        "bind": "tls:127.0.0.1:0",
        "certificate_file": str(certificates.certificate),
        "key_file": str(certificates.key),
        "client_ca_file": str(certificates.authority),
    }
    return configuration(
        folder,
        ledger,
        [carrier],
        [
            trunk("desk", source, **fields, tech_prefix="1", threshold_amount="1000.00", capacity_limit=200),
            trunk(poor, source, **fields, tech_prefix="2", threshold_amount="0.0530", reserve_seconds=2),
        ],
        listen=["udp:127.0.0.1:0", "tcp:127.0.0.1:0", tls],
        timers={"no_answer_seconds": 10},
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return issue_for(tmp_path_factory.mktemp("edges"), ("127.0.0.1", EDGE, FAR_EDGE))


@pytest.fixture(scope="module", params=["udp", "tcp", "tls"])
def transport(request) -> str:
    """Between us and Kamailio; over TLS each shows a certificate and verifies the other's."""
    needs_program("kamailio", "kamailio")
    if request.param == "tls":
        needs_file("/usr/lib/*/kamailio/modules/tls.so", "kamailio-tls-modules")
    return request.param


@pytest.fixture(scope="module", params=["before", "behind"])
def way(request, transport, certificates, serve_module, redis_server, tmp_path_factory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("kamailio")
    address = (PROVIDER, free_udp_port(PROVIDER))
    outer = "udp" if transport == "tls" else transport
    poor = f"poor-{request.param}-{transport}"  # the ledger, and what was spent, outlives one way
    shown = certificates if transport == "tls" else None
    if request.param == "before":
        carrier = provider("carrier", address, transport=outer)
        proxy = serve_module(_config(folder, redis_server.url, EDGE, carrier, poor, certificates))
        kamailio = Kamailio(folder / "edge", EDGE, proxy.sockets[transport], transport, certificates=shown)
        entry = kamailio.address
    else:
        kamailio = Kamailio(folder / "edge", FAR_EDGE, address, outer, certificates=shown)
        trust = {} if shown is None else {"ca_file": str(certificates.authority)}
        next_hop = kamailio.tls_address or kamailio.address
        carrier = provider("carrier", next_hop, transport=transport, **trust)
        proxy = serve_module(_config(folder, redis_server.url, DESK, carrier, poor, certificates))
        entry = proxy.sockets[outer]
    yield Way(proxy, kamailio, entry, address, outer, poor)
    kamailio.stop()


Pair = Callable[..., tuple[SippResult, SippResult]]


@pytest.fixture
def pair(way: Way, sipp) -> Pair:
    """Runs a caller and a callee against each other; no lease may be left."""

    def run(
        caller: str,
        callee: str,
        *,
        called: str = WASHINGTON,
        calls: int = CALLS,
        rate: int | None = None,
        money: str = "1",
        variables: dict[str, str] | None = None,
    ) -> tuple[SippResult, SippResult]:
        far_end = sipp(
            callee, way.carrier, calls=calls, hold_ms=HOLD_MS, transport=way.transport, limit=LIMIT
        )
        near_end = sipp(
            caller, (DESK, free_udp_port(DESK)), target=way.entry, called=money + called, calls=calls,
            rate=rate, hold_ms=HOLD_MS, variables=variables, transport=way.transport, limit=LIMIT,
        )  # fmt: skip
        near, far = near_end.wait(), far_end.wait()
        near.assert_all_succeeded(calls)
        far.assert_all_succeeded(calls)
        way.proxy.wait_until_idle()
        return near, far

    return run


def test_hundred_calls(pair: Pair) -> None:
    pair("uac_admitted", "uas_answering", calls=MANY_CALLS, rate=RATE)


def test_caller_is_hung_up_on(pair: Pair) -> None:
    pair("uac_hung_up_on", "uas_hanging_up")


def test_renegotiation(pair: Pair) -> None:
    pair("uac_long_call", "uas_long_call")


def test_cancelled(pair: Pair) -> None:
    pair("uac_cancelled", "uas_ringing")


def test_busy(pair: Pair) -> None:
    pair("uac_failed", "uas_busy", variables={"expected_status": "486 Busy Here"})


def test_cut_off_when_the_money_ends(way: Way, pair: Pair) -> None:
    """Our own BYEs follow the route through Kamailio, and are answered by both ends."""
    pair("uac_hung_up_on", "uas_answering", called=LONDON, calls=1, money="2")

    assert Decimal(way.proxy.usage(way.poor)["reserved_amount"]) == 0


def test_refusal_reaches_the_caller_with_its_reason(way: Way, sipp) -> None:
    caller = sipp(
        "uac_refused", (DESK, free_udp_port(DESK)), target=way.entry, called="1" + PARIS, calls=CALLS,
        transport=way.transport,
        variables={
            "expected_status": "403 Destination Country Not Whitelisted",
            "expected_cause": "21",
            "expected_code": "COUNTRY",
        },
    )  # fmt: skip

    caller.wait().assert_all_succeeded(CALLS)
