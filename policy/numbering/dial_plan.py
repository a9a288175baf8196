"""DialPlan: how a trunk's dialled digits become an international number."""

from __future__ import annotations

from dataclasses import dataclass

MAX_E164_DIGITS = 15  # ITU-T E.164 §6.2.1


def is_e164(digits: str) -> bool:
    """Whether `digits`, without plus, can be an international number: 1 to 15, the first of them not 0."""
    return 0 < len(digits) <= MAX_E164_DIGITS and digits[0] != "0" and digits.isascii() and digits.isdigit()


@dataclass(frozen=True, slots=True)
class DialPlan:
    """The readings of digits that were dialled without a plus. All fields empty: there are none.

    country_code: calling code that national numbers get; None when there is none.
    international_prefixes: what stands before a full international number, such as `00` or `011`.
    national_prefixes: what stands before a national number, such as `0`; an empty string means that national
        numbers are dialled bare.
    bare_e164: digits are a full international number that lacks its plus.
    """

    country_code: str | None = None
    international_prefixes: tuple[str, ...] = ()
    national_prefixes: tuple[str, ...] = ()
    bare_e164: bool = False

    def international(self, digits: str) -> tuple[str, str] | None:
        """The number that `digits` are, with its plus, and the rule that read it; None when no rule reads it.

        The longest prefix that matches decides, and only that one. With `bare_e164`, digits that can also be
        read as a full number are read only when both readings are the same number: the plan never guesses.
        """
        number, rule = self._by_prefix(digits)
        if self.bare_e164 and is_e164(digits):
            bare = "+" + digits
            if not rule:
                return bare, "bare_e164"
            if number != bare:
                return None
        return (number, rule) if number else None

    def _by_prefix(self, digits: str) -> tuple[str, str]:
        """The number and the rule by prefix; an empty rule when no prefix matches, an empty number when it
        fails."""
        longest = -1
        number = rule = ""
        for prefix in self.international_prefixes:
            if len(prefix) > longest and digits.startswith(prefix):
                longest = len(prefix)
                rest = digits[longest:]
                number = "+" + rest if is_e164(rest) else ""
                rule = f"international prefix {prefix}"
        if self.country_code is not None:
            for prefix in self.national_prefixes:
                if len(prefix) > longest and digits.startswith(prefix):
                    longest = len(prefix)
                    rest = digits[longest:]
                    number = (
                        "+" + self.country_code + rest if rest and is_e164(self.country_code + rest) else ""
                    )
                    rule = f"national prefix {prefix or 'none'}, country code {self.country_code}"
        return number, rule
