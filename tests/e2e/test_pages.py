"""The pages in a real browser: who opens them is asked for a token, and they show what they are for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.e2e.configuration import configuration, trunk
from tests.e2e.configuration import provider as provider_entry
from tests.e2e.trunkwarden_process import Trunkwarden

BROWSER = shutil.which("chromium")
TOKEN = "for-the-tests-of-pages-only"
SECONDS = 120.0
# Nothing of its own to do, and nobody but this machine to ask.
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr",
    "--virtual-time-budget=10000",
)  # fmt: skip

pytestmark = pytest.mark.skipif(BROWSER is None, reason="not installed: chromium (Debian: chromium)")


class Shown(NamedTuple):
    """A page once its scripts have run: its elements as text, the addresses that it asked for, what the
    browser complained about."""

    dom: str
    asked: list[str]
    complaints: list[str]


def opened(url: str, folder: Path) -> Shown:
    """What a person sees who opens the page; user and password in the URL answer the browser's question."""
    log = folder / "net.json"
    assert BROWSER is not None
    own = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}")
    done = subprocess.run(
        [BROWSER, *OPTIONS, *own, "--dump-dom", url],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Shown(done.stdout, _asked_by_page(json.loads(log.read_text())), complaints)


def _asked_by_page(log: dict[str, Any]) -> list[str]:
    """The page itself and what it loads, without what the browser wants for itself."""
    begun = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in log["events"] if event["type"] == begun and "params" in event]
    return [
        one["url"].partition(" ")[0]
        for one in requests
        if one.get("request_type") == "main frame" or one.get("initiator", "").startswith("http")
    ]


@pytest.fixture(scope="module")
def proxy(serve_module, redis_server, provider, tmp_path_factory) -> Trunkwarden:
    config = configuration(
        tmp_path_factory.mktemp("pages"),
        redis_server.url,
        [provider_entry("carrier", provider.address)],
        [trunk("desk", "127.0.0.10")],
        admin={"listen": "127.0.0.1:0", "token": TOKEN},
    )
    proxy = serve_module(config)
    proxy.http.headers["Authorization"] = f"Bearer {TOKEN}"
    return proxy


def with_token(proxy: Trunkwarden, path: str) -> str:
    return proxy.admin.replace("http://", f"http://anybody:{TOKEN}@") + path


def assert_ours(shown: Shown, proxy: Trunkwarden, *paths: str) -> None:
    """Nothing came from elsewhere, nothing was kept from the page by its own policy."""
    assert shown.complaints == []
    assert {urlsplit(url).netloc for url in shown.asked} == {urlsplit(proxy.admin).netloc}
    assert {urlsplit(url).path for url in shown.asked} >= set(paths)


def test_documentation(proxy, tmp_path) -> None:
    shown = opened(with_token(proxy, "/docs"), tmp_path)
    assert_ours(shown, proxy, "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json")
    described = [
        (method, path) for path, methods in proxy.get("/openapi.json")["paths"].items() for method in methods
    ]
    # Each operation is a block with its method and its path.
    rendered = re.findall(r'class="opblock opblock-(\w+)".*?data-path="([^"]+)"', shown.dom)
    assert sorted(rendered) == sorted(described)


def test_dashboard(proxy, tmp_path) -> None:
    shown = opened(with_token(proxy, "/"), tmp_path)
    assert_ours(shown, proxy, "/", "/readyz", "/v1/trunks", "/v1/calls", "/v1/decisions")
    assert re.search(r'<span id="ready"[^>]*class="good">Ready</span>', shown.dom)
    assert '<th scope="row">desk</th>' in shown.dom
