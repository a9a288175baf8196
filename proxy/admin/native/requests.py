"""What a request of the native API says: its query, its body, its preconditions, its place in a list."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import HTTPException, Request

from proxy.objects.document import PolicyObject

MOST_ITEMS: Final = 1000
_DEEPEST: Final = 32
_ETAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')


def query_of(request: Request, known: Collection[str]) -> dict[str, str]:
    """The query parameters. HTTPException 422 for one that is not known or stands twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            hint = f"; there are {', '.join(sorted(known))}" if known else ""
            raise HTTPException(422, f"no such query parameter: {name}{hint}")
        if name in found:
            raise HTTPException(422, f"the query parameter {name} stands twice")
        found[name] = value
    return found


def limit_of(query: dict[str, str], default: int = MOST_ITEMS) -> int:
    """How many items are wanted. HTTPException 422."""
    text = query.get("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= MOST_ITEMS:
        raise HTTPException(422, f"limit must be a number from 1 to {MOST_ITEMS}")
    return int(text)


async def object_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body. HTTPException 415 or 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/merge-patch+json"):
        raise HTTPException(415, "the body must be application/json")
    try:
        found = json.loads(await request.body(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPException(422, "the body must be a JSON object")
    if _too_deep(found, _DEEPEST) or not _encodable(found):
        raise HTTPException(422, "the body holds what can be no object of the policy")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _too_deep(tree: Any, left: int) -> bool:
    if isinstance(tree, dict | list):
        below = tree.values() if isinstance(tree, dict) else tree
        return left == 0 or any(_too_deep(value, left - 1) for value in below)
    return False


def _encodable(tree: Any) -> bool:
    """A lone surrogate has no place in UTF-8."""
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def if_match(request: Request) -> frozenset[str] | None:
    """The entity tags of If-Match that can match: strong ones (RFC 9110 §13.1.1). None: there is no such
    header, or any tag will do. HTTPException 400."""
    header = ",".join(request.headers.getlist("if-match"))
    if not header or header.strip() == "*":
        return None
    found, at = [], 0
    while at < len(header):
        match = _ETAG.match(header, at)
        if match is None:
            raise HTTPException(400, 'If-Match holds entity tags such as "5f0c", with their quotes')
        if match[1] is None:
            found.append(match[2])
        at = match.end()
    return frozenset(found)


def page(
    objects: Sequence[PolicyObject], limit: int, cursor: str | None
) -> tuple[Sequence[PolicyObject], str | None]:
    """A page of objects, oldest first, and the cursor for the next one. HTTPException 422."""
    start = 0 if cursor is None else _after(objects, cursor)
    found = objects[start : start + limit]
    more = start + limit < len(objects)
    return found, _cursor_after(found[-1]) if more else None


def _cursor_after(one: PolicyObject) -> str:
    return base64.urlsafe_b64encode(f"{one.created_at.isoformat()}/{one.id}".encode()).decode().rstrip("=")


def _after(objects: Sequence[PolicyObject], cursor: str) -> int:
    """Where the page after a cursor begins, also when its object is gone."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
        moment, _, object_id = text.partition("/")
        created_at = datetime.fromisoformat(moment)
        places = [place for place, one in enumerate(objects) if one.id == object_id]
        later = [place for place, one in enumerate(objects) if one.created_at > created_at]
    except (ValueError, TypeError, binascii.Error):
        raise HTTPException(422, "cursor is none that this API has given") from None
    return places[0] + 1 if places else (later[0] if later else len(objects))
