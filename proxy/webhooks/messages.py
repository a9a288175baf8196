"""What is posted: the event as Standard Webhooks has it, or as DIDWW's callbacks, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from config.web_address import read_web_address
from proxy.observe.clock import iso
from proxy.webhooks.settings import Recipient

SIGNATURE: Final = "X-DIDWW-Signature"
_STATUS: Final = {"trunk.threshold_reached": "blocked", "trunk.threshold_freed": "active"}


def event_json(event: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """An event as it waits and as it is posted."""
    body = {"type": event, "timestamp": iso(at), "data": data}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def request_of(recipient: Recipient, id_: str, event: bytes, now: datetime) -> tuple[dict[str, str], bytes]:
    """Headers and body of one try at `now`, to be posted to `recipient`. Raises ValueError for an event that
    cannot be told so."""
    headers = {"Content-Type": "application/json", "webhook-id": id_}
    if recipient.callback:
        rows = callback_rows(event)
        if recipient.secret is not None:
            headers[SIGNATURE] = callback_signature(recipient.url, rows, recipient.secret)
        return headers, json.dumps(rows, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    headers["webhook-timestamp"] = str(int(now.timestamp()))
    if recipient.secret is not None:
        from standardwebhooks import Webhook

        headers["webhook-signature"] = Webhook(recipient.secret).sign(id_, now, event.decode("ascii"))
    return headers, event


def callback_rows(event: bytes) -> list[dict[str, str]]:
    """DIDWW's form: an array, here of one object, all of whose values are text."""
    body = json.loads(event)
    data = body["data"]
    status = _STATUS.get(body["type"])
    if status is None:
        raise ValueError(f"`{body['type']}` is not told to a trunk's callback")
    return [
        {
            "id": str(data.get("id") or data["trunk"]),
            "type": "voice_out_trunks",
            "name": str(data["trunk"]),
            "status": status,
            "threshold_reached": "true" if status == "blocked" else "false",
            "threshold_amount": str(data.get("threshold_amount") or ""),
            "spent_amount": str(data["spent_amount"]),
            "timestamp": str(body["timestamp"]),
        }
    ]


def callback_signature(url: str, rows: Sequence[Mapping[str, str]], secret: str) -> str:
    """Hexadecimal HMAC-SHA1 over the URL with its port written out, and the names and values of each object,
    by name."""
    pairs = "".join(key + row[key] for row in rows for key in sorted(row))
    text = f"{with_port(url)}{pairs}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()


def with_port(url: str) -> str:
    """The URL with its port, also where that is the scheme's own."""
    address = read_web_address(url)
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    query = f"?{parts.query}" if parts.query else ""
    return f"{address.scheme}://{host}:{address.port}{parts.path}{query}"
