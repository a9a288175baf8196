from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

from proxy.admin.dashboard import CONTENT_SECURITY_POLICY, page


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _tags() -> list[tuple[str, dict[str, str | None]]]:
    reader = Reader()
    reader.feed(page())
    return reader.tags


def test_nothing_comes_from_elsewhere() -> None:
    for tag, attributes in _tags():
        assert tag not in ("img", "iframe", "object", "embed")
        assert "src" not in attributes
        assert (attributes.get("href") or "data:,") == "data:,"
    assert not re.search(r"https?://|@import|url\(", page())


def test_the_policy_allows_this_script_and_style_alone() -> None:
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page(), re.DOTALL)
        digest = base64.b64encode(sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_no_markup_is_made_of_what_callers_send() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", page())
    for tag, attributes in _tags():
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_it_can_be_read_by_all() -> None:
    tags = _tags()
    assert ("html", {"lang": "en"}) in tags
    assert [attributes["scope"] for tag, attributes in tags if tag == "th"]
    assert any(attributes.get("role") == "status" for _, attributes in tags)
    assert "prefers-color-scheme: dark" in page()
    labels = {attributes["aria-labelledby"] for tag, attributes in tags if tag == "section"}
    assert labels <= {attributes.get("id") for _, attributes in tags}
