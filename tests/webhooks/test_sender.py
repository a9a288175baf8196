"""Posts to real servers: where they go, what is sent, and what is never spoken to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from config.address import Network
from config.web_address import Reach
from proxy.routing.names import Names
from proxy.webhooks.outcome import Outcome
from proxy.webhooks.sender import Sender
from proxy.webhooks.settings import Recipient
from tests.certificates import Authority
from tests.routing.dns_server import DnsServer
from tests.webhooks.receiver import Answer, Receiver

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.fixture
def names(zone: DnsServer, tmp_path: Path) -> Names:
    return Names([zone.address], str(tmp_path / "hosts"))


def sender(
    names: Names | None = None,
    *,
    allowed: Sequence[Network] = LOOPBACK,
    denied: Sequence[Network] = (),
    callbacks: Sequence[Network] = (),
    timeout: float = 5.0,
    ca_file: str | None = None,
) -> Sender:
    return Sender(
        names or Names(),
        reach=Reach(allowed, denied),
        callback_reach=Reach(callbacks, denied, "callback_networks"),
        timeout=timeout,
        ca_file=ca_file,
    )


async def post(url: str, made: Sender, *, callback: bool = False) -> Outcome:
    recipient = Recipient("somebody", url, None, (), callback=callback)
    return await made.post(recipient, {"webhook-id": "msg_1"}, b"{}")


async def test_post_is_what_was_asked_for(receiver: Receiver) -> None:
    outcome = await post(receiver.url("/a%20b?x=1&y=%2F"), sender())
    assert outcome == Outcome(True, "answered with 204", 204)
    (one,) = receiver.received
    assert (one.method, one.path, one.body) == ("POST", "/a%20b?x=1&y=%2F", b"{}")
    assert one.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert one.headers["webhook-id"] == "msg_1"
    assert one.headers["user-agent"] == "Trunkwarden"
    assert "cookie" not in one.headers


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (500, {}, Outcome(False, "answered with 500", 500)),
        (410, {}, Outcome(False, "answered with 410", 410, gone=True)),
        (429, {"Retry-After": "120"}, Outcome(False, "answered with 429", 429, retry_after=120)),
        (503, {"Retry-After": "9999999"}, Outcome(False, "answered with 503", 503, retry_after=86_400)),
        (503, {"Retry-After": "tomorrow"}, Outcome(False, "answered with 503", 503)),
    ],
)
async def test_what_is_no_success(receiver: Receiver, status: int, headers, expected: Outcome) -> None:
    receiver.answer = lambda _: Answer(status, headers)
    assert await post(receiver.url(), sender()) == expected


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    other = Receiver()
    receiver.answer = lambda _: Answer(307, {"Location": other.url()})
    outcome = await post(receiver.url(), sender())
    assert outcome == Outcome(False, "answered with 307, which is not followed", 307)
    assert other.received == []
    other.close()


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch) -> None:
    evil = Receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, evil.url(""))
    assert (await post(receiver.url(), sender())).ok
    assert evil.received == []
    evil.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "[fe80::1]", "10.0.0.1",
     "0.0.0.0", "100.64.0.1", "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_nothing_is_sent_inside(receiver: Receiver, host: str) -> None:
    outcome = await post(f"http://{host}:{receiver.port}/", sender(allowed=()))
    assert outcome.refused
    assert "is not a public address" in outcome.detail
    assert receiver.received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "inside.test"])
async def test_callback_goes_nowhere_that_is_open_to_endpoints_alone(
    receiver: Receiver, zone: DnsServer, names: Names, host: str
) -> None:
    """A customer chooses it; where the operator's own endpoints are is none of his business."""
    zone.put("inside.test", "A", "127.0.0.1")
    zone.put("localhost", "A", "127.0.0.1")
    url = f"http://{host}:{receiver.port}/"
    outcome = await post(url, sender(names), callback=True)
    assert outcome.refused
    assert "is not a public address, and not in `callback_networks`" in outcome.detail
    assert receiver.received == []
    assert (await post(url, sender(names))).ok
    assert (await post(url, sender(names, allowed=(), callbacks=LOOPBACK), callback=True)).ok
    assert (await post(url, sender(names, callbacks=LOOPBACK, denied=LOOPBACK), callback=True)).refused


async def test_public_address_that_is_denied(receiver: Receiver) -> None:
    outcome = await post("http://198.41.0.4/", sender(denied=(ip_network("198.41.0.0/24"),)))
    assert outcome == Outcome(False, "198.41.0.4 is in `deny_networks`", refused=True)


@pytest.mark.parametrize(
    "url", ["http://2130706433/", "http://0x7f.1/", "http://u@127.0.0.1/", "file:///etc/passwd"]
)
async def test_url_that_could_be_read_otherwise(url: str) -> None:
    outcome = await post(url, sender())
    assert not outcome.ok
    assert outcome.status is None


async def test_name_that_leads_inside_as_well_is_not_used(
    receiver: Receiver, zone: DnsServer, names: Names
) -> None:
    zone.put("mixed.test", "A", "198.41.0.4", "169.254.169.254")
    outcome = await post("http://mixed.test/", sender(names, allowed=()))
    assert outcome.refused
    assert outcome.detail.startswith("mixed.test leads to 169.254.169.254")


async def test_rebinding_meets_the_address_that_was_checked(
    receiver: Receiver, zone: DnsServer, names: Names
) -> None:
    """The name server says another address each time; whoever resolved twice would connect to the second."""
    inside = Receiver("127.0.0.2")
    zone.put("rebind.test", "A", "127.0.0.1", ttl=0)
    asked: list[str] = []
    look_up = names.addresses

    async def addresses(name: str):  # type: ignore[no-untyped-def]
        found = await look_up(name)
        asked.append(name)
        zone.put("rebind.test", "A", "127.0.0.2", ttl=0)  # from now on
        return found

    names.addresses = addresses  # type: ignore[method-assign]
    made = sender(names, allowed=(ip_network("127.0.0.1/32"),))
    outcome = await post(f"http://rebind.test:{receiver.port}/", made)
    assert outcome.ok
    assert asked == ["rebind.test"]
    assert len(receiver.received) == 1
    assert receiver.received[0].headers["host"] == f"rebind.test:{receiver.port}"
    assert (await post(f"http://rebind.test:{inside.port}/", made)).refused
    assert inside.received == []
    inside.close()


async def test_name_that_leads_nowhere(zone: DnsServer, names: Names) -> None:
    assert "does not resolve" in (await post("http://nowhere.test/", sender(names))).detail
    zone.broken.add("broken.test")
    assert "is not resolved" in (await post("http://broken.test/", sender(names))).detail


async def test_second_address_is_tried_when_the_first_does_not_answer(
    receiver: Receiver, zone: DnsServer, names: Names
) -> None:
    zone.put("two.test", "A", "127.0.0.9", "127.0.0.1")
    assert (await post(f"http://two.test:{receiver.port}/", sender(names))).ok


async def test_certificate_is_that_of_the_name(zone: DnsServer, names: Names, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("hooks.test", "DNS:hooks.test")
    server = Receiver(tls=(files["certificate_file"], files["key_file"]))
    for name in ("hooks.test", "other.test"):
        zone.put(name, "A", "127.0.0.1")
    known = sender(names, ca_file=str(authority.file))
    assert (await post(f"https://hooks.test:{server.port}/", known)).ok
    assert "CERTIFICATE_VERIFY_FAILED" in (await post(f"https://other.test:{server.port}/", known)).detail
    assert (
        "CERTIFICATE_VERIFY_FAILED"
        in (await post(f"https://hooks.test:{server.port}/", sender(names))).detail
    )
    assert len(server.received) == 1
    server.close()


async def test_slow_answers_end_with_the_time(receiver: Receiver) -> None:
    gate = threading.Event()
    receiver.answer = lambda _: Answer(gate=gate)
    begun = time.monotonic()
    assert await post(receiver.url(), sender(timeout=0.5)) == Outcome(False, "no answer within 0.5 s")
    assert time.monotonic() - begun < 10
    gate.set()


@pytest.mark.parametrize(
    "endless", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x-a: b\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_endless_answer_is_not_read(endless: bytes) -> None:
    """Interim answers, headers or a body without an end: bounded by time or size."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            try:
                connection.recv(65536)
                if endless.startswith(b"x-"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\n")
                if b"200" in endless:
                    connection.sendall(endless)
                while not stopped.is_set():
                    connection.sendall(endless if b"200" not in endless else b"x" * 4096)
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    ends = b"200" in endless
    made = sender(timeout=10.0 if ends else 1.0)
    outcome = await post(f"http://127.0.0.1:{listener.getsockname()[1]}/", made)
    assert outcome.ok is ends
    stopped.set()
    thread.join(30)
    assert not thread.is_alive()
    listener.close()
