from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from proxy.observe.logs import Sampler, configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure("info", out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "poison", ["\r\n", "\n", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"], ids=ascii
)
def test_a_record_is_one_line_of_printable_ascii(stream: io.StringIO, poison: str) -> None:
    # A logger of its own: what the test runner keeps of the others it could not pass between its processes.
    logger = logging.Logger("sip")
    logger.handlers = [one for one in logging.getLogger().handlers if getattr(one, "stream", None) is stream]
    logger.warning("from %s", f"a{poison}b", extra={"agent": f"x{poison}y", "raw": poison})
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert text[:-1].isascii()
    assert text[:-1].isprintable()
    line = json.loads(text)
    assert line["message"] == f"from a{poison}b"
    assert line["agent"] == f"x{poison}y"


def test_fields(stream: io.StringIO) -> None:
    logging.getLogger("proxy.x").info("hello", extra={"trunk": "a", "data": b"\xff\x00", "level": "forged"})
    line = json.loads(stream.getvalue())
    assert line["level"] == "info"
    assert line["logger"] == "proxy.x"
    assert line["trunk"] == "a"
    assert line["data"] == "\\xff\x00"
    assert line["time"].endswith("Z")


def test_a_traceback_stays_on_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger().exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: a\nb" in json.loads(stream.getvalue())["error"]


def test_the_level_decides(stream: io.StringIO) -> None:
    logging.getLogger().debug("no")
    assert stream.getvalue() == ""


async def test_no_url_that_something_is_sent_to_is_told(stream: io.StringIO) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(204))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post("https://hooks.example.org/T0/secret-part")
    assert "secret-part" not in stream.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="`loud`"):
        configure("loud")


def test_the_sampler_lets_a_burst_through_and_counts_the_rest() -> None:
    sampler = Sampler(burst=2, period=10)
    assert [sampler.admit("a", 0.0) for _ in range(5)] == [0, 0, None, None, None]
    assert sampler.admit("b", 1.0) == 0
    assert sampler.admit("a", 9.9) is None
    assert sampler.admit("a", 10.0) == 4
    assert sampler.admit("a", 10.0) == 0


def test_the_sampler_stays_bounded() -> None:
    sampler = Sampler(burst=1, period=10, max_keys=3)
    assert [sampler.admit(str(number), 0.0) for number in range(6)] == [0, 0, 0, 0, None, None]
    assert len(sampler._seen) <= 4
    assert sampler.admit("fresh", 11.0) == 0
    assert len(sampler._seen) == 1
