"""Trunks with a login, on the wire: who calls is proved, used once, and told to nobody (S03, S05)."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from typing import Any

import pytest

from tests.digest_caller import answer, challenge_of
from tests.e2e.configuration import LONDON, PARIS, WASHINGTON, configuration, trunk
from tests.e2e.ports import PROVIDER, STRANGER, free_udp_port
from tests.e2e.sip_text import SDP, Message, fresh, host_port, text
from tests.e2e.trunkwarden_process import Trunkwarden, command
from tests.e2e.user_agents import OutgoingCall, hang_up, incoming

PASSWORD = "wide open"
ROAD = {"auth": "digest", "allowed_sip_ips": [], "username": "road"}


def digest_configuration(folder, ledger_url: str, provider, **sections: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    login = {**ROAD, "password_file": str(secret)}
    home = {"auth": "ip_and_digest", "username": "home", "password_file": str(secret)}
    return configuration(
        folder,
        ledger_url,
        [{"name": "carrier", "hostname": provider.host_port}],
        [
            trunk("road", "", capacity_limit=5, **login),
            trunk("home", "127.0.0.20", capacity_limit=5, **home),
            trunk("desk", "127.0.0.10"),
        ],
        **sections,
    )


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    return serve_module(digest_configuration(tmp_path_factory.mktemp("digest"), redis_server.url, provider))


def asked(peer, proxy: Trunkwarden, called: str = WASHINGTON) -> tuple[dict[str, str], Message]:
    """A fresh challenge, and the whole answer."""
    response = OutgoingCall(peer, proxy.address, called).send().final()
    assert response.status == 407, str(response)
    return challenge_of(response.all("proxy-authenticate")[0]), response


def with_credentials(peer, proxy: Trunkwarden, credentials: str, called: str = WASHINGTON) -> OutgoingCall:
    return OutgoingCall(peer, proxy.address, called, extra=(("Proxy-Authorization", credentials),)).send()


def uri(proxy: Trunkwarden, called: str = WASHINGTON) -> str:
    return f"sip:{called}@{proxy.address[0]}:{proxy.address[1]}"


def answered(
    challenge: dict[str, str], proxy: Trunkwarden, called: str = WASHINGTON, user: str = "road", **more: Any
) -> str:
    return answer(challenge, user, more.pop("password", PASSWORD), "INVITE", uri(proxy, called), **more)


def test_a_call_from_any_address(proxy: Trunkwarden, provider, new_peer) -> None:
    for host in (STRANGER, "127.0.0.77"):
        peer = new_peer(host)
        challenge, _ = asked(peer, proxy)
        call = with_credentials(peer, proxy, answered(challenge, proxy))
        far_end = incoming(provider, proxy.address, call)
        assert far_end.invite.all("proxy-authorization") == []
        far_end.accept()
        hang_up(call, call.answered(), far_end)
    proxy.wait_until_idle()


def test_a_known_address_and_a_login_are_both_wanted(proxy: Trunkwarden, provider, new_peer) -> None:
    home = new_peer("127.0.0.20")
    challenge, _ = asked(home, proxy)
    call = with_credentials(home, proxy, answered(challenge, proxy, user="home"))
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)
    away = new_peer(STRANGER)
    challenge, _ = asked(away, proxy)
    assert with_credentials(away, proxy, answered(challenge, proxy, user="home")).final().status == 403
    proxy.wait_until_idle()


def test_who_does_not_exist_gets_the_answer_of_who_has_forgotten(
    proxy: Trunkwarden, provider, new_peer
) -> None:
    peer = new_peer("127.0.0.61")
    seen = set()
    for user, password in (("road", "guess"), ("nobody", "guess"), ("home", PASSWORD)):
        challenge, response = asked(peer, proxy)
        assert response.one("warning") == '399 trunkwarden "AUTH Proxy Authentication Required"'
        refused = with_credentials(
            peer, proxy, answered(challenge, proxy, user=user, password=password)
        ).final()
        named = {"warning", "reason", "server", "proxy-authenticate"}
        seen.add(
            (refused.start, *((name, value) for name, value in refused.headers if name.lower() in named))
        )
    assert len(seen) == 1, seen
    assert next(iter(seen))[0] == "SIP/2.0 403 Source Not Authorized"
    provider.stays_quiet()


@pytest.mark.parametrize(
    ("source", "user", "called"),
    [
        (STRANGER, "road", WASHINGTON),
        (STRANGER, "road", PARIS),
        (STRANGER, "nobody", WASHINGTON),
        (STRANGER, "home", WASHINGTON),
        (STRANGER, None, WASHINGTON),
        ("127.0.0.20", "home", WASHINGTON),
        ("127.0.0.20", "road", WASHINGTON),
    ],
)
def test_explain_assumes_the_login_that_it_is_told(
    proxy: Trunkwarden, provider, new_peer, source: str, user: str | None, called: str
) -> None:
    """The command, the HTTP interface and the wire say the same."""
    login = () if user is None else ("--user", user)
    done = command(
        "explain", "-c", str(proxy.file), "--source", source, "--to", called, *login, "--json"
    )  # fmt: skip
    said = json.loads(done.stdout)
    asked_over_http = {"source": source, "to": called, "user": user}
    over_http = proxy.http.post("/v1/explain", json=asked_over_http).json()
    for field in ("decision", "reason", "sip_status", "trunk", "request_uri", "checks"):
        assert over_http[field] == said[field], field

    peer = new_peer(source)
    challenge, response = asked(peer, proxy, called)
    if user is not None:
        call = with_credentials(peer, proxy, answered(challenge, proxy, called, user), called)
        if said["decision"] == "admitted":
            far_end = incoming(provider, proxy.address, call)
            assert far_end.invite.uri == said["request_uri"]
            far_end.respond("486 Busy Here")
        response = call.final()
    assert (done.returncode, response.status) == (
        (0, 486) if said["decision"] == "admitted" else (3, said["sip_status"])
    )
    if said["decision"] == "refused":
        assert response.one("warning").startswith(f'399 trunkwarden "{said["reason"]} ')
    proxy.wait_until_idle()


# --- who exists ---

USERS = 24  # of each kind
TRIES = 8  # of each user; more than twenty would be throttled, and so would ten of one address
BODY = SDP + b"a=x-room:" + b"x" * 60_000 + b"\r\n"  # auth-int has to hash it
_DIFFERS = re.compile(rb'(?<=nonce=")[^"]*|(?<=branch=)[^;\r]*|(?<=rport=)[0-9]*|(?<=received=)[0-9.]*')
_OWN = frozenset({b"via", b"from", b"to", b"call-id", b"cseq"})


def shape(response: Message) -> list[bytes]:
    """All of an answer but what the question said, and a nonce."""
    lines = _DIFFERS.sub(b"*", response.raw).split(b"\r\n")
    return [line for line in lines if line.partition(b":")[0].strip().lower() not in _OWN]


@pytest.fixture(scope="module")
def many(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    """Half of its users have no addresses, half have one each."""
    folder = tmp_path_factory.mktemp("many")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    login = {"password_file": str(secret)}
    trunks = [
        trunk(f"u{at}", "", allowed_sip_ips=[], auth="digest", username=f"user{at:02}", **login)
        if at % 2
        else trunk(f"u{at}", f"127.0.2.{at + 1}", auth="ip_and_digest", username=f"user{at:02}", **login)
        for at in range(USERS)
    ]
    return serve_module(
        configuration(folder, redis_server.url, [{"name": "carrier", "hostname": provider.host_port}], trunks)
    )


def test_who_exists_can_be_told_neither_from_answers_nor_from_their_time(
    many: Trunkwarden, provider, new_peer
) -> None:
    """S05. A wrong password of users that there are and of users that there are not, in turns, from addresses
    that are not throttled yet: the same bytes, and times of which nobody could say whose they are."""
    took: dict[bool, list[float]] = {True: [], False: []}
    shapes = set()
    peers = [new_peer(f"127.0.3.{at + 1}") for at in range(USERS * 2)]
    turn = 0
    for _ in range(TRIES):
        for at in range(USERS):
            for exists in (True, False):
                peer = peers[turn % len(peers)]
                turn += 1
                user = f"user{at:02}" if exists else f"nope{at:02}"
                challenge, asked_for = asked(peer, many)
                slowly = {**challenge, "algorithm": "SHA-512-256"}
                credentials = answer(
                    slowly, user, "guess", "INVITE", uri(many), qop="auth-int", body=BODY
                )  # fmt: skip
                extra = (("Proxy-Authorization", credentials),)
                call = OutgoingCall(peer, many.address, WASHINGTON, extra=extra, body=BODY)
                data = call.invite()
                started = time.perf_counter()
                peer.send(data, many.address)
                refused = call.final()
                took[exists].append(time.perf_counter() - started)
                shapes.add((exists, *shape(asked_for), b"/", *shape(refused)))
    assert {seen[1:] for seen in shapes if seen[0]} == {seen[1:] for seen in shapes if not seen[0]}
    assert len(shapes) == 2
    assert many.metric("trunkwarden_authentications_total", outcome="refused") == turn
    provider.stays_quiet()
    # The probability that who exists takes longer: a coin's, give or take five standard deviations.
    slower = sum(one > other for one in took[True] for other in took[False])
    share = slower / (len(took[True]) * len(took[False]))
    assert abs(share - 0.5) < 0.15, (share, *(statistics.median(each) for each in took.values()))


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "INVITE"])
def test_no_method_tells_who_exists(many: Trunkwarden, provider, new_peer, method: str) -> None:
    """Users as those of From, To and the Request-URI, as sippts and svwar try them."""
    peer = new_peer("127.0.0.67")
    shapes = set()
    for user in ("user00", "user01", "nope00", "carrier", "u1", ""):
        own = f"sip:{user}{'@' if user else ''}{host_port(many.address)}"
        headers = [
            ("Via", f"SIP/2.0/UDP {peer.host_port};rport;branch={fresh('z9hG4bK-who')}"),
            ("Max-Forwards", "70"), ("From", f"<{own}>;tag={fresh('who')}"), ("To", f"<{own}>"),
            ("Call-ID", fresh("who")), ("CSeq", f"1 {method}"), ("Contact", f"<sip:who@{peer.host_port}>"),
        ]  # fmt: skip
        peer.send(text(f"{method} {own} SIP/2.0", headers), many.address)
        shapes.add(tuple(shape(peer.expect_final(method))))
    assert len(shapes) == 1, shapes
    assert next(iter(shapes))[0] == {"INVITE": b"SIP/2.0 407 Proxy Authentication Required"}.get(
        method, b"SIP/2.0 403 Source Not Authorized"
    )
    provider.stays_quiet()


@pytest.mark.parametrize(
    "called", [WASHINGTON, PARIS, "+19005550123", "112", "nonsense", "%2B12025550123", "9" * 40]
)
def test_a_challenge_tells_nothing_of_the_policy(many: Trunkwarden, provider, new_peer, called: str) -> None:
    """Whatever is called, from an address that is nobody's and from one that is a trunk's."""
    shapes = set()
    for host, number in (("127.0.0.68", WASHINGTON), ("127.0.0.68", called), ("127.0.2.1", called)):
        _, response = asked(new_peer(host), many, number)
        shapes.add(tuple(shape(response)))
    assert len(shapes) == 1
    provider.stays_quiet()


def is_stale(response: Message) -> bool:
    return response.status == 407 and "stale=true" in response.all("proxy-authenticate")[0]


def test_a_nonce_is_good_for_one_call_at_all_instances_and_after_a_restart(
    serve, own_redis, provider, new_peer, tmp_path
) -> None:
    """S05: the same nonce and count, with another URI or method, at another instance, after a restart."""
    config = digest_configuration(tmp_path / "one", own_redis.url, provider)
    one, other = serve(config), serve(config)
    peer = new_peer("127.0.0.62")
    challenge, _ = asked(peer, one)
    used = answer(challenge, "road", PASSWORD, "INVITE", uri(one))
    call = with_credentials(peer, one, used)
    far_end = incoming(provider, one.address, call)
    far_end.accept()
    dialog = call.answered()

    def replay(at: Trunkwarden, credentials: str, target: str) -> Message:
        extra = (("Proxy-Authorization", credentials),)
        return OutgoingCall(peer, at.address, WASHINGTON, uri=target, extra=extra).send().final()

    assert is_stale(replay(one, used, uri(one)))
    assert is_stale(replay(other, used, uri(one)))
    elsewhere = answer(challenge, "road", PASSWORD, "INVITE", uri(one, LONDON))
    assert is_stale(replay(other, elsewhere, uri(one, LONDON)))
    by_method = answer(challenge, "road", PASSWORD, "OPTIONS", uri(one))
    assert replay(other, by_method, uri(one)).status in (403, 407)
    hang_up(call, dialog, far_end)
    one.kill()
    again = serve(config)
    assert is_stale(replay(again, used, uri(one)))
    # A fresh challenge of one instance is good at another.
    challenge, _ = asked(peer, other)
    call = with_credentials(peer, again, answered(challenge, again))
    far_end = incoming(provider, again.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)


def test_guessing_gets_nowhere_and_is_counted(serve, own_redis, provider, new_peer, tmp_path) -> None:
    proxy = serve(digest_configuration(tmp_path / "guess", own_redis.url, provider))
    peer = new_peer("127.0.0.63")
    for number in range(14):
        challenge, _ = asked(peer, proxy)
        refused = with_credentials(peer, proxy, answered(challenge, proxy, password=f"guess {number}"))
        assert refused.final().status == 403
    challenge, _ = asked(peer, proxy)
    assert with_credentials(peer, proxy, answered(challenge, proxy)).final().status == 403
    counts = {
        outcome: proxy.metric("trunkwarden_authentications_total", outcome=outcome)
        for outcome in ("challenged", "refused", "throttled", "accepted")
    }
    assert counts == {"challenged": 15, "refused": 10, "throttled": 5, "accepted": 0}
    # Somebody else is not held up by that.
    other = new_peer("127.0.0.64")
    challenge, _ = asked(other, proxy)
    call = with_credentials(other, proxy, answered(challenge, proxy))
    far_end = incoming(provider, proxy.address, call)
    far_end.accept()
    hang_up(call, call.answered(), far_end)


def test_a_user_that_is_guessed_from_everywhere_is_heard_where_it_was_right(
    serve, own_redis, provider, new_peer, tmp_path
) -> None:
    """Nobody gets on by guessing from ever new addresses, and nobody can lock a customer out like that."""
    proxy = serve(digest_configuration(tmp_path / "spread", own_redis.url, provider))

    def tried(peer, password: str) -> OutgoingCall:
        challenge, _ = asked(peer, proxy)
        return with_credentials(peer, proxy, answered(challenge, proxy, password=password))

    def calls(peer) -> None:
        call = tried(peer, PASSWORD)
        far_end = incoming(provider, proxy.address, call)
        far_end.respond("486 Busy Here")
        assert call.final().status == 486

    home = new_peer("127.0.4.250")
    calls(home)
    for number in range(24):
        assert tried(new_peer(f"127.0.4.{number // 3 + 1}"), "guess").final().status == 403
    name = "trunkwarden_authentications_total"
    counts = [proxy.metric(name, outcome=each) for each in ("refused", "throttled", "accepted")]
    assert counts == [20, 4, 1]
    assert tried(new_peer("127.0.4.100"), PASSWORD).final().status == 403
    calls(home)


def test_a_scanner_gets_a_challenge_and_no_ledger(serve, own_redis, provider, new_peer, tmp_path) -> None:
    """S03: whoever forges sources gets a 407 sent there, smaller than half again, and nothing is kept."""
    proxy = serve(digest_configuration(tmp_path / "scan", own_redis.url, provider))
    peer = new_peer("127.0.0.65")
    asked(peer, proxy)
    for _ in range(200):
        call = OutgoingCall(peer, proxy.address, WASHINGTON)
        sent = call.invite()
        call.send()
        response = peer.expect_response(407, "INVITE", call_id=call.call_id)
        assert len(response.raw) <= 1.5 * len(sent)
    assert own_redis.client.keys("{tw}:n:*") == []
    assert proxy.metric("trunkwarden_ledger_seconds_count", verb="reserve") == 0
    provider.stays_quiet()


def stored(algorithm: str) -> str:
    """HA1 as openssl makes it, the way the documentation says."""
    kind = {"MD5": "-md5", "SHA-256": "-sha256", "SHA-512-256": "-sha512-256"}[algorithm]
    text = f"road:trunkwarden:{PASSWORD}".encode()
    done = subprocess.run(["openssl", "dgst", kind], input=text, capture_output=True, check=True)
    return f"{algorithm}:{done.stdout.decode().split()[-1]}"


def test_every_algorithm_and_qop_of_a_trunk_that_stores_no_password(
    serve, own_redis, provider, new_peer, tmp_path
) -> None:
    """RFC 7616 and RFC 8760; `auth-int` covers the body, too."""
    algorithms = ["SHA-256", "SHA-512-256", "MD5"]
    road = trunk("road", "", **ROAD, ha1=" ".join(stored(each) for each in algorithms))
    carrier = {"name": "carrier", "hostname": provider.host_port}
    digest = {"algorithms": algorithms}
    proxy = serve(configuration(tmp_path / "all", own_redis.url, [carrier], [road], digest=digest))
    peer = new_peer("127.0.0.66")
    # A challenge is never much larger than what it answers: a small INVITE is offered less.
    room = ("User-Agent", "desk" * 100)

    def offered() -> list[dict[str, str]]:
        response = OutgoingCall(peer, proxy.address, WASHINGTON, extra=(room,)).send().final()
        return [challenge_of(value) for value in response.all("proxy-authenticate")]

    def sent(credentials: str, body: bytes = SDP) -> OutgoingCall:
        extra = (("Proxy-Authorization", credentials),)
        return OutgoingCall(peer, proxy.address, WASHINGTON, extra=extra, body=body).send()

    for at, algorithm in enumerate(algorithms):
        for qop in ("auth", "auth-int"):
            found = offered()
            assert [each["algorithm"] for each in found] == algorithms
            assert {each["qop"] for each in found} == {"auth,auth-int"}
            call = sent(answered(found[at], proxy, qop=qop, body=SDP))
            far_end = incoming(provider, proxy.address, call)
            far_end.respond("486 Busy Here")
            assert call.final().status == 486
            other = SDP.replace(b"40000", b"40002")
            forged = sent(answered(offered()[at], proxy, qop=qop, body=SDP), body=other)
            if qop == "auth-int":
                assert forged.final().status == 403, algorithm
            else:
                incoming(provider, proxy.address, forged).respond("486 Busy Here")
                assert forged.final().status == 486
    proxy.wait_until_idle()


@pytest.mark.parametrize("offered", [["MD5"], ["MD5", "SHA-256"]])
def test_sipp_logs_in(serve, own_redis, sipp, new_peer, tmp_path, offered: list[str]) -> None:
    uas = (PROVIDER, free_udp_port(PROVIDER))

    class At:
        host_port = f"{uas[0]}:{uas[1]}"

    config = digest_configuration(tmp_path / "sipp", own_redis.url, At, digest={"algorithms": offered})
    proxy = serve(config)
    callee = sipp("uas_answering", uas, calls=None)
    desk = (STRANGER, free_udp_port(STRANGER))
    login = ("-au", "road", "-ap", PASSWORD, "-auth_uri")
    target = f"{WASHINGTON}@{proxy.address[0]}:{proxy.address[1]}"
    caller = sipp(
        "uac_digest", desk, target=proxy.address, called=WASHINGTON, calls=20, rate=20,
        at_once=4, options=(*login, target),
    )  # fmt: skip
    caller.wait().assert_all_succeeded(20)
    callee.stop()
    assert proxy.metric("trunkwarden_authentications_total", outcome="accepted") == 20
