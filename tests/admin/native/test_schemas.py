from __future__ import annotations

import json
import re

import pytest

from config.objects import MODELS, SECRETS
from config.policy_source import KINDS
from proxy.admin.native import schemas
from tests.admin.house import House


def test_every_reference_leads_somewhere() -> None:
    found = schemas.components()
    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(found)):
        assert name in found


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_all_fields_of_its_model(kind: str) -> None:
    found = schemas.components()
    fields = {"name", *MODELS[kind].model_fields}
    for form in ("New", "Spec", "Patch", ""):
        assert fields <= set(found[schemas.schema_name(kind) + form]["properties"])
    assert not any(
        "default" in found[schemas.schema_name(kind)]["properties"][field] for field in fields & SECRETS
    )


async def test_examples_are_true(house: House) -> None:
    """Each can be created, one after the other."""
    example = schemas.EXAMPLES["rate_decks"]
    assert set(schemas.EXAMPLES) == set(KINDS)
    async with house.client("the-configured-token") as root:
        rows = b"prefix,rate_per_minute\n+1,0.01\n+44,0.02\n"
        path = f"/v1/rate_decks/{example['name']}/rows"
        assert (await root.put(path, content=rows, headers={"Content-Type": "text/csv"})).status_code == 201
    for kind in ("providers", "accounts", "profiles", "trunks", "outplans"):
        made = await house.put(kind, **schemas.EXAMPLES[kind])
        assert {key: made[key] for key in schemas.EXAMPLES[kind]} == schemas.EXAMPLES[kind]
