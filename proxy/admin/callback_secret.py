"""The route by which a customer sees what its callbacks are signed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from proxy.admin.access.identity import WRITE, Identity, need
from proxy.objects.document import Document
from proxy.objects.editor import PolicyEditor
from proxy.objects.owners import ids_of, owner_of
from proxy.webhooks.callback_key import callback_key
from proxy.webhooks.settings import HookSettings

_EXAMPLE: dict[str, Any] = {"callback_secret": 64 * "0"}


class CallbackSecret(BaseModel):
    """What `X-DIDWW-Signature` is made with: 64 hexadecimal digits, used as they are written."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    callback_secret: str


def callback_routes(settings: Callable[[], HookSettings | None], editor: PolicyEditor) -> APIRouter:
    """`/v1/callback_secret`. `settings`: by which callbacks are told now; None: that is not known yet."""
    router = APIRouter(prefix="/v1")

    @router.get("/callback_secret")
    async def callback_secret(
        who: Annotated[Identity, Depends(need(WRITE))],
        account: Annotated[str | None, Query(description="whose trunks they are")] = None,
        trunk: Annotated[str | None, Query(description="that tells it")] = None,
    ) -> CallbackSecret:
        """What signs the callbacks of an account's trunks, or of a trunk of no account. A token for one
        account need not name it."""
        if account is None and trunk is None:
            account = who.account
        if (account is None) == (trunk is None):
            raise HTTPException(422, "either `account` or `trunk` says whose callbacks")
        told = settings()
        if told is None:
            raise HTTPException(503, "the SIP process has not said yet how callbacks are told")
        if told.callback_secret is None:
            raise HTTPException(404, "callbacks are not signed: there is no `webhooks.callback_secret_file`")
        owner = _owner((await editor.current()).document, who, account, trunk)
        return CallbackSecret(callback_secret=callback_key(told.callback_secret, owner))

    return router


def _owner(document: Document, who: Identity, account: str | None, trunk: str | None) -> str:
    """Raises HTTPException for what is not there, or is somebody else's."""
    missing = f"no such account: {account}" if trunk is None else f"no such trunk: {trunk}"
    if trunk is not None:
        found = document.find("trunks", trunk)
        if found is None:
            raise HTTPException(404, missing)
        trunk, account = found.name, found.spec.get("account")
    owner = owner_of(trunk or "", account, ids_of(document)) if who.sees(account) else None
    if owner is None:
        raise HTTPException(404, missing)
    return owner
