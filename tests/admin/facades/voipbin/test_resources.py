"""VoIPBIN's resources and our objects: what is said is what is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from proxy.admin.facades.voipbin import resources
from proxy.admin.facades.voipbin.errors import Refused
from proxy.admin.facades.voipbin.fields import DialInfo, OutboundConfigFields, ProviderFields
from proxy.admin.facades.voipbin.listing import page_of
from proxy.objects.document import Document, new_id

CONFIG = {"id": "c", "name": "n", "detail": "d", "tm_create": "1", "tm_update": "2"}


def document(**spec: Any) -> Document:
    made = Document().create(
        "accounts", "acme", spec, id=new_id(), extra={"voipbin": {"outbound_config": CONFIG}}
    )
    return made.create("trunks", "t", {"account": "acme", "dids": ["+442071838750"]}, id=new_id())


def test_outbound_config() -> None:
    made = document(destination_whitelist=["US"], codecs=["PCMU", "PCMA"], dids=["+442071838751"])
    account = made.get("accounts", "acme")
    shown = resources.outbound_config(account, made)
    assert (shown["destination_whitelist"], shown["codecs"]) == (["us"], "PCMU,PCMA")
    assert (shown["id"], shown["customer_id"], shown["name"]) == ("c", account.id, "n")
    number = resources.number_id("+442071838750")
    said = OutboundConfigFields.model_validate(
        {
            "destination_whitelist": ["us", "US", "gb"],
            "codecs": "",
            "default_outgoing_source_number_id": number,
        }
    )
    spec, names = resources.configured(account, made, said)
    assert spec == {
        "destination_whitelist": ["US", "GB"], "dids": ["+442071838751"], "default_did": "+442071838750"
    }  # fmt: skip
    assert names == {}


def test_account_without_a_country_rule_has_no_config() -> None:
    assert resources.has_config(document(destination_whitelist=[]).get("accounts", "acme"))
    assert not resources.has_config(document().get("accounts", "acme"))
    bare = Document().create("accounts", "b", {"destination_whitelist": []}, id=new_id())
    assert not resources.has_config(bare.get("accounts", "b"))


def test_what_is_not_said_stays() -> None:
    made = document(destination_whitelist=["US"], codecs=["PCMU"], default_did="+442071838750")
    account = made.get("accounts", "acme")
    spec, names = resources.configured(account, made, OutboundConfigFields(name="other"))
    assert (spec, names) == (account.spec, {"name": "other"})
    assert resources.outbound_config(account, made)[
        "default_outgoing_source_number_id"
    ] == resources.number_id("+442071838750")


def test_number_of_somebody_else() -> None:
    made = document()
    said = OutboundConfigFields(default_outgoing_source_number_id=UUID(resources.number_id("+442071838799")))
    with pytest.raises(Refused, match="is not the id of a number of this customer"):
        resources.configured(made.get("accounts", "acme"), made, said)


def test_numbers_are_those_of_the_account_and_its_trunks() -> None:
    made = document(dids=["+442071838751"])
    found = list(resources.numbers([made.get("accounts", "acme")], made))
    assert [one["number"] for one in found] == ["+442071838750", "+442071838751"]
    assert len({one["id"] for one in found}) == 2


def test_no_number_is_lost_between_pages() -> None:
    made = document(dids=["+442071838751", "+442071838752"])
    made = made.create("accounts", "other", {"dids": ["+442071838753"]}, id=new_id())
    made = made.stamped(Document(), datetime(2025, 3, 1, tzinfo=UTC))
    found, token = [], ""
    while True:
        asked = [("page_size", "1"), ("page_token", token)]
        page = page_of(resources.numbers(made.list("accounts"), made), asked)
        found += [one["number"] for one in page["result"]]
        token = page["next_page_token"]
        if not token:
            break
    assert found == [f"+44207183875{last}" for last in "3210"]


def test_provider() -> None:
    said = ProviderFields(hostname="a.example:5080", tech_prefix="9", tech_headers={"X-A": "b"})
    spec = resources.provided({"transport": "tls", "tech_postfix": "1"}, said)
    assert spec == {
        "transport": "tls", "tech_postfix": "1", "hostname": "a.example:5080", "tech_prefix": "9",
        "tech_headers": {"X-A": "b"},
    }  # fmt: skip
    assert "tech_prefix" not in resources.provided(spec, ProviderFields(tech_prefix=""))


def test_outplan() -> None:
    said = DialInfo.model_validate({"source": {"target": "+15559876543"}, "max_try_count_0": 5})
    spec = resources.planned({"dial_timeout": 5000}, said)
    assert spec == {
        "dial_timeout": 5000, "source": {"type": "tel", "target": "+15559876543"}, "max_try_count_0": 5
    }  # fmt: skip
    made = Document().create("outplans", "p", spec, id=new_id(), extra={"voipbin": {"name": "My plan"}})
    shown = resources.outplan(made.get("outplans", "p"), made)
    assert shown["customer_id"] == "00000000-0000-0000-0000-000000000000"
    assert (shown["name"], shown["dial_timeout"], shown["try_interval"]) == ("My plan", 5000, 60000)
    assert shown["source"]["target_name"] == ""
