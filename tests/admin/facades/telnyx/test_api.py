"""What a token of one account may make of its profiles; the rest is seen with Telnyx' own client."""

from __future__ import annotations

import pytest

from proxy.admin.access.identity import Identity
from proxy.objects.document import Document, new_id
from tests.admin.facades import stage

KEY = new_id()
ACME = Identity("acme", frozenset({"write"}), "acme")
URL = "/telnyx/v2/outbound_voice_profiles"


@pytest.mark.parametrize(("bounded", "status"), [(True, 200), (False, 422)])
async def test_who_has_no_countries_chooses_none(
    monkeypatch: pytest.MonkeyPatch, bounded: bool, status: int
) -> None:
    own = {"account": "acme", "destination_whitelist": ["US"]}
    account = {"destination_whitelist": ["US"]} if bounded else {}
    document = Document().create("accounts", "acme", account, id=new_id())
    monkeypatch.setattr(stage, "DOCUMENT", document.create("profiles", "acme.p", own, id=KEY))
    wider = {"whitelisted_destinations": ["US", "CU"]}
    for method, url, body in (
        ("POST", URL, {"name": "new"}),
        ("POST", URL, {"name": "new", **wider}),
        ("PATCH", f"{URL}/{KEY}", wider),
    ):
        answer = await stage.ask(method, url, body, ACME, **{"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
    fewer = {"whitelisted_destinations": []}
    answer = await stage.ask("PATCH", f"{URL}/{KEY}", fewer, ACME, **{"Content-Type": "application/json"})
    assert answer.status_code == 200
