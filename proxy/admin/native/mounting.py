"""All routes of the native API."""

from __future__ import annotations

from fastapi import FastAPI

from config.policy_source import KINDS
from proxy.admin.native import schemas
from proxy.admin.native.decks import deck_routes
from proxy.admin.native.objects import Objects, Usages
from proxy.admin.native.versions import version_routes
from proxy.objects.editor import PolicyEditor


def add_native(app: FastAPI, editor: PolicyEditor, usages: Usages) -> None:
    """Put them into `app`, and describe it. `usages` is asked for what listed trunks use."""
    for kind in KINDS:
        app.include_router(Objects(kind, editor, usages if kind == "trunks" else None).router())
    app.include_router(deck_routes(editor))
    app.include_router(version_routes(editor))
    app.openapi = lambda: schemas.describe(app)  # type: ignore[method-assign]
