"""`/docs`: the description of the API as a page to try it from. Everything on it comes from this program."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response

# Swagger UI sets styles of its own on elements; code runs only from our own files.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Pages that were opened by an address with a password in it may fetch nothing by a relative one.
_START: Final = """\
window.ui = SwaggerUIBundle({
  url: location.origin + "/openapi.json", dom_id: "#api", deepLinking: true, docExpansion: "list",
  validatorUrl: null, presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Trunkwarden: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_FILES: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@cache
def _asset(name: str) -> bytes:
    """A file of Swagger UI, as the package fastapi-offline brings it."""
    return files("fastapi_offline").joinpath("static", name).read_bytes()


def documentation_routes() -> APIRouter:
    """`/docs` and what it loads."""
    router = APIRouter(prefix="/docs", include_in_schema=False)

    @router.get("")
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    @router.get("/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @router.get("/{name}")
    async def asset(name: str) -> Response:
        kind = _FILES.get(name)
        if kind is None:
            raise HTTPException(404, f"no such file: {name}")
        # 1.5 MB, of this version of the program.
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(_asset(name), media_type=kind, headers=headers)

    return router
