"""What was dialled, read from the fields of a Request-URI, and made an international number.

Two steps, since the trunk is known only in between: `read_dialled` applies the grammar, `canonical_number`
the trunk's dial plan. Whatever can be read in two ways is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy.numbering.dial_plan import DialPlan, is_e164

_MAX_USER = 256
_MAX_CONTEXT = 64

# The whole of most numbers; everything else takes the long way.
_PLAIN = re.compile(r"\+?[0-9]{1,32}")

# global-number-digits = "+" *phonedigit DIGIT *phonedigit; local numbers lack the plus (RFC 3966 §3). A "#"
# and a plus further on are let through for the technical prefixes of trunks; the letters and "*" of local
# numbers are nothing that can be judged.
_NUMBER = re.compile(r"\+?[0-9#.()-]+|[0-9#][0-9#.()-]*\+[0-9#.()-]+")
_CONTEXT = re.compile(r"\+[0-9.()-]*[0-9][0-9.()-]*")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_WITHOUT_SEPARATORS = str.maketrans("", "", "-.()")  # visual-separator (RFC 3966 §3)

_MORE_DIGITS = frozenset({"ext", "isub", "postd"})


@dataclass(frozen=True, slots=True)
class Dialled:
    """What the grammar alone can tell.

    digits: what was dialled, unescaped and without visual separators, perhaps with a plus; empty where
        there is nothing of the kind.
    context: calling code and more (digits) that a phone-context names; None: none was given.
    failure: why this can never be a number, in words for an operator; None: the dial plan decides.
    """

    digits: str
    context: str | None = None
    failure: str | None = None


def read_dialled(scheme: str, user: str, params: tuple[tuple[str, str | None], ...]) -> Dialled:
    """Read the user part of a sip or sips URI, or a tel URI's number with its parameters. Never raises.

    Escapes are decoded once. Of the parameters of the number (RFC 3966 §3; in the user part of a sip URI by
    RFC 3261 §19.1.6) `phone-context` completes a local number and is ignored beside a global one; `ext`,
    `isub` and `postd` name digits beyond the number and are refused; all others, such as `rn`, `npdi`, `cic`
    and `tgrp`, are left out: what is forwarded is the judged number alone. Parameters of a sip URI itself do
    not belong to the number.
    """
    if scheme != "sip" and scheme != "sips" and scheme != "tel":
        return Dialled("", None, f"{scheme[:16]}: names no number")
    if _PLAIN.fullmatch(user) is not None and (scheme != "tel" or not params):
        return Dialled(user)
    if not user:
        return Dialled("", None, "no number was dialled")
    if len(user) > _MAX_USER:
        return Dialled("", None, "longer than any number")
    number, *rest = user.split(";")
    decoded = _decode_once(number)
    if decoded is None:
        return Dialled("", None, "escaped twice, or no number")
    if _NUMBER.fullmatch(decoded) is None:
        return Dialled("", None, "not a number: it may hold digits, and a plus before them")
    digits = decoded.translate(_WITHOUT_SEPARATORS)
    own: list[tuple[str, str | None]] = []
    for param in rest:
        name, equals, value = param.partition("=")
        own.append((name.lower(), value if equals else None))
    if scheme == "tel":
        own.extend(params)
    return _with_parameters(digits, own)


def _with_parameters(digits: str, params: list[tuple[str, str | None]]) -> Dialled:
    context: str | None = None
    for name, value in params:
        if name in _MORE_DIGITS:
            return Dialled(digits, None, f"parameter {name} names digits beyond the number")
        if name != "phone-context":
            continue
        if context is not None:
            return Dialled(digits, None, "phone-context is given twice")
        decoded = _decode_once(value or "") if len(value or "") <= _MAX_CONTEXT else None
        if decoded is None or _CONTEXT.fullmatch(decoded) is None:
            return Dialled(digits, None, "phone-context is no international prefix")
        context = decoded.translate(_WITHOUT_SEPARATORS)[1:]
    return Dialled(digits, context)


def _decode_once(text: str) -> str | None:
    """`text` with its escapes decoded; None when escapes remain or a decoded byte is not ASCII."""
    if "%" not in text:
        return text
    decoded = _ESCAPED.sub(_character, text)
    return None if "%" in decoded or not decoded.isascii() else decoded


def _character(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 16))


@dataclass(frozen=True, slots=True)
class Canonical:
    """`number` is `+` and 1 to 15 digits, or None; `rule` says how it was read, or why it was not."""

    number: str | None
    rule: str


_AS_DIALLED = "dialled as an international number"


def canonical_number(dialled: Dialled, plan: DialPlan, skip: int = 0) -> Canonical:
    """The international number of what was dialled, less its first `skip` characters (a technical prefix)."""
    if dialled.failure is not None:
        return Canonical(None, dialled.failure)
    digits = dialled.digits[skip:] if skip else dialled.digits
    if digits[:1] == "+":
        if is_e164(digits[1:]):
            return Canonical(digits, _AS_DIALLED)
        return Canonical(None, "after the plus stand 1 to 15 digits that do not begin with 0")
    if not (digits.isascii() and digits.isdigit()):
        return Canonical(None, "no digits that can be read" if digits else "no number was dialled")
    if dialled.context is not None:
        number = dialled.context + digits
        if is_e164(number):
            return Canonical("+" + number, f"phone-context +{dialled.context}")
        return Canonical(None, "phone-context and number make no international number")
    found = plan.international(digits)
    if found is None:
        return Canonical(None, "the trunk's dial_plan reads no such number, or reads it in two ways")
    return Canonical(found[0], found[1])
