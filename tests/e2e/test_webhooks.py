"""Who is told of what happens: real calls, real instances, a real receiver, judged by what it received."""

from __future__ import annotations

import json
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from didww.callback.request_validator import RequestValidator
from didww.exceptions import DidwwApiError
from standardwebhooks import Webhook

from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.didww_stage import client_of, new_trunk
from tests.e2e.facade_stage import new_token, signed_in, store_configuration
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually
from tests.webhooks.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.long

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLBACK_SECRET = "the-secret-that-no-customer-is-told"
REACHED, FREED = "trunk.threshold_reached", "trunk.threshold_freed"
TOLD_SECONDS = 30.0


@pytest.fixture
def base(own_redis, provider, receiver, tmp_path) -> dict[str, Any]:
    """On a ledger of the test's own: what was told is remembered there."""
    return configuration(
        tmp_path / "base",
        own_redis.url,
        [provider_entry("carrier", provider.address)],
        [
            trunk("desk", "127.0.0.10", rate_deck="retail", threshold_amount="0.15", account="acme",
                  callback_url=receiver.url("/didww?trunk=desk"), on_threshold="finish"),
            trunk("other", "127.0.0.11", rate_deck="retail"),
        ],
        accounts=[{"name": "acme"}, {"name": "blue"}],
        webhooks={
            "allow_networks": ["127.0.0.0/8"],
            "callback_networks": ["127.0.0.0/8"],
            "timeout_seconds": 10,
            "retry_seconds": [1, 1, 1],
            "callback_secret": CALLBACK_SECRET,
            "endpoints": [{"name": "ops", "url": receiver.url("/ops"), "secret": SECRET, "events": "all"}],
        },
        ledger={"lease_seconds": 2},
    )  # fmt: skip


def told(receiver: Receiver, kind: str, count: int = 1, limit: float = TOLD_SECONDS) -> list[Received]:
    """The first `count` events of a type."""
    return eventually(
        lambda: found if len(found := receiver.of(kind)) >= count else [], limit, f"{count} × {kind}"
    )


def callbacks(receiver: Receiver) -> list[Received]:
    return [one for one in list(receiver.received) if one.path.startswith("/didww")]


def spend(proxy: Trunkwarden, provider, caller) -> None:
    """A call of one minute begun: 0.10."""
    call = OutgoingCall(caller, proxy.address, WASHINGTON).send()
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)
    proxy.wait_until_idle()


def key_by_command(proxy: Trunkwarden, account: str) -> str:
    """What that customer's callbacks are signed with."""
    done = command("webhooks", "secret", "-c", str(proxy.file), "--account", account)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(proxy: Trunkwarden, caller, called: str) -> str:
    return str(OutgoingCall(caller, proxy.address, called).send().final().start)


def test_threshold_is_told_once_by_two_instances_and_again_when_it_is_freed(
    serve, base, receiver, provider, new_peer
) -> None:
    one, two = serve(base), serve(base)
    caller = new_peer("127.0.0.10")
    spend(one, provider, caller)
    assert "403" in refused(two, caller, WASHINGTON)  # 0.05 is left, and a minute costs 0.10

    (event,) = told(receiver, REACHED)
    assert event.path == "/ops"
    body = Webhook(SECRET).verify(event.body, event.headers)
    assert body["data"]["trunk"] == "desk"
    assert body["data"]["account"] == "acme"
    assert (body["data"]["threshold_amount"], body["data"]["spent_amount"]) == ("0.15", "0.10")
    (callback,) = eventually(lambda: callbacks(receiver), TOLD_SECONDS, "the callback")
    (row,) = json.loads(callback.body)
    assert (row["type"], row["id"], row["status"]) == ("voice_out_trunks", "desk", "blocked")
    signature = callback.headers["x-didww-signature"]
    own, others = (key_by_command(one, account) for account in ("acme", "blue"))
    assert RequestValidator(own).validate(receiver.url("/didww?trunk=desk"), row, signature)
    for wrong in (others, CALLBACK_SECRET):
        assert not RequestValidator(wrong).validate(receiver.url("/didww?trunk=desk"), row, signature)

    base["trunks"][0]["threshold_amount"] = "5.00"
    for proxy in (one, two):
        proxy.write(base)
        assert proxy.http.post("/v1/reload").status_code == 200
    told(receiver, FREED)
    assert len(told(receiver, "policy.changed")) == 1
    second = eventually(lambda: callbacks(receiver)[1:], TOLD_SECONDS, "the second callback")
    assert b'"status":"active"' in second[0].body
    assert [len(receiver.of(kind)) for kind in (REACHED, FREED)] == [1, 1]
    assert len({event.id for event in receiver.received}) == len(receiver.received) - 2  # callbacks share ids


def test_rejected_countries_blocked_trunks_and_providers(serve, base, receiver, new_peer) -> None:
    proxy = serve(base)
    caller = new_peer("127.0.0.11")
    for _ in range(5):
        assert "403 Destination Country Not Whitelisted" in refused(proxy, caller, PARIS)
    (rejected,) = told(receiver, "call.outbound_whitelist_rejected")
    data = rejected.event["data"]
    assert (data["trunk"], data["last"]["called"], data["last"]["country"]) == ("other", PARIS, "FR")
    assert data["last"]["source"] == "127.0.0.11"

    base["trunks"][1]["status"] = "blocked"
    base["providers"].append({"name": "gone", "hostname": "nowhere.invalid"})
    proxy.write(base)
    assert proxy.http.post("/v1/reload").status_code == 200
    (blocked,) = told(receiver, "trunk.blocked")
    assert blocked.event["data"] == {"trunk": "other", "account": None}
    (down,) = told(receiver, "provider.down")
    assert down.event["data"] == {"provider": "gone"}
    assert len(receiver.of("call.outbound_whitelist_rejected")) == 1
    # Counted when the receiver's answer is there.
    delivered = partial(proxy.metric, "trunkwarden_webhook_deliveries_total", result="delivered")
    eventually(lambda: delivered() >= 4, what="four deliveries")
    assert proxy.metric("trunkwarden_webhook_events_total", type="trunk.blocked") == 1


def test_event_outlives_who_delivers_it(serve, base, receiver, provider, new_peer) -> None:
    """The HTTP process is killed while the receiver has the request and has not answered."""
    gate = threading.Event()
    receiver.answer = lambda _: Answer(gate=gate)
    base["webhooks"]["timeout_seconds"] = 2  # another takes over when it is over
    base["trunks"][0]["threshold_amount"] = "0.10"
    proxy = serve(base)
    spend(proxy, provider, new_peer("127.0.0.10"))
    first = told(receiver, REACHED)[0]
    os.kill(_http_process(proxy), signal.SIGKILL)
    receiver.answer = lambda _: Answer()
    gate.set()
    again = told(receiver, REACHED, 2)
    assert {event.id for event in again} == {first.id}
    assert {event.body for event in again} == {first.body}
    Webhook(SECRET).verify(again[1].body, again[1].headers)


def test_what_cannot_be_told_is_tried_again_and_then_kept(serve, base, receiver, provider, new_peer) -> None:
    receiver.answer = lambda one: Answer(500 if one.path == "/ops" else 204)
    base["trunks"][0]["threshold_amount"] = "0.10"
    proxy = serve(base)
    spend(proxy, provider, new_peer("127.0.0.10"))
    tries = told(receiver, REACHED, 4)
    assert len({one.id for one in tries}) == 1
    assert len({one.headers["webhook-timestamp"] for one in tries}) > 1  # each is signed anew

    def given_up() -> list[str]:
        found = command("webhooks", "dead", "-c", str(proxy.file))
        return [line for line in found.stdout.splitlines() if REACHED in line]

    (line,) = eventually(given_up, TOLD_SECONDS, "the dead letter")
    assert line.endswith("after 4 tries: answered with 500")
    assert tries[0].id in line
    receiver.answer = lambda _: Answer()
    replayed = command("webhooks", "replay", "-c", str(proxy.file), "--id", tries[0].id)
    assert (replayed.returncode, replayed.stdout) == (0, "1 delivery is due again\n")
    told(receiver, REACHED, 5)
    assert command("webhooks", "dead", "-c", str(proxy.file)).stdout == ""
    assert command("webhooks", "replay", "-c", str(proxy.file), "--id", tries[0].id).returncode == 1
    assert proxy.metric("trunkwarden_webhook_deliveries_total", result="dead") == 1


def test_nothing_is_sent_inside_unless_it_is_allowed(serve, base, receiver, provider, new_peer) -> None:
    base["webhooks"]["allow_networks"] = []
    base["webhooks"]["endpoints"][0]["url"] = receiver.url("/ops", host="localhost")
    base["webhooks"]["retry_seconds"] = [1]
    base["trunks"][0].pop("callback_url")
    base["trunks"][0]["threshold_amount"] = "0.10"
    proxy = serve(base)
    spend(proxy, provider, new_peer("127.0.0.10"))
    eventually(
        lambda: proxy.metric("trunkwarden_webhook_deliveries_total", result="dead") >= 1,
        TOLD_SECONDS, "the event to be given up",
    )  # fmt: skip
    assert proxy.metric("trunkwarden_webhook_deliveries_total", result="refused") >= 2
    assert receiver.received == []


def test_callback_goes_nowhere_that_is_open_to_endpoints_alone(
    serve, base, receiver, provider, new_peer
) -> None:
    """A customer's name that leads to the machine on which the operator's own endpoint is."""
    base["webhooks"]["callback_networks"] = []
    base["webhooks"]["retry_seconds"] = [1]
    base["trunks"][0] |= {
        "threshold_amount": "0.10",
        "callback_url": receiver.url("/didww", host="localhost"),
    }
    proxy = serve(base)
    spend(proxy, provider, new_peer("127.0.0.10"))
    told(receiver, REACHED)

    def given_up() -> list[str]:
        found = command("webhooks", "dead", "-c", str(proxy.file))
        return [line for line in found.stdout.splitlines() if "trunk:desk" in line]

    (line,) = eventually(given_up, TOLD_SECONDS, "the callback to be given up")
    assert "is not a public address, and not in `callback_networks`" in line
    assert callbacks(receiver) == []


def test_trying_out(base, receiver, tmp_path: Path) -> None:
    file = tmp_path / "trunkwarden.yaml"
    base["webhooks"]["endpoints"].append(
        {"name": "inside", "url": f"http://localhost:{receiver.port}/x", "secret": SECRET}
    )
    base["webhooks"]["deny_networks"] = ["127.0.0.1/32"]
    callback = base["trunks"][0].pop("callback_url")
    base["webhooks"]["endpoints"][0]["url"] = "http://127.0.0.2:1/"
    file.write_text(yaml.safe_dump(base))
    done = command("webhooks", "test", "-c", str(file))
    assert done.returncode == 1
    assert "ops: failed: 127.0.0.2: " in done.stdout
    assert "inside: failed: localhost leads to 127.0.0.1 is in `deny_networks`" in done.stdout
    assert receiver.received == []
    base["webhooks"] |= {"deny_networks": [], "callback_networks": ["127.0.0.1"]}
    base["trunks"][0]["callback_url"] = callback
    file.write_text(yaml.safe_dump(base))
    done = command("webhooks", "test", "-c", str(file), "--endpoint", "inside")
    assert (done.returncode, done.stdout) == (0, "inside: ok: answered with 204\n")
    (event,) = receiver.received
    assert Webhook(SECRET).verify(event.body, event.headers)["type"] == "webhook.test"
    done = command("webhooks", "test", "-c", str(file), "--endpoint", "trunk:desk")
    assert done.stdout == "trunk:desk: ok: answered with 204\n"
    assert command("webhooks", "test", "-c", str(file), "--endpoint", "nobody").returncode == 1


def _http_process(proxy: Trunkwarden) -> int:
    """The one child of the SIP process that is no ledger."""
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text().split()
    (child,) = [
        int(one) for one in children if b"proxy.admin.process" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]
    return child


def test_callback_of_a_trunk_that_a_carriers_client_made(
    serve, own_redis, receiver, provider, new_peer, tmp_path
) -> None:
    """DIDWW's client makes the trunk, and DIDWW's validator takes what its callback is sent, with the secret
    that the customer is shown."""
    config = store_configuration(
        tmp_path / "store", own_redis.url, provider,
        webhooks={
            "allow_networks": ["10.0.0.0/8"],
            "callback_networks": ["127.0.0.0/8"],
            "callback_secret": CALLBACK_SECRET,
        },
    )  # fmt: skip
    proxy = signed_in(serve(config))
    token = new_token(proxy, "acme", "read", "write", account="acme")
    client = client_of(proxy, token)
    trunk = new_trunk("With a callback", "127.0.0.12", threshold_amount="0.10")
    for inside in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/where-endpoints-are"):
        trunk.callback_url = inside
        with pytest.raises(DidwwApiError, match="not in `callback_networks`"):
            client.voice_out_trunks().create(trunk)
    trunk.callback_url = receiver.url("/didww")
    made = client.voice_out_trunks().create(trunk).data
    caller = new_peer("127.0.0.12")
    eventually(lambda: proxy.get("/v1/policy")["store_version"] == 2, TOLD_SECONDS, "the trunk")
    spend(proxy, provider, caller)
    (callback,) = eventually(lambda: callbacks(receiver), TOLD_SECONDS, "the callback")
    (row,) = json.loads(callback.body)
    assert (row["id"], row["type"], row["status"]) == (made.id, "voice_out_trunks", "blocked")
    signature = callback.headers["x-didww-signature"]
    proxy.http.headers["Authorization"] = f"Bearer {token}"
    secret = proxy.get("/v1/callback_secret")["callback_secret"]
    assert secret == key_by_command(proxy, "acme") != key_by_command(proxy, "zenith")
    assert RequestValidator(secret).validate(receiver.url("/didww"), row, signature)
    tried = command("webhooks", "test", "-c", str(proxy.file), "--endpoint", f"trunk:{row['name']}")
    assert tried.returncode == 0, tried.stdout
    test = callbacks(receiver)[-1]
    (row,) = json.loads(test.body)
    assert RequestValidator(secret).validate(receiver.url("/didww"), row, test.headers["x-didww-signature"])
