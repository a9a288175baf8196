"""The policy in the store: all instances follow what is changed there, also after a lost connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from proxy.ledger.versions import Versions
from proxy.objects.document import Document
from proxy.objects.editor import PolicyEditor
from proxy.objects.following import open_followed
from tests.e2e.configuration import PARIS, WASHINGTON, configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.redis_server import RedisServer
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
BLOCKED = "SIP/2.0 403 Outbound Calling Is Disabled"
ABROAD = "SIP/2.0 403 Destination Country Not Whitelisted"
STRANGER = "SIP/2.0 403 Source Not Authorized"
WITHIN = 1.0
BUSY = 15.0  # seconds, for a machine that does much else

Change = Callable[[Document], Document]


@pytest.fixture(scope="module")
def config(redis_server, provider, tmp_path_factory) -> dict[str, Any]:
    return configuration(
        tmp_path_factory.mktemp("store"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", DESK)],
        policy={"source": "store"},
    )


@pytest.fixture(scope="module")
def both(serve_module, config) -> list[Trunkwarden]:
    return [serve_module(config), serve_module(config)]


@pytest.fixture
def pair(both, redis_server, config) -> Iterator[list[Trunkwarden]]:
    """Two instances, with what the file seeded in force before and after the test."""
    yield both
    for proxy in both:
        proxy.write(config)
        assert proxy.http.post("/v1/reload").status_code == 200

    async def back(editor: PolicyEditor) -> int:
        return (await editor.roll_back("test", 1)).number

    number = editing(both[0], redis_server, back)
    for proxy in both:
        eventually(lambda proxy=proxy: in_force(proxy) == number, BUSY, f"version {number}")


def editing(proxy: Trunkwarden, server: RedisServer, work: Callable[[PolicyEditor], Any]) -> Any:
    """Work on the policy as any other program would."""

    async def run() -> Any:
        editor = PolicyEditor(proxy.file, Versions(server.url, proxy.folder))
        try:
            return await work(editor)
        finally:
            await editor.close()

    return asyncio.run(run())


def edited(proxy: Trunkwarden, server: RedisServer, change: Change) -> int:
    """The number of the new version."""

    async def edit(editor: PolicyEditor) -> int:
        return (await editor.change("test", "", change, operator=True)).number

    return int(editing(proxy, server, edit))


def patched(**fields: Any) -> Change:
    return lambda document: document.patch("trunks", "desk", fields)


def final_of(proxy: Trunkwarden, new_peer, called: str = PARIS) -> str:
    """The status line of a call that is refused."""
    return OutgoingCall(new_peer(DESK), proxy.address, called).send().final().start


def wait_for(proxy: Trunkwarden, new_peer, status: str) -> None:
    eventually(lambda: final_of(proxy, new_peer) == status, BUSY, status)


def in_force(proxy: Trunkwarden) -> int:
    return int(proxy.get("/v1/policy")["store_version"])


def test_both_instances_follow_within_a_second(pair, redis_server, new_peer) -> None:
    seconds = []
    for status, wanted in (
        ("blocked", BLOCKED),
        ("active", ABROAD),
        ("blocked", BLOCKED),
        ("active", ABROAD),
    ):
        edited(pair[0], redis_server, patched(status=status))
        changed_at = time.monotonic()
        for proxy in pair:
            wait_for(proxy, new_peer, wanted)
        seconds.append(time.monotonic() - changed_at)
    assert min(seconds) < WITHIN, seconds


def test_after_a_lost_ledger_they_go_on_following(pair, redis_server, new_peer) -> None:
    redis_server.kill()
    for proxy in pair:
        assert final_of(proxy, new_peer) == ABROAD  # judged by what was in force
    redis_server.start()
    edited(pair[0], redis_server, patched(status="blocked"))
    for proxy in pair:
        wait_for(proxy, new_peer, BLOCKED)
    redis_server.pause()
    time.sleep(1.5)  # longer than an answer is waited for
    redis_server.resume()
    edited(pair[0], redis_server, patched(status="active"))
    for proxy in pair:
        wait_for(proxy, new_peer, ABROAD)
        # The HTTP process has its own connection.
        eventually(lambda proxy=proxy: proxy.http.get("/v1/calls").is_success, BUSY, "its list of calls")


def test_a_trunk_goes_and_comes_while_it_has_a_call(pair, redis_server, provider, new_peer) -> None:
    """The call's end passes, as after a reload of a file without the trunk."""
    proxy = pair[0]
    call = OutgoingCall(new_peer(DESK), proxy.address, WASHINGTON).send()
    leg = incoming(provider, proxy.address, call)
    leg.accept()
    dialog = call.answered()
    edited(proxy, redis_server, lambda document: document.delete("trunks", "desk"))
    wait_for(proxy, new_peer, STRANGER)
    assert [one["trunk"] for one in proxy.calls()] == ["desk"]
    hang_up(call, dialog, leg)
    proxy.wait_until_idle()
    spec = {key: value for key, value in trunk("desk", DESK).items() if key != "name"}
    edited(proxy, redis_server, lambda document: document.create("trunks", "desk", spec, id="new"))
    wait_for(proxy, new_peer, ABROAD)


def test_what_does_not_compile_here_leaves_the_old_policy(pair, redis_server, new_peer) -> None:
    """One instance has the file that the version names, the other has not."""
    one, two = pair
    (one.folder / "secret").write_text("hunter2\n")
    before = in_force(two)
    login = patched(auth="ip_and_digest", username="u", password_file="secret", status="blocked")
    number = edited(one, redis_server, login)
    eventually(lambda: in_force(one) == number, BUSY, "the version at the first")
    eventually(lambda: one.metric("trunkwarden_policy_store_version") == number, BUSY, "its number")
    (problem,) = eventually(lambda: two.get("/v1/policy")["problems"], BUSY, "the problem at the second")
    assert in_force(two) == two.metric("trunkwarden_policy_store_version") == before
    assert problem.startswith("store: trunks[desk].password_file: ")
    assert two.metric("trunkwarden_policy_reloads_total", result="failure") >= 1
    assert final_of(two, new_peer) == ABROAD
    number = edited(one, redis_server, patched(status=None, auth="ip", username=None, password_file=None))
    eventually(lambda: in_force(two) == number, BUSY, "the version that is sound at both")
    assert two.get("/v1/policy")["problems"] == []


def test_a_reload_reads_the_files_own_sections_with_the_stores_objects(
    pair, config, redis_server, new_peer
) -> None:
    proxy = pair[0]
    edited(proxy, redis_server, patched(status="blocked"))
    wait_for(proxy, new_peer, BLOCKED)
    proxy.write({**config, "refusals": {"DISABLED": 480}, "trunks": []})
    assert proxy.http.post("/v1/reload").status_code == 200
    assert final_of(proxy, new_peer) == "SIP/2.0 480 Outbound Calling Is Disabled"


def test_a_store_that_was_emptied_leaves_the_policy_in_force(pair, redis_server, new_peer) -> None:
    numbers = [int(key.rpartition(b":")[2]) for key in redis_server.client.keys("{tw}:policy:v:*")]
    kept = {name: redis_server.client.dump(name) for name in redis_server.client.keys("{tw}:policy*")}
    assert in_force(pair[0]) == max(numbers)
    redis_server.client.delete(*kept)
    (problem,) = eventually(lambda: pair[0].get("/v1/policy")["problems"], BUSY, "the complaint")
    assert problem.startswith(f"store: is empty: version {max(numbers)} stays in force")
    assert final_of(pair[0], new_peer) == ABROAD
    for name, value in kept.items():
        if value is not None:  # else its time was over
            redis_server.client.restore(name, 0, value)
    eventually(lambda: pair[0].get("/v1/policy")["problems"] == [], BUSY, "the end of it")


def test_the_commands_change_what_calls_meet(serve, config, new_peer) -> None:
    """On an embedded ledger, which the instance starts before it knows its policy."""
    ledger = {**config["ledger"], "url": "embedded", "data_dir": "var"}
    proxy = serve({**config, "ledger": ledger})
    assert final_of(proxy, new_peer) == ABROAD

    def policy(*arguments: str, code: int = 0) -> str:
        result = command("policy", *arguments, "-c", str(proxy.file))
        assert result.returncode == code, result.stderr
        return result.stdout

    file = proxy.folder / "policy.yaml"
    file.write_text(policy("export").replace("allowed_sip_ips:", "status: blocked\n  allowed_sip_ips:"))
    assert policy("plan", str(file), code=3) == '~ trunks[desk]\n    status: null -> "blocked"\n'
    assert final_of(proxy, new_peer) == ABROAD
    policy("apply", str(file), "-m", "fraud")
    wait_for(proxy, new_peer, BLOCKED)
    policy("rollback", "1")
    wait_for(proxy, new_peer, ABROAD)
    assert [entry["comment"] for entry in json.loads(policy("history", "--json"))] == [
        "back to version 1",
        "fraud",
        "from trunkwarden.yaml",
    ]
    proxy.stop()
    policy("history", code=4)


def test_of_many_instances_that_start_at_once_one_seeds(config, own_redis, tmp_path) -> None:
    path = tmp_path / "trunkwarden.yaml"
    path.write_text(yaml.safe_dump({**config, "ledger": {"url": own_redis.url}}))

    async def seed() -> set[str]:
        etags = set()
        for followed, compiled in await asyncio.gather(*[open_followed(path) for _ in range(5)]):
            assert followed is not None
            assert compiled.policy is not None
            etags.add(followed.version.etag)
            await followed.close()
        return etags

    assert len(asyncio.run(seed())) == 1
    assert own_redis.client.hget("{tw}:policy", "head") == b"1"
