"""What is posted, judged by the receivers' own libraries."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from didww.callback.request_validator import RequestValidator
from standardwebhooks import Webhook, WebhookVerificationError

from proxy.observe.clock import utc_now
from proxy.webhooks.messages import SIGNATURE, event_json, request_of, with_port
from proxy.webhooks.settings import Recipient

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaAAAA"
AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
REACHED = {"trunk": "office", "account": None, "threshold_amount": "10.00", "spent_amount": "10.01"}


def test_event_is_what_standard_webhooks_verifies() -> None:
    event = event_json("provider.down", AT, {"provider": "caf\u00e9"})
    recipient = Recipient("ops", "https://hooks.example.org/", SECRET, ("provider.down",))
    headers, body = request_of(recipient, "msg_1", event, utc_now())
    assert Webhook(SECRET).verify(body, headers) == {
        "type": "provider.down",
        "timestamp": "2025-03-01T12:00:00.000Z",
        "data": {"provider": "caf\u00e9"},
    }
    assert headers["webhook-id"] == "msg_1"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers, "webhook-id": "msg_2"})


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example.org/calls", "http://hooks.example.org", "https://hooks.example.org:8443/a?b=c",
     "http://[2001:db8::1]:8080/x", "https://Hooks.Example.ORG/Case?", "http://hooks.example.org:80/"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "status"), [("trunk.threshold_reached", "blocked"), ("trunk.threshold_freed", "active")]
)
def test_callback_is_what_didww_verifies(url: str, kind: str, status: str) -> None:
    recipient = Recipient("trunk:office", url, "secret", (kind,), callback=True)
    headers, body = request_of(recipient, "msg_1", event_json(kind, AT, REACHED), utc_now())
    rows = json.loads(body)
    assert isinstance(rows, list)
    assert len(rows) == 1
    assert (rows[0]["type"], rows[0]["id"], rows[0]["status"]) == ("voice_out_trunks", "office", status)
    assert RequestValidator("secret").validate(url, rows[0], headers[SIGNATURE])
    assert not RequestValidator("other").validate(url, rows[0], headers[SIGNATURE])
    assert not RequestValidator("secret").validate(url, {**rows[0], "status": "x"}, headers[SIGNATURE])


def test_without_a_secret_nothing_is_signed() -> None:
    recipient = Recipient("trunk:office", "https://a.example/", None, (), callback=True)
    headers, _ = request_of(recipient, "msg_1", event_json("trunk.threshold_reached", AT, REACHED), AT)
    assert SIGNATURE not in headers


def test_other_events_are_no_callbacks() -> None:
    recipient = Recipient("trunk:office", "https://a.example/", None, (), callback=True)
    with pytest.raises(ValueError, match=r"policy\.changed"):
        request_of(recipient, "msg_1", event_json("policy.changed", AT, {}), AT)


def test_port_is_written_out() -> None:
    assert with_port("https://a.example/x?y") == "https://a.example:443/x?y"
    assert with_port("http://a.example") == "http://a.example:80"
