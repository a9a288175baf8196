"""The policy in the store of a Redis Cluster whose ledger has a part for each account: changed over HTTP,
followed by all instances, also once the primary is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis.crc import key_slot

from proxy.ledger.keys import WHOLE
from tests.e2e.configuration import WASHINGTON, trunk
from tests.e2e.facade_stage import new_token, outcome, signed_in, store_configuration
from tests.e2e.peer import refusing
from tests.e2e.ports import PROVIDER
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.waiting import eventually
from tests.ledger.fleet import ClusterFleet

DESK, SHOP = "127.0.0.10", "127.0.0.12"
WITHIN = 1.0
BUSY = 20.0  # seconds, for a machine that does much else
AFTER = 60.0  # that it takes the others to agree that the primary is gone, and the program to hear of it


@pytest.fixture
def cluster(tmp_path_factory) -> Iterator[ClusterFleet]:
    fleet = ClusterFleet("redis", tmp_path_factory.mktemp("cluster"), key_slot(WHOLE.clock))
    yield fleet
    fleet.close()


def test_changed_over_http_in_force_within_a_second(cluster, serve, new_peer, tmp_path) -> None:
    carrier, desk, shop = new_peer(PROVIDER, refusing("486 Busy Here")), new_peer(DESK), new_peer(SHOP)
    config = store_configuration(
        tmp_path / "store", cluster.url, carrier, [trunk("desk", DESK, account="acme")],
        ledger={"shard_by": "account"},
    )  # fmt: skip
    both = [signed_in(serve(config)) for _ in range(2)]
    one, two = both

    def becomes(peer, wanted: str) -> float:
        """How long until calls through either instance have that outcome."""
        begun = time.monotonic()
        for proxy in both:
            eventually(lambda proxy=proxy: outcome(peer, proxy, WASHINGTON) == wanted, BUSY, wanted)
        return time.monotonic() - begun

    seconds = []
    for proxy, status, wanted in (
        (one, "blocked", "DISABLED"),
        (two, "active", "admitted"),
        (two, "blocked", "DISABLED"),
        (one, "active", "admitted"),
    ):
        changed(proxy, "PATCH", "/v1/trunks/desk", {"status": status})
        seconds.append(becomes(desk, wanted))
    assert min(seconds) < WITHIN, seconds

    # What another account has is elsewhere in the Cluster; its own token makes a trunk with a limit there.
    assert outcome(shop, one, WASHINGTON) == "SOURCE"
    two.http.headers["Authorization"] = (
        f"Bearer {new_token(one, 'zenith', 'read', 'write', account='zenith')}"
    )
    made = {
        "name": "zenith.shop",
        "allowed_sip_ips": [SHOP],
        "destination_whitelist": ["us"],
        "capacity_limit": 0,
    }
    changed(two, "POST", "/v1/trunks", made)
    becomes(shop, "CAPACITY")
    changed(two, "PATCH", "/v1/trunks/zenith.shop", {"capacity_limit": 1})
    becomes(shop, "admitted")
    homes = [node for node in cluster.nodes if node.client.keys("{tw:account:zenith}:*")]
    assert homes
    assert cluster.primary not in homes

    cluster.primary.kill()
    eventually(lambda: answered(one, {"status": "blocked"}) == 200, AFTER, "a change at the new primary")
    becomes(desk, "DISABLED")


def changed(proxy: Trunkwarden, method: str, path: str, body: dict[str, Any]) -> None:
    answer = proxy.http.request(method, path, json=body)
    assert answer.is_success, answer.text


def answered(proxy: Trunkwarden, body: dict[str, Any]) -> int:
    try:
        return int(proxy.http.patch("/v1/trunks/desk", json=body).status_code)
    except httpx.TimeoutException:
        return 0
