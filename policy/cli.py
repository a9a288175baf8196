"""The caller's identity: which numbers a trunk may show, and what the far end is told.

Whether a caller wants to stay unknown is another question than who pays: a From that names nobody is judged
by the asserted identity, and goes on naming nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

from policy.attempt import Params
from policy.numbering.dial_plan import DialPlan
from policy.numbering.dialled import canonical_number, read_dialled
from policy.verdict import PASS, REFUSE, Check

if TYPE_CHECKING:
    from policy.attempt import CallAttempt

_SHOWN = 40
_NOBODY = frozenset({"", "anonymous"})


class OnMismatch(StrEnum):
    """What becomes of a call whose caller is none of the trunk's numbers."""

    SEND_ORIGINAL = "send_original_cli"
    REJECT = "reject_call"
    REPLACE = "replace_cli"
    RANDOMIZE = "randomize_cli"


class Attestation(StrEnum):
    """What is vouched for (RFC 8588 §4). FULL: the number is the trunk's. PARTIAL: the trunk has numbers, and
    this is none of them. GATEWAY: nothing is known of the trunk's numbers."""

    FULL = "A"
    PARTIAL = "B"
    GATEWAY = "C"


@dataclass(frozen=True, slots=True)
class CliFormat:
    """How a provider wants numbers written. `national` writes those of `country_code` with `prefix` in its
    place, and others as `plus_e164`."""

    kind: str
    country_code: str = ""
    prefix: str = ""

    def write(self, number: str) -> str:
        """`number` is canonical: `+` and digits."""
        if self.kind == "e164":
            return number[1:]
        if self.kind == "national" and number.startswith(self.country_code, 1):
            return self.prefix + number[1 + len(self.country_code) :]
        return number


PLUS_E164 = CliFormat("plus_e164")


@dataclass(frozen=True, slots=True)
class Caller:
    """What the far end is told of the caller.

    number: the asserted identity, or else From; canonical; None where neither is a number. replaced: it, or
        one of `choices`, stands in place of what the caller said. anonymous: From names nobody, and will not.
    kept: what was judged stays so for the whole call: later requests of the caller say no other number.
    """

    number: str | None
    attestation: Attestation
    anonymous: bool = False
    replaced: bool = False
    kept: bool = False
    choices: tuple[str, ...] = ()

    def told(self, token: str) -> str | None:
        """The number that the far end is told. `token`, random and one to a call, draws among `choices`."""
        if not self.choices:
            return self.number
        drawn = int.from_bytes(blake2b(token.encode(), digest_size=8).digest())
        return self.choices[drawn % len(self.choices)]


@dataclass(frozen=True, slots=True)
class CliRules:
    """A trunk's rules: the numbers that it owns, and what happens to calls from others.

    `default`: the number of REPLACE; `choices`: those of RANDOMIZE. `believes`: asserted identities count
    (they leave with the call); else From alone does.
    """

    scope_id: str
    plan: DialPlan
    owned: frozenset[str]
    action: OnMismatch
    default: str | None
    choices: tuple[str, ...]
    believes: bool
    _silent: Check = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        detail = "no numbers of its own: sent as it came"
        object.__setattr__(self, "_silent", Check("cli", self.scope_id, PASS, detail))

    def read(self, scheme: str, user: str, params: Params = ()) -> str | None:
        """The number that a URI of the caller's names, by the same rules as dialled ones. Digits that the
        dial plan does not read are an owned number's where they are all of it."""
        dialled = read_dialled(scheme, user, params)
        number = canonical_number(dialled, self.plan).number
        if number is None and dialled.failure is None and dialled.context is None:
            whole = "+" + dialled.digits
            if whole in self.owned:
                return whole
        return number

    def judge(self, attempt: CallAttempt) -> tuple[Check, Caller | None]:
        """What the far end is told, and by which rule; None: the call is refused. All that names the caller
        has to be the trunk's: From, unless it is anonymous, and every asserted identity."""
        anonymous = attempt.cli.lower() in _NOBODY
        number = stranger = None
        if not anonymous:
            number = self.read(attempt.cli_scheme, attempt.cli, attempt.cli_params)
            if number not in self.owned:
                stranger = f"From says {attempt.cli[:_SHOWN]}"
        asserted = attempt.asserted if self.believes else ()
        first = True
        for identity in asserted:
            found = self.read(identity.scheme, identity.user, identity.params)
            if found is not None and first:
                number, first = found, False
            if found not in self.owned and stranger is None:
                stranger = f"{identity.header} says {identity.user[:_SHOWN]}"
        if anonymous and not asserted:
            stranger = "From names nobody, and no asserted identity does"
        if stranger is None:
            check = Check("cli", self.scope_id, PASS, f"{number} is one of its numbers")
            return check, Caller(number, Attestation.FULL, anonymous, kept=self._keeps)
        return self._mismatch(number, anonymous, stranger)

    def _mismatch(self, number: str | None, anonymous: bool, stranger: str) -> tuple[Check, Caller | None]:
        action, scope = self.action, self.scope_id
        if action is OnMismatch.SEND_ORIGINAL:
            if not self.owned:
                return self._silent, Caller(number, Attestation.GATEWAY, anonymous)
            detail = f"{stranger}, none of its numbers: sent as it came"
            return Check("cli", scope, PASS, detail), Caller(number, Attestation.PARTIAL, anonymous)
        if action is OnMismatch.REPLACE and self.default is not None:
            detail = f"{stranger}, none of its numbers: {self.default} in its place"
            told = Caller(self.default, Attestation.FULL, anonymous, replaced=True, kept=True)
            return Check("cli", scope, PASS, detail), told
        if action is OnMismatch.RANDOMIZE and self.choices:
            detail = f"{stranger}, none of its numbers: one of them, drawn at random, in its place"
            told = Caller(None, Attestation.FULL, anonymous, True, True, self.choices)
            return Check("cli", scope, PASS, detail), told
        return Check("cli", scope, REFUSE, f"{stranger}, none of its numbers"), None

    @property
    def _keeps(self) -> bool:
        return self.action is not OnMismatch.SEND_ORIGINAL
