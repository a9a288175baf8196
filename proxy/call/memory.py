"""What another instance needs to go on with an answered call, as bytes, and the call made from them again.

A call leaves its own messages: the INVITE and the answers that made its dialogs, cut down to the headers that
dialogs are made of, and beside them what has changed since. They are read by the proxy's own parser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring as quote
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from policy.attempt import CallAttempt
from policy.compiled import Provider, Trunk
from policy.rating.rate import Rate
from policy.verdict import Verdict
from proxy.call.dialog import Dialog
from proxy.call.session import CallSession
from proxy.call.states import CallState
from proxy.sip.errors import ParseError
from proxy.sip.message import Flow, SipMessage, SipRequest, SipResponse
from proxy.sip.parse import parse_message
from proxy.sip.transaction import ServerTransaction
from proxy.sip.via import response_flow

if TYPE_CHECKING:
    from proxy.call.core import ProxyCore

_FORM: Final = 1
_KEPT = frozenset({b"from", b"to", b"call-id", b"cseq", b"contact", b"record-route"})
_RATE = tuple(Rate.__dataclass_fields__)
_rate = attrgetter(*_RATE)


class Forgotten(ValueError):
    """The bytes say nothing that a call could be made of, or not here; the message says why."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a call was admitted, as far as they outlive the policy: its trunk and provider by the
    policy now in force, None when they are gone."""

    trunk: Trunk | None
    provider: Provider | None


def remember(session: CallSession, now: float) -> bytes:
    """An answered call as bytes; empty when there is nothing that could be gone on with."""
    dialogs = [_dialog(session, dialog, now) for dialog in session.dialogs.values() if _lives(dialog)]
    if not dialogs or session.answered_at is None:
        return b""
    verdict, attempt, caller, record = session.verdict, session.attempt, session.caller, session.record
    trunk, provider, shown = verdict.trunk, session.provider, session.shown_from
    sent = (attempt.source, attempt.transport, attempt.scheme, attempt.user, attempt.cli)
    kept = "null" if record is None else f"[{quote(record[0])},{quote(record[1])}]"
    return (
        f'{{"form":{_FORM},"invite":{_cut(session.request)},"came":{_way(session.request.flow)},'
        f'"trunk":{_text(None if trunk is None else trunk.name)},'
        f'"provider":{_text(None if provider is None else provider.name)},"called":{_text(verdict.called)},'
        f'"country":{_text(verdict.country)},"destination":{_text(verdict.destination)},'
        f'"emergency":{_truth(verdict.emergency)},"rate":{_terms(verdict.rate)},'
        f'"attempt":[{",".join(map(quote, sent))}],"status":{session.final_status},"record":{kept},'
        f'"caller":[{_raw(caller.target)},{_way(caller.flow)},{_truth(caller.roams)},{caller.cseq}],'
        f'"shown_from":{"null" if shown is None else _raw(shown)},"dialogs":[{",".join(dialogs)}]}}'
    ).encode()


def recall(
    core: ProxyCore,
    ref: str,
    tokens: tuple[bytes, bytes],
    data: bytes,
    answered_at: float,
    terms: Callable[[str | None, str | None], Terms],
    now: float,
) -> CallSession:
    """The call that `remember` left, as if it had been made here; `ProxyCore.resume` goes on with it.

    `terms` finds trunk and provider by their names. Raises Forgotten.
    """
    try:
        memory = json.loads(data)
        if memory["form"] != _FORM:
            raise Forgotten(f"form {memory['form']} is not known to this version")
        session = _session(core, ref, tokens, memory, terms(memory["trunk"], memory["provider"]), now)
        for kept in memory["dialogs"]:
            _restore_dialog(session, kept, now)
        session.final_status = int(memory["status"])
    except (KeyError, IndexError, TypeError, ValueError, ParseError, AttributeError) as error:
        raise error if isinstance(error, Forgotten) else Forgotten(f"unreadable: {error}") from None
    session.answered_at = answered_at
    return session


# --- leaving ------------------------------------------------------------------------------------------------


def _lives(dialog: Dialog) -> bool:
    return dialog.confirmed and not dialog.unwanted


# The JSON is put together by hand: this is done for every call, and an encoder would take most of the time.


def _text(value: str | None) -> str:
    return "null" if value is None else quote(value)


def _raw(value: bytes) -> str:
    return quote(value.decode("latin-1"))


def _truth(value: bool) -> str:
    return "true" if value else "false"


@lru_cache(maxsize=1024)
def _terms(rate: Rate | None) -> str:
    return "null" if rate is None else json.dumps(_rate(rate))


@lru_cache(maxsize=4096)
def _way(flow: Flow) -> str:
    return json.dumps(flow)


def _cut(message: SipMessage) -> str:
    """The message without what a dialog does not need. Of several Vias the topmost."""
    lines = [message.start, b"Via: " + message.via.raw]
    lines += [line for name, line in message.headers if name in _KEPT]
    lines.append(b"Content-Length: 0\r\n\r\n")
    return _raw(b"\r\n".join(lines))


def _dialog(session: CallSession, dialog: Dialog, now: float) -> str:
    callee, expires = dialog.callee(session.token), dialog.expires_at
    to_callee, to_caller = dialog.last_number(session.caller, True), dialog.last_number(callee, False)
    return (
        f'{{"answer":{_cut(dialog.origin)},"came":{_way(dialog.origin.flow)},"way":{_way(dialog.way)},'
        f'"target":{_raw(callee.target)},"flow":{_way(callee.flow)},"seen":[{to_callee},{to_caller}],'
        f'"cseq":{callee.cseq},"acknowledged":{_truth(dialog.acknowledged)},'
        f'"expires":{"null" if expires is None else expires - now}}}'
    )


# --- coming back --------------------------------------------------------------------------------------------


def _flow(kept: Any) -> Flow:
    """A flow of the instance that is gone. Its connections are gone with it."""
    transport, local, remote, _ = kept
    return Flow(str(transport), (str(local[0]), int(local[1])), (str(remote[0]), int(remote[1])))


def _own_flow(core: ProxyCore, kept: Any) -> Flow:
    """The same way from a listener of ours."""
    flow = _flow(kept)
    own = core.ways.own(flow)
    if own is None:
        raise Forgotten(f"no listener here for {flow.transport} to {flow.remote[0]}")
    return own


def _session(
    core: ProxyCore,
    ref: str,
    tokens: tuple[bytes, bytes],
    memory: Mapping[str, Any],
    terms: Terms,
    now: float,
) -> CallSession:
    request = parse_message(memory["invite"].encode("latin-1"), _own_flow(core, memory["came"]))
    if not isinstance(request, SipRequest):
        raise Forgotten("its INVITE is none")
    rate = memory["rate"]
    verdict = Verdict(
        None,
        [],
        terms.trunk,
        () if terms.provider is None else (terms.provider,),
        memory["called"],
        memory["country"],
        memory["destination"],
        None if rate is None else Rate(**dict(zip(_RATE, rate, strict=True))),
        emergency=bool(memory["emergency"]),
    )
    source, transport, scheme, user, cli = memory["attempt"]
    attempt = CallAttempt(source, transport, scheme, user, (), cli)
    server = ServerTransaction(request, response_flow(request))
    session = CallSession(core, request, server, attempt, verdict, ref, *tokens, now)
    session.state = CallState.ANSWERED
    session.provider = terms.provider
    shown = memory["shown_from"]
    session.shown_from = None if shown is None else str(shown).encode("latin-1")
    record = memory["record"]
    session.record = None if record is None else (str(record[0]), str(record[1]))
    target, flow, roams, cseq = memory["caller"]
    caller = session.caller
    caller.retarget(target.encode("latin-1"))
    caller.flow = _own_flow(core, flow)
    caller.roams = bool(roams)
    caller.cseq = int(cseq)
    return session


def _restore_dialog(session: CallSession, kept: Mapping[str, Any], now: float) -> None:
    core = session.core
    answer = parse_message(kept["answer"].encode("latin-1"), _own_flow(core, kept["came"]))
    if not isinstance(answer, SipResponse):
        raise Forgotten("its answer is none")
    dialog = Dialog(
        answer.to_tag, answer, kept["target"].encode("latin-1"), _own_flow(core, kept["way"]), core.ways
    )
    callee = dialog.callee(session.token)
    if callee.target != kept["target"].encode("latin-1"):
        callee.retarget(kept["target"].encode("latin-1"))
    callee.flow = _verified(session, _own_flow(core, kept["flow"]))
    callee.cseq = int(kept["cseq"])
    seen_by_callee, seen_by_caller = kept["seen"]
    dialog.resume((int(seen_by_caller) - callee.cseq, int(seen_by_callee) - session.caller.cseq))
    dialog.confirmed = True
    dialog.acknowledged = bool(kept["acknowledged"])
    expires = kept["expires"]
    dialog.expires_at = None if expires is None else now + float(expires)
    session.dialogs[dialog.tag] = dialog


def _verified(session: CallSession, flow: Flow) -> Flow:
    """Over TLS the provider has to be whom its name says, here as there."""
    if flow.transport != "tls" or session.provider is None:
        return flow
    for hop in session.core.routes(session.provider):
        if hop.flow.transport == "tls":
            return flow._replace(connection=hop.flow.connection)
    raise Forgotten("its provider has no certificate's name here")
