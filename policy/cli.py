"""The caller's identity: which numbers a trunk may show, and what the far end is told.

Whether a caller wants to stay unknown is another question than who pays: a From that names nobody is judged
by the asserted identity, and goes on naming nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

from policy.attempt import Params
from policy.numbering.dial_plan import DialPlan
from policy.numbering.dialled import canonical_number, read_dialled
from policy.passport import Signer, Verifier
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


class IdentityHeader(StrEnum):
    """What becomes of the Identity headers (RFC 8224) that a call brings. VERIFY: those that are there have
    to hold; REQUIRE: and there has to be one."""

    PASS = "pass"
    REMOVE = "remove"
    VERIFY = "verify"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True)
class Vouching:
    """STIR: what calls are signed with, None: they are not; and whose signatures are believed."""

    signer: Signer | None
    verifier: Verifier


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
    diverted_by: the trunk's own number from which the call was diverted here; None: none.
    verified: the Identity that it brought holds, and says the same.
    kept: what was judged stays so for the whole call: later requests of the caller say no other number.
    """

    number: str | None
    attestation: Attestation
    anonymous: bool = False
    replaced: bool = False
    kept: bool = False
    choices: tuple[str, ...] = ()
    diverted_by: str | None = None
    verified: bool = False

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
    (they leave with the call); else From alone does. `origid`: of the trunk, in what is signed.
    """

    scope_id: str
    plan: DialPlan
    owned: frozenset[str]
    action: OnMismatch
    default: str | None
    choices: tuple[str, ...]
    believes: bool
    identity: IdentityHeader = IdentityHeader.PASS
    vouching: Vouching | None = None
    origid: str = ""
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

    def judge(self, attempt: CallAttempt, called: str) -> tuple[Check, Caller | None]:
        """What the far end is told, and by which rule; None: the call is refused. `called` is
        canonical. All that names the caller has to be the trunk's: From, unless it is anonymous, and every
        asserted identity."""
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
        diverted_by = self._diverted_by(attempt, called) if self.vouching is not None else None
        fault = self._fault(attempt, number, called, diverted_by)
        if fault is not None:
            return Check("cli", self.scope_id, REFUSE, fault), None
        if stranger is None:
            check = Check("cli", self.scope_id, PASS, f"{number} is one of its numbers")
            caller: Caller | None = Caller(number, Attestation.FULL, anonymous, kept=self._keeps)
        else:
            check, caller = self._mismatch(number, anonymous, stranger)
        if caller is None or self.vouching is None:
            return check, caller
        verified = bool(self._verifies and attempt.passports and not caller.replaced)
        return check, replace(caller, diverted_by=diverted_by, verified=verified)

    def _fault(
        self, attempt: CallAttempt, number: str | None, called: str, diverted_by: str | None
    ) -> str | None:
        """What is wrong with the Identity that the call brings; None: nothing, or nobody asks."""
        if not self._verifies or self.vouching is None:
            return None
        if not attempt.passports:
            return "brings no Identity" if self.identity is IdentityHeader.REQUIRE else None
        if number is None:
            return "brings an Identity, and is of no number"
        dests = {called[1:]} if diverted_by is None else {called[1:], diverted_by[1:]}
        return self.vouching.verifier.fault(attempt.passports, number[1:], dests, attempt.at_ms // 1000)

    def _diverted_by(self, attempt: CallAttempt, called: str) -> str | None:
        """The trunk's own number that sent the call on to `called`: the topmost Diversion (RFC 5806), else
        the last of History-Info (RFC 7044) that is another number."""
        for one in attempt.diversions:
            if one.header == "diversion":
                number = self.read(one.scheme, one.user, one.params)
                return number if number in self.owned else None
        for one in reversed(attempt.diversions):
            number = self.read(one.scheme, one.user, one.params)
            if number != called:
                return number if number in self.owned else None
        return None

    @property
    def _verifies(self) -> bool:
        return self.identity in (IdentityHeader.VERIFY, IdentityHeader.REQUIRE)

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
