"""A second reading of dialled numbers, after RFC 3261 §25.1 and RFC 3966 §3: by hand, character by character.

It shares no code and no method with the program, which uses patterns; it is slow, and strict in the same
places: what can be read in two ways is no number. `region` and `denied` judge a number without the program's
tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import phonenumbers

DIGITS = "0123456789"
HEXADECIMAL = "0123456789abcdefABCDEF"
VISUAL = "-.()"
LONGEST_USER = 256
BEYOND_THE_NUMBER = ("ext", "isub", "postd")


class NoNumber(Exception):
    """What was dialled cannot be judged."""


@dataclass(frozen=True)
class Plan:
    """The dial plan of a trunk, as its configuration says it."""

    country_code: str = ""
    international: tuple[str, ...] = ()
    national: tuple[str, ...] = ()
    bare: bool = False


class Cursor:
    """What is left of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        found = self.peek()
        self.at += 1
        return found

    def until(self, stops: str) -> str:
        begun = self.at
        while self.peek() and self.peek() not in stops:
            self.at += 1
        return self.text[begun : self.at]


def number_of(uri: str, plan: Plan) -> str | None:
    """`+` and 1 to 15 digits, or None."""
    try:
        return _number(uri, plan)
    except NoNumber:
        return None


def _number(uri: str, plan: Plan) -> str:
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips", "tel"):
        raise NoNumber
    subscriber = rest.split("?")[0] if scheme.lower() == "tel" else _userinfo(rest)
    if not subscriber or len(subscriber) > LONGEST_USER:
        raise NoNumber
    cursor = Cursor(subscriber)
    dialled = _phone_digits(_unescaped(cursor.until(";")))
    context = _context(cursor)
    if dialled.startswith("+"):
        return _international(dialled[1:])
    if context is not None:
        return _international(context + dialled)
    return _by_plan(dialled, plan)


def _userinfo(rest: str) -> str:
    """user = 1*( unreserved / escaped / user-unreserved ); userinfo = user [ ":" password ] "@"."""
    before, at, _ = rest.rpartition("@")
    if not at:
        raise NoNumber
    return before.split(":")[0]


def _unescaped(text: str) -> str:
    cursor = Cursor(text)
    out = []
    while cursor.peek():
        char = cursor.take()
        if char == "%":
            high, low = cursor.take(), cursor.take()
            if not (high and low and high in HEXADECIMAL and low in HEXADECIMAL):
                raise NoNumber
            char = chr(16 * int(high, 16) + int(low, 16))
            if char == "%" or char > "\x7f":
                raise NoNumber
        out.append(char)
    return "".join(out)


def _phone_digits(text: str) -> str:
    """Digits, perhaps after one plus; visual separators are left out."""
    out = ""
    for position, char in enumerate(text):
        if char in DIGITS or (char == "+" and position == 0):
            out += char
        elif char not in VISUAL:
            raise NoNumber
    if not out.lstrip("+"):
        raise NoNumber
    return out


def _context(cursor: Cursor) -> str | None:
    """The digits of phone-context; NoNumber for parameters that name another number."""
    found: str | None = None
    while cursor.peek() == ";":
        cursor.take()
        name, equals, value = cursor.until(";").partition("=")
        name = name.lower()
        if name in BEYOND_THE_NUMBER:
            raise NoNumber
        if name == "phone-context":
            digits = _phone_digits(_unescaped(value)) if equals else ""
            if found is not None or not digits.startswith("+") or len(value) > 64:
                raise NoNumber
            found = digits[1:]
    return found


def _international(digits: str) -> str:
    if not 1 <= len(digits) <= 15 or digits[0] == "0":
        raise NoNumber
    return "+" + digits


def _by_plan(digits: str, plan: Plan) -> str:
    readings = sorted(_readings(digits, plan), key=lambda reading: reading[0])
    bare = "+" + digits if plan.bare and len(digits) <= 15 and digits[0] != "0" else None
    if not readings:
        if bare is None:
            raise NoNumber
        return bare
    number = _international(readings[-1][1])
    if bare is not None and number != bare:
        raise NoNumber
    return number


def _readings(digits: str, plan: Plan) -> Iterator[tuple[int, str]]:
    for prefix in plan.international:
        if digits[: len(prefix)] == prefix:
            yield len(prefix), digits[len(prefix) :]
    for prefix in plan.national if plan.country_code else ():
        if digits[: len(prefix)] == prefix:
            rest = digits[len(prefix) :]
            yield len(prefix), plan.country_code + rest if rest else ""


def region(number: str) -> str | None:
    """The region of the longest beginning of a number that phonenumbers calls valid: a network takes no more
    digits than a number has."""
    for end in range(len(number), 4, -1):
        try:
            found: str | None = phonenumbers.region_code_for_number(phonenumbers.parse(number[:end]))
        except phonenumbers.NumberParseException:
            return None
        if found is not None:
            return found
    return None


def denied(number: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a number begins with one of `prefixes`."""
    return any(number[: len(prefix)] == prefix for prefix in prefixes)
