"""What tests of carriers' APIs share: a program with its policy in the store, tokens, outcomes of calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxy.objects.document import Document
from proxy.objects.editor import open_editor
from tests.digest_caller import answer, challenge_of
from tests.e2e.configuration import configuration
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.peer import Peer
from tests.e2e.sip_text import Message
from tests.e2e.trunkwarden_process import Trunkwarden
from tests.e2e.user_agents import OutgoingCall

TOKEN = "for-the-tests-of-carriers-apis-only"
LONDON_DID, PARIS_DID = "+442079460018", "+33142685301"
ACCEPTABLE_SECONDS = 10.0
"""What a busy machine may need; `fastest` says what is promised."""


def store_configuration(
    folder: Path, ledger_url: str, provider: Peer, trunks: list[dict[str, Any]] | None = None, **sections: Any
) -> dict[str, Any]:
    """A policy that is kept in the store: a carrier that is everybody's, a deck, two accounts with a number
    each."""
    return configuration(
        folder,
        ledger_url,
        [provider_entry("carrier", provider.address)],
        trunks or [],
        admin={"listen": "127.0.0.1:0", "token": TOKEN},
        policy={"source": "store"},
        default_provider="carrier",
        default_rate_deck="retail",
        accounts=[
            {"name": "acme", "dids": [LONDON_DID], "destination_whitelist": ["us"]},
            {"name": "zenith", "dids": [PARIS_DID], "destination_whitelist": ["us", "gb"]},
            {"name": "forgotten"},
        ],
        **sections,
    )


def signed_in(proxy: Trunkwarden) -> Trunkwarden:
    """The program, asked from now on with the token of the configuration."""
    proxy.http.headers["Authorization"] = f"Bearer {TOKEN}"
    return proxy


def new_token(proxy: Trunkwarden, name: str, *scopes: str, account: str | None = None) -> str:
    """A token of the ledger."""
    wanted = {"name": name, "scopes": list(scopes), "account": account}
    made = proxy.http.post("/v1/tokens", json=wanted)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


def edit(proxy: Trunkwarden, ledger_url: str, operation: Callable[[Document], Document]) -> Document:
    """Change the policy beside the carriers' APIs."""

    async def change() -> Document:
        editor = open_editor(proxy.file, "store", ledger_url, proxy.folder)
        try:
            return (await editor.change("test", "", operation)).document
        finally:
            await editor.close()

    return asyncio.run(change())


def outcome(
    peer: Peer,
    proxy: Trunkwarden,
    called: str,
    login: tuple[str, str] | None = None,
    *,
    offered: int = 0,
    **call: Any,
) -> str:
    """What becomes of a call while the provider is busy: `admitted`, or the code of the refusal. `login`
    answers a challenge, that of the algorithm that is offered first, second, …"""
    response = OutgoingCall(peer, proxy.address, called, **call).send().final()
    if response.status == 407 and login is not None:
        uri = f"sip:{called}@{proxy.address[0]}:{proxy.address[1]}"
        challenge = challenge_of(response.all("proxy-authenticate")[offered])
        shown = ("Proxy-Authorization", answer(challenge, *login, "INVITE", uri))
        response = OutgoingCall(peer, proxy.address, called, extra=(shown,), **call).send().final()
    return "admitted" if response.status == 486 else code_of(response)


def code_of(response: Message) -> str:
    """The code in a refusal's Warning."""
    warnings = response.all("warning")
    return warnings[0].partition('"')[2].partition(" ")[0] if warnings else response.start


def seconds_until(wanted: str, ask: Callable[[], str]) -> float:
    """How long until calls have that outcome, and it stays so."""
    begun = time.monotonic()
    while (seen := ask()) != wanted:
        assert time.monotonic() - begun < ACCEPTABLE_SECONDS, f"still {seen}, not {wanted}"
    took = time.monotonic() - begun
    assert [ask() for _ in range(3)] == [wanted] * 3
    return took
