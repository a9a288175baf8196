"""A short run of every check with a fixed seed, on every machine; `make fuzz` is the long one."""

from __future__ import annotations

import re
from random import Random

import pytest

from proxy.sip.errors import ParseError
from tests.fuzz import oracle
from tests.fuzz.checks import CHECKS, LIMITS, seeds
from tests.fuzz.mutator import LARGEST, mutate
from tests.fuzz.seeds import BROKEN, LARGE, MESSAGES, RICH

INPUTS = {"parser": 100_000, "parts": 30_000, "framer": 20_000, "stack": 50_000, "calls": 3_000}
SEED = 20261121


def inputs(name: str, count: int) -> list[bytes]:
    """The same for the same `count`: changed seeds, and for `calls` what the peers decide."""
    random = Random(SEED)
    if name == "calls":
        return [random.randbytes(random.randint(1, 70)) for _ in range(count)]
    changed = [mutate(random.choice(MESSAGES), random) for _ in range(count - 200)]
    return changed + [mutate(random.choice((*BROKEN, *LARGE)), random) for _ in range(200)]


@pytest.mark.parametrize("name", list(CHECKS))
def test_seeds(name: str) -> None:
    for data in seeds(name):
        oracle.timed(CHECKS[name], data, LIMITS[name])


@pytest.mark.parametrize("name", list(CHECKS))
def test_changed_messages(name: str) -> None:
    """Declared errors alone, none takes long; what is read leaves as it came, unknown headers and body byte
    for byte; calls end."""
    for data in inputs(name, INPUTS[name]):
        try:
            oracle.timed(CHECKS[name], data, LIMITS[name])
        except Exception as error:
            error.add_note(f"{name}: {data!r}")
            raise


def test_the_inputs_are_no_walkover() -> None:
    """About half of them can be read, and the refused ones are refused for every cause there is."""
    readable = 0
    causes = set()
    for data in inputs("parser", 6_000):
        try:
            readable += oracle.parse_message(data, oracle._FLOW) is not None
        except ParseError as error:
            causes.add(error.cause)
    assert 0.2 < readable / 6_000 < 0.8
    assert causes == {
        "body", "call_id", "content_length", "cseq", "encoding", "from", "header", "max_forwards", "not_sip",
        "route", "size", "start_line", "to", "uri", "uri_length", "version", "via",
    }  # fmt: skip


def test_the_same_seed_makes_the_same_changes() -> None:
    one, other = Random(7), Random(7)
    for _ in range(300):
        first, second = mutate(RICH, one), mutate(RICH, other)
        assert first == second
        assert len(first) <= LARGEST


def test_a_slow_input_is_found() -> None:
    quadratic = re.compile(rb"(a*)*b")

    with pytest.raises(AssertionError, match="ms for"):
        oracle.timed(lambda data: [quadratic.match(data) for _ in range(3)] and None, b"a" * 20)


def test_a_header_that_changes_on_its_way_is_found(monkeypatch) -> None:
    forward = oracle.forward_invite

    def changed(*arguments):
        out = forward(*arguments)
        out.headers[-1] = (out.headers[-1][0], out.headers[-1][1] + b" ")
        return out

    monkeypatch.setattr(oracle, "forward_invite", changed)
    with pytest.raises(AssertionError):
        oracle.stack(MESSAGES[1])


def test_an_undeclared_error_is_found(monkeypatch) -> None:
    def careless(data, flow):
        return data.decode("ascii")

    monkeypatch.setattr(oracle, "parse_message", careless)
    with pytest.raises(UnicodeDecodeError):
        oracle.parser(b"\xff")
