"""Where the facades stand in the HTTP API, and how they say no."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI
from fastapi.responses import Response

from proxy.admin.facades.application import Refusal
from proxy.admin.facades.didww import api as didww
from proxy.admin.facades.didww import jsonapi
from proxy.admin.facades.spending import Spending
from proxy.admin.facades.telnyx import api as telnyx
from proxy.admin.facades.telnyx import errors
from proxy.admin.facades.voipbin import api as voipbin
from proxy.admin.facades.voipbin import errors as voipbin_errors
from proxy.objects.editor import PolicyEditor

DIDWW: Final = "/didww/v3"
TELNYX: Final = "/telnyx/v2"
VOIPBIN: Final = "/voipbin/v1.0"

_REFUSALS: Final[Mapping[str, Refusal]] = {
    DIDWW: jsonapi.refusal,
    TELNYX: errors.refusal,
    VOIPBIN: voipbin_errors.refusal,
}


def mount_facades(app: FastAPI, editor: PolicyEditor, spending: Spending) -> None:
    """Put them into `app`."""
    app.mount(DIDWW, didww.create_app(editor, spending))
    app.mount(TELNYX, telnyx.create_app(editor))
    app.mount(VOIPBIN, voipbin.create_app(editor))


def facade_refusal(
    path: str, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response | None:
    """The answer to a request for `path` that does not reach its facade, in that facade's words; None: it is
    no facade's."""
    for prefix, refuse in _REFUSALS.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return refuse(status, detail, headers)
    return None
