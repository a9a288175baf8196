"""An instance is killed at each moment between INVITE and the end of the call; another one has what it left.

Each moment has an instance, a caller and a trunk of its own, several at a time: what each call costs in the
end, and that none leaks, is asked of the survivor. TRUNKWARDEN_KILL_POINTS=all takes all moments, and not
only those at which something has just left.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.e2e.configuration import LONDON, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import SDP, Message, answer
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.long

LEASE_SECONDS = 2
T1_MS = 50
FREED_SECONDS = LEASE_SECONDS + 3 * 64 * T1_MS / 1000 + 15.0
STEP_SECONDS = 4.0
AT_ONCE = 6
NOTHING, ONE_CALL = Decimal("0.00"), Decimal("0.10")

# Before the caller heard 200 a call costs nothing; once the ledger heard of the answer, what it cost. Between
# the two nobody but the dead instance knew that it was answered.
UNKNOWN = {NOTHING, ONE_CALL}
EVERY: dict[str, set[Decimal]] = {
    "reserve:before": {NOTHING},
    "reserve:sent": {NOTHING},
    "reserve:answered": {NOTHING},
    "INVITE:before": {NOTHING},
    "INVITE:after": {NOTHING},
    "180-INVITE:before": {NOTHING},
    "180-INVITE:after": {NOTHING},
    "200-INVITE:before": UNKNOWN,
    "200-INVITE:after": UNKNOWN,
    "answered:before": UNKNOWN,
    "answered:sent": {ONE_CALL},
    "answered:answered": {ONE_CALL},
    "ACK:before": {ONE_CALL},
    "ACK:after": {ONE_CALL},
    "renew:before": {ONE_CALL},
    "renew:sent": {ONE_CALL},
    "renew:answered": {ONE_CALL},
    "BYE:before": {ONE_CALL},
    "BYE:after": {ONE_CALL},
    "200-BYE:before": {ONE_CALL},
    "200-BYE:after": {ONE_CALL},
    "settle:before": {ONE_CALL},
    "settle:sent": {ONE_CALL},
    "settle:answered": {ONE_CALL},
    "486-INVITE:before": {NOTHING},
    "486-INVITE:after": {NOTHING},
    "release:before": {NOTHING},
    "release:sent": {NOTHING},
    "release:answered": {NOTHING},
}
# The survivor knows the dialog, and the far end has not heard a BYE yet.
HUNG_UP_ELSEWHERE = {
    "answered:sent", "answered:answered", "ACK:before", "ACK:after", "renew:before", "renew:sent",
    "renew:answered", "BYE:before",
}  # fmt: skip
BEFORE_BYE = HUNG_UP_ELSEWHERE - {"BYE:before"}
ALL = os.environ.get("TRUNKWARDEN_KILL_POINTS") == "all"
MOMENTS = {
    moment: costs
    for moment, costs in EVERY.items()
    if ALL or (moment.endswith((":sent", ":after")) and not moment.startswith(("180", "486")))
}


class FarEnd:
    """A provider's switch: answers at once (London is busy), and knows which of its calls are over."""

    def __init__(self) -> None:
        self.place = ""
        self.over: set[str] = set()

    def react(self, message: Message) -> list[bytes]:
        call_id = message.one("call-id")
        contact = (("Contact", f"<sip:carrier@{self.place}>"),)
        if message.method == "INVITE" and LONDON in message.uri:
            return [answer(message, "486 Busy Here", tag="far")]
        if message.method == "INVITE":
            ringing = answer(message, "180 Ringing", tag="far", extra=contact)
            return [ringing, answer(message, "200 OK", tag="far", extra=contact, body=SDP)]
        if message.method == "ACK":
            return []
        if call_id in self.over:
            return [answer(message, "481 Call/Transaction Does Not Exist")]
        if message.method == "BYE":
            self.over.add(call_id)
        return [answer(message, "200 OK")]


class Site:
    """The survivor, and what victims are made of."""

    def __init__(self, serve, redis_url: str, folder, far_end: Peer) -> None:
        self.folder = folder
        self.addresses = {moment: f"127.0.3.{10 + n}" for n, moment in enumerate(MOMENTS)}
        self.config = lambda name: configuration(
            folder / name,
            redis_url,
            [provider_entry("carrier", far_end.address)],
            [
                trunk(_name(moment), address, rate_deck="retail", reserve_seconds=10)
                for moment, address in self.addresses.items()
            ],
            ledger={"lease_seconds": LEASE_SECONDS},
            timers={"t1_ms": T1_MS},
        )
        self.survivor: Trunkwarden = serve(self.config("survivor"))

    def victim(self, moment: str) -> Trunkwarden:
        folder = self.folder / _name(moment)
        return Trunkwarden(self.config(folder.name), folder, program=("tests.e2e.killed_at", moment))


def _name(moment: str) -> str:
    return moment.replace(":", "-").lower()


def life(site: Site, moment: str) -> None:
    """One call by way of an instance that is killed; the caller turns to the survivor when that does not
    answer any more."""
    over = False

    def react(message: Message) -> list[bytes]:
        if message.method == "ACK":
            return []
        status = "481 Call/Transaction Does Not Exist" if over else "200 OK"
        return [answer(message, status)] if message.method in ("OPTIONS", "BYE") else []

    victim = site.victim(moment)
    caller = Peer(site.addresses[moment], react)
    try:
        busy = moment.startswith(("486", "release"))
        call = OutgoingCall(caller, victim.address, LONDON if busy else WASHINGTON).send()

        def final() -> list[Message]:
            received = [datagram.message for datagram in list(caller.received)]
            return [one for one in received if one.status >= 200 and one.method == "INVITE"]

        if MOMENTS[moment] == {ONE_CALL}:
            eventually(final, STEP_SECONDS * 3, "an answer")  # which it sent before it could be killed
        else:
            eventually(lambda: final() or victim.process.poll() is not None, STEP_SECONDS * 3, "an answer")
        if final() and final()[0].status == 200:
            dialog = call.dialog(final()[0])
            caller.send(dialog.request("ACK"), victim.address)
            if moment in BEFORE_BYE:
                eventually(
                    lambda: victim.process.poll() is not None, STEP_SECONDS * 3, f"the end at {moment}"
                )
            else:
                time.sleep(0.2)  # a call that lasts
            over = True
            caller.send(dialog.request("BYE"), victim.address)
            eventually(lambda: victim.process.poll() is not None, STEP_SECONDS * 3, f"the end at {moment}")
            if not caller.count("BYE", 200):
                caller.send(dialog.request("BYE"), site.survivor.address)
                if moment in HUNG_UP_ELSEWHERE:
                    caller.expect_response(200, "BYE")
        eventually(lambda: victim.process.poll() is not None, STEP_SECONDS * 3, f"the end at {moment}")
        eventually(lambda: not site.survivor.usage(_name(moment))["active_calls"], FREED_SECONDS, "its end")
    finally:
        caller.close()
        victim.kill()


@pytest.mark.timeout(300)
def test_killed_at_every_moment(serve, own_redis, tmp_path, new_peer) -> None:
    far_end = FarEnd()
    provider = new_peer(PROVIDER, far_end.react)
    far_end.place = provider.host_port
    site = Site(serve, own_redis.url, tmp_path, provider)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = {moment: pool.submit(life, site, moment) for moment in MOMENTS}
    failed = {moment: str(one.exception())[:300] for moment, one in lives.items() if one.exception()}
    assert failed == {}
    usages = {moment: site.survivor.usage(_name(moment)) for moment in MOMENTS}
    wrong = {
        moment: usage
        for moment, usage in usages.items()
        if Decimal(usage["spent_amount"]) not in MOMENTS[moment]
        or Decimal(usage["reserved_amount"]) != 0
        or usage["active_calls"] != 0
    }
    assert wrong == {}
    assert own_redis.client.zcard("{tw}:leases") == 0
