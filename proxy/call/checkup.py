"""What an answered call is asked from time to time: was it refreshed (RFC 4028), are both sides there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.call.hangup import believed, end_dialog
from proxy.call.probe import Ends, Life, Probe

if TYPE_CHECKING:
    from proxy.call.dialog import Dialog
    from proxy.call.session import CallSession

EMERGENCY_PROBE_SECONDS = 600.0
"""How often an emergency call is probed where its trunk does not say: nothing else of ours ends one that
nobody hangs up."""

_EXPIRED = b'Q.850;cause=102;text="Session Timer Expired"'
_CALLER_GONE = b'SIP;cause=481;text="Caller Has No Such Call"'
_CALLEE_GONE = b'SIP;cause=481;text="Provider Has No Such Call"'
_CALLER_SILENT = b'SIP;cause=408;text="Caller Does Not Answer"'
_CALLEE_SILENT = b'SIP;cause=408;text="Provider Does Not Answer"'


def next_round(session: CallSession, now: float) -> None:
    """The call has been answered, or both sides have been asked: when to ask them next, if at all."""
    interval = _probe_interval(session)
    if interval:
        session.probe_at = now + interval
        session.look_by(session.probe_at, now)


def refreshed(session: CallSession, dialog: Dialog, interval: float | None, now: float) -> None:
    """A session refresh was accepted, the first being the answer: the session lives for `interval` seconds
    from now; None: until somebody hangs up."""
    dialog.expires_at = None if interval is None else now + interval
    if interval is not None:
        session.look_by(now + interval + session.core.settings.ack_seconds, now)


def checkup(session: CallSession, now: float) -> float | None:
    """Do what is due for an answered call; when to look next, or None."""
    grace = session.core.settings.ack_seconds
    probe_now = session.probe_at is not None and now >= session.probe_at
    for dialog in _living(session):
        if dialog.expires_at is not None and now >= dialog.expires_at + grace:
            dialog.expires_at = None
            if session.verdict.emergency:
                # That nobody refreshes is no proof that nobody talks.
                probe_now = True
            else:
                end_dialog(session, dialog, _EXPIRED, now)
    if probe_now:
        session.probe_at = None
        for dialog in _living(session):
            Probe(session.core, ends_of(session, dialog), _CallProbe(session, dialog)).start(now)
    deadlines = [dialog.expires_at + grace for dialog in _living(session) if dialog.expires_at is not None]
    if session.probe_at is not None:
        deadlines.append(session.probe_at)
    return min(deadlines, default=None)


def ends_of(session: CallSession, dialog: Dialog) -> Ends:
    """What a probe needs to know of a live call's dialog."""
    caller, callee = session.caller, dialog.callee(session.token)
    return Ends(
        session.request.call_id,
        caller,
        session.request.first(b"from") or b"",
        callee,
        dialog.to_header(),
        dialog.last_number(callee, False),
        dialog.last_number(caller, True),
        believed(session),
        session.callees_from,
    )


class _CallProbe:
    """A live call that asks for one of its dialogs."""

    __slots__ = ("dialog", "session")

    def __init__(self, session: CallSession, dialog: Dialog) -> None:
        self.session = session
        self.dialog = dialog

    def probed(self, probe: Probe, now: float) -> None:
        """End what is dead. When both sides are known, the next round is set."""
        session = self.session
        if not session.is_answered:
            probe.stop()
            return
        if not self.dialog.confirmed:
            probe.stop()
        else:
            reason = _cause_of_death(probe, session.verdict.emergency)
            if reason is not None:
                probe.stop()
                end_dialog(session, self.dialog, reason, now)
        if probe.settled or probe.over:
            next_round(session, now)


def _cause_of_death(probe: Probe, emergency: bool) -> bytes | None:
    """Why the dialog is dead, as both sides are told; None while it is not known to be.

    An emergency call is not cut off because one side's packets do not pass: both have to be silent, unless
    one says itself that there is no call.
    """
    if probe.callee is Life.GONE:
        return _CALLEE_GONE
    if probe.caller is Life.GONE:
        return _CALLER_GONE
    if emergency and not (probe.callee is Life.SILENT and probe.caller is Life.SILENT):
        return None
    if probe.callee is Life.SILENT:
        return _CALLEE_SILENT
    return _CALLER_SILENT if probe.caller is Life.SILENT else None


def _probe_interval(session: CallSession) -> float:
    """Seconds between two rounds of probes; 0: none."""
    verdict = session.verdict
    asked = 0 if verdict.trunk is None else verdict.trunk.call_probe_seconds
    return asked or (EMERGENCY_PROBE_SECONDS if verdict.emergency else 0.0)


def _living(session: CallSession) -> list[Dialog]:
    return [dialog for dialog in session.dialogs.values() if dialog.confirmed and not dialog.unwanted]
