"""DIDWW's own Python client, and the trunks that tests make with it."""

from __future__ import annotations

from typing import Any

import pytest
from didww.client import DidwwClient
from didww.enums import OnCliMismatchAction
from didww.exceptions import DidwwApiError
from didww.resources.authentication_method import IpOnlyAuthenticationMethod
from didww.resources.voice_out_trunk import VoiceOutTrunk

from tests.e2e.facade_stage import TOKEN
from tests.e2e.trunkwarden_process import Trunkwarden


def client_of(proxy: Trunkwarden, key: str = TOKEN) -> DidwwClient:
    """A client that shows this token."""
    return DidwwClient(key, base_url=f"{proxy.admin}/didww/v3")


def new_trunk(name: str, address: str, **fields: Any) -> VoiceOutTrunk:
    """A trunk that authenticates by its address alone, unless `fields` say otherwise."""
    trunk = VoiceOutTrunk()
    trunk.name = name
    trunk.authentication_method = IpOnlyAuthenticationMethod(allowed_sip_ips=[address])
    trunk.on_cli_mismatch_action = OnCliMismatchAction.SEND_ORIGINAL_CLI
    for field, value in fields.items():
        setattr(trunk, field, value)
    return trunk


def made(client: DidwwClient, name: str, address: str, **fields: Any) -> VoiceOutTrunk:
    """A new trunk, as the answer shows it."""
    trunk: VoiceOutTrunk = client.voice_out_trunks().create(new_trunk(name, address, **fields)).data
    return trunk


def refused(error: pytest.ExceptionInfo[DidwwApiError], status: int, code: str, pointer: str | None) -> None:
    """That the answer was an error document which begins with this error."""
    assert error.value.status_code == status, error.value.errors
    for entry in error.value.errors:
        assert set(entry) - {"source"} == {"title", "detail", "code", "status"}
        assert entry["status"] == str(status)
    first = error.value.errors[0]
    assert (first["code"], first.get("source", {}).get("pointer")) == (code, pointer), first
