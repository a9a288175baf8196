"""Causes are labels of a metric: short, lower case, and a closed set that the source does not step out of."""

from __future__ import annotations

import inspect
import re

from proxy.sip import parse
from proxy.sip.errors import CAUSES, PHRASES, HeaderError, ParseError, UriError


def test_every_cause_in_the_parser_is_known_and_every_known_one_is_used() -> None:
    source = inspect.getsource(parse)
    used = set(re.findall(r'ParseError\(\s*"([a-z_]+)"', source)) | set(parse._READ.values()) | {"not_sip"}
    assert used == CAUSES
    assert all(re.fullmatch(r"[a-z_]+", cause) for cause in CAUSES)


def test_an_error_knows_its_answer() -> None:
    assert ParseError("via").status == 400
    assert ParseError("size", 513).status in PHRASES
    assert issubclass(UriError, ValueError)
    assert issubclass(HeaderError, ValueError)
