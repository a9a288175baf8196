"""What a call asks of the ledger, as the server hears it (MONITOR): one command that is waited for, one after
its answer, one after its end, and a share in each renewal."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import RedisError

from proxy.ledger.lua import VERBS, script
from tests.e2e.configuration import LONDON, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.ports import PROVIDER
from tests.e2e.redis_server import RedisServer
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.15"
LEASE_SECONDS = 3
CALLS = 12
MARK = "heard-"
DIGESTS = {script(verb).digest.decode(): verb for verb in VERBS}


class Heard:
    """How often each verb was asked for so far."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._verbs: Counter[str] = Counter()
        self._marks = itertools.count()
        self._passed = -1
        # Without a timeout: while the program stands still nothing is told.
        self._monitor = Redis(unix_socket_path=str(server.socket), socket_timeout=None).monitor()
        self._monitor.__enter__()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(RedisError):  # the server is gone with the test
            for heard in self._monitor.listen():
                name, _, rest = str(heard["command"]).partition(" ")
                if name == "EVALSHA" and heard["client_type"] != "lua":
                    self._verbs[DIGESTS.get(rest.partition(" ")[0], "?")] += 1
                elif name == "ECHO" and rest.startswith(MARK):
                    self._passed = int(rest.removeprefix(MARK))

    def now(self) -> Counter[str]:
        """All that the server had done when this was asked, and perhaps a little more."""
        mark = next(self._marks)
        self._server.client.echo(f"{MARK}{mark}")
        eventually(lambda: self._passed >= mark, what="the mark in what MONITOR tells")
        return Counter(self._verbs)


@pytest.fixture
def proxy(serve, own_redis, provider, tmp_path):
    return serve(
        configuration(
            tmp_path,
            own_redis.url,
            [provider_entry("carrier", provider.address, capacity_limit=100)],
            [trunk("desk", DESK, rate_deck="retail", capacity_limit=100, threshold_amount="100")],
            ledger={"lease_seconds": LEASE_SECONDS},
        )
    )


def test_what_a_call_asks_of_the_ledger(proxy, own_redis, provider, new_peer) -> None:
    assert provider.address[0] == PROVIDER
    desk = new_peer(DESK)
    warm = OutgoingCall(desk, proxy.address, LONDON).send()  # from now on scripts are known by their digests
    incoming(provider, proxy.address, warm).respond("486 Busy Here")
    warm.final()
    proxy.wait_until_idle()
    heard = Heard(own_redis)
    lives = []
    for _ in range(CALLS):
        call = OutgoingCall(desk, proxy.address, WASHINGTON).send()
        far = incoming(provider, proxy.address, call)
        far.accept()
        lives.append((call, call.answered(), far))
    before = heard.now()
    assert (before["reserve"], before["settle"]) == (CALLS, 0)
    time.sleep(LEASE_SECONDS)  # each of them is renewed three times
    renewals = heard.now()["renew"] - before["renew"]
    assert 0 < renewals < 2 * CALLS
    for call, dialog, far in lives:
        hang_up(call, dialog, far)
    proxy.wait_until_idle()
    verbs = heard.now()
    told = {verb: verbs[verb] for verb in ("reserve", "answered", "settle", "release", "remember")}
    assert told == {
        "reserve": CALLS,
        "answered": CALLS,
        "settle": CALLS,
        "release": 0,
        "remember": told["remember"],
    }
    assert told["remember"] <= CALLS  # once more, when the ACK has told where the caller is
