"""CallAttempt: the facts of one call that somebody tries to make. Nothing here is judged yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from policy.reasons import ReasonCode

Params = tuple[tuple[str, str | None], ...]
"""URI parameters: names in lower case, values still escaped, None where there is none."""


class AssertedIdentity(NamedTuple):
    """One address by which a caller is said to be called, beside From. `header`: such as
    `p-asserted-identity`. The rest as in CallAttempt; an empty scheme: what stood there could not be read."""

    header: str
    scheme: str
    user: str
    params: Params


@dataclass(slots=True)
class CallAttempt:
    """Facts of one INVITE outside a dialog, as the wire gave them; the policy alone reads meaning into them.

    source: the address that the packet came from, as text without port (`192.0.2.10`, `2001:db8::1`).
    transport: `udp`, `tcp` or `tls`.
    scheme: the Request-URI's scheme in lower case: `sip`, `sips`, `tel`, `urn` or anything else.
    user: of sip and sips the user part without password, of tel the number, of other schemes all that
        follows the colon; still escaped; an empty string where there is none.
    params: URI parameters of the Request-URI (`tel` parameters too), names in lower case, values still
        escaped, in order of appearance; None where a parameter has no value. Parameters inside the user
        part stay in `user`.
    cli: user part (or tel number) of the From URI, still escaped; an empty string where there is none.
    cli_scheme, cli_params: the rest of the From URI, as `scheme` and `params`.
    asserted: P-Asserted-Identity, P-Preferred-Identity and Remote-Party-ID, in order.
    diversions: Diversion and History-Info, in order. passports: the values of Identity headers.
    at_ms: wall time of its arrival, milliseconds since 1970.
    gate: DRAINING or OVERLOAD while the instance takes no new calls, else None. An emergency call passes it.
    login: the user name that the caller has proved to be its own; None: it has proved none.
    """

    source: str
    transport: str
    scheme: str
    user: str
    params: Params = ()
    cli: str = ""
    gate: ReasonCode | None = None
    cli_scheme: str = "sip"
    cli_params: Params = ()
    asserted: tuple[AssertedIdentity, ...] = ()
    diversions: tuple[AssertedIdentity, ...] = ()
    passports: tuple[str, ...] = ()
    at_ms: int = 0
    login: str | None = None
