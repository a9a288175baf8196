"""Metrics: what one instance counts. The way of a call touches plain integers only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest

from proxy.observe.exposition import Snapshot, SnapshotCollector, malformed_cause, message_kind
from proxy.observe.happenings import Happenings
from proxy.observe.histogram import Histogram

_MICRO = 1_000_000
_LEDGER_ERRORS = (
    *("timeout", "connection", "readonly", "loading", "oom", "noauth", "busy", "script", "other"),
    "dropped",
)


class SipCounts(Protocol):
    """The SIP stack's counters. Read at scrape time, never written here."""

    @property
    def messages(self) -> Mapping[tuple[str, str, str], int]:
        """(direction, transport, kind) → how many."""
        ...

    @property
    def malformed(self) -> Mapping[str, int]:
        """cause → how many."""
        ...

    @property
    def retransmissions(self) -> Mapping[str, int]:
        """direction → how many."""
        ...


class StreamCounts(Protocol):
    """What the listeners of a stream transport count; its length is how many connections there are. Read at
    scrape time, never written here. `closed` is by cause."""

    transport: str
    closed: dict[str, int]
    refused: int

    def __len__(self) -> int: ...


class Metrics:
    """This instance's numbers. Trunk and provider names come from the policy, never from a message.

    Public attributes are written directly by the hot path:
    admission_seconds: INVITE received to decision.
    calls_active: trunk → live calls.
    provider_up: provider → may calls be sent to it.
    ledger_drift: live leases of this instance minus its live dialogs.
    event_loop_lag: seconds.
    registrations: asked for provider → how many seconds we are known there, 0 when we are not.
    records_dropped: asked for how many lines of records could not be written.
    happenings: what others are to be told of.
    authentications: outcome → how often credentials of callers were looked at, or asked for.
    """

    def __init__(self) -> None:
        self.admission_seconds = Histogram()
        self.calls_active: dict[str, int] = {}
        self.provider_up: dict[str, bool] = {}
        self.ledger_drift = 0
        self.event_loop_lag = 0.0
        self.authentications: Mapping[str, int] = {}
        self.happenings = Happenings()
        self.registrations: Callable[[], Mapping[str, float]] = dict
        self.records_dropped: Callable[[], int] = int
        self._decisions: dict[tuple[str, str, str], int] = {("", "refused", "SOURCE"): 0}
        self._velocity: dict[tuple[str, str], int] = {}
        self._ledger_seconds: dict[str, Histogram] = {}
        self._ledger_errors = dict.fromkeys(_LEDGER_ERRORS, 0)
        self._reloads = {"success": 0, "failure": 0}
        self._version = ""
        self._store_version: int | None = None
        self._thresholds: dict[str, int | None] = {}
        self._usage: dict[str, tuple[int, int]] = {}
        self._sip: list[SipCounts] = []
        self._streams: list[StreamCounts] = []
        self._ends: dict[tuple[str, str], int] = {}
        self.registry = CollectorRegistry()
        self.registry.register(SnapshotCollector(self.snapshot))

    # On the way of a call.

    def decision(self, trunk: str | None, decision: str, reason: str | None) -> None:
        """Count a decision, `admitted` or `refused`. None as trunk: none was found; as reason: admitted."""
        key = (trunk or "", decision, reason or "")
        self._decisions[key] = self._decisions.get(key, 0) + 1

    def velocity_event(self, trunk: str, kind: str) -> None:
        """Count an attempt that passed a threshold of velocity; `kind` is of a closed set."""
        self._velocity[trunk, kind] = self._velocity.get((trunk, kind), 0) + 1

    def call_started(self, trunk: str) -> None:
        self.calls_active[trunk] = self.calls_active.get(trunk, 0) + 1

    def call_ended(self, trunk: str) -> None:
        self.calls_active[trunk] = self.calls_active.get(trunk, 0) - 1

    def ledger_seconds(self, verb: str, seconds: float) -> None:
        """A command of the ledger's (a closed set: its verbs) was answered after `seconds`."""
        found = self._ledger_seconds.get(verb)
        if found is None:
            found = self._ledger_seconds[verb] = Histogram()
        found.observe(seconds)

    def ledger_error(self, kind: str) -> None:
        """Count a failure; `kind` as in LedgerUnavailable, or `dropped` for records that were given up."""
        self._ledger_errors[kind] = self._ledger_errors.get(kind, 0) + 1

    # Now and then.

    def attach(self, counts: SipCounts) -> None:
        """Report these counters too; several stacks add up."""
        self._sip.append(counts)

    def attach_stream(self, counts: StreamCounts, causes: Iterable[str]) -> None:
        """Report the connections of this listener too; those of one transport add up. `causes` are all that
        there may be: they are counted from 0."""
        self._streams.append(counts)
        self._ends.update({(counts.transport, cause): 0 for cause in causes})

    def policy_loaded(
        self,
        version: str,
        thresholds: Mapping[str, int | None],
        providers: Iterable[str],
        store_version: int | None = None,
    ) -> None:
        """A policy is in force. `thresholds` names every trunk, with its spend threshold in micro-units.
        `store_version`: its number in the store; None: it is in the file.

        Gauges of trunks and providers that are gone disappear (live calls stay until they end); new providers
        count as up. Counters stay.
        """
        self._version = version
        self._store_version = store_version
        self._thresholds = dict(thresholds)
        self._usage = {trunk: usage for trunk, usage in self._usage.items() if trunk in thresholds}
        self.provider_up = {name: self.provider_up.get(name, True) for name in providers}
        for trunk in thresholds:
            self.calls_active.setdefault(trunk, 0)
            # A counter that begins at 1 hides its first event from rate() and increase().
            self._decisions.setdefault((trunk, "admitted", ""), 0)
            for reason in ("SPEND", "LEDGER", "OVERLOAD"):
                self._decisions.setdefault((trunk, "refused", reason), 0)

    def policy_reloaded(self, success: bool) -> None:
        """Count an attempt to load a new policy, after the first."""
        self._reloads["success" if success else "failure"] += 1

    def usage(self, trunk: str, spent: int, reserved: int) -> None:
        """What the ledger says of a trunk, in micro-units; forgotten when the policy has no such trunk."""
        if trunk in self._thresholds:
            self._usage[trunk] = (spent, reserved)

    # At a scrape.

    def snapshot(self) -> Snapshot:
        """All values now; cheap enough for the event loop (about half a microsecond a value)."""
        registrations = self.registrations()
        samples: dict[str, list[tuple[list[str], float]]] = {
            "trunkwarden_admission_decisions_total": [
                (list(key), count) for key, count in self._decisions.items()
            ],
            "trunkwarden_velocity_events_total": [
                (list(key), count) for key, count in self._velocity.items()
            ],
            "trunkwarden_ledger_errors_total": _by_label(self._ledger_errors),
            "trunkwarden_policy_reloads_total": _by_label(self._reloads),
            "trunkwarden_authentications_total": _by_label(self.authentications),
            "trunkwarden_calls_active": [
                ([trunk], count)
                for trunk, count in self.calls_active.items()
                if count or trunk in self._thresholds
            ],
            "trunkwarden_spend_amount": [
                ([trunk], spent / _MICRO) for trunk, (spent, _) in self._usage.items()
            ],
            "trunkwarden_spend_reserved_amount": [
                ([trunk], reserved / _MICRO) for trunk, (_, reserved) in self._usage.items()
            ],
            "trunkwarden_threshold_amount": [
                ([trunk], threshold / _MICRO)
                for trunk, threshold in self._thresholds.items()
                if threshold is not None
            ],
            "trunkwarden_records_dropped_total": [([], self.records_dropped())],
            "trunkwarden_ledger_drift": [([], self.ledger_drift)],
            "trunkwarden_provider_up": [([name], int(up)) for name, up in self.provider_up.items()],
            "trunkwarden_provider_registered": [
                ([name], int(left > 0)) for name, left in registrations.items()
            ],
            "trunkwarden_provider_registration_expires_seconds": [
                ([name], left) for name, left in registrations.items()
            ],
            "trunkwarden_event_loop_lag_seconds": [([], self.event_loop_lag)],
        }
        if self._version:
            samples["trunkwarden_policy_info"] = [([self._version], 1)]
        if self._store_version is not None:
            samples["trunkwarden_policy_store_version"] = [([], self._store_version)]
        samples.update(self._sip_samples())
        samples.update(self._stream_samples())
        return {
            "samples": samples,
            "histograms": {
                "trunkwarden_admission_seconds": [_histogram([], self.admission_seconds)],
                "trunkwarden_ledger_seconds": [
                    _histogram([verb], histogram) for verb, histogram in self._ledger_seconds.items()
                ],
            },
        }

    def render(self) -> bytes:
        """Prometheus text, made here and now: for a process that no call waits for."""
        return generate_latest(self.registry)

    def _sip_samples(self) -> dict[str, list[tuple[list[str], float]]]:
        messages: dict[tuple[str, str, str], int] = {}
        malformed: dict[str, int] = {}
        retransmissions: dict[str, int] = {}
        for counts in self._sip:
            for (direction, transport, kind), count in counts.messages.items():
                key = (direction, transport, message_kind(kind))
                messages[key] = messages.get(key, 0) + count
            for cause, count in counts.malformed.items():
                known = malformed_cause(cause)
                malformed[known] = malformed.get(known, 0) + count
            for direction, count in counts.retransmissions.items():
                retransmissions[direction] = retransmissions.get(direction, 0) + count
        return {
            "trunkwarden_sip_messages_total": [(list(key), count) for key, count in messages.items()],
            "trunkwarden_sip_malformed_total": _by_label(malformed),
            "trunkwarden_sip_retransmissions_total": _by_label(retransmissions),
        }

    def _stream_samples(self) -> dict[str, list[tuple[list[str], float]]]:
        closed = dict(self._ends)
        refused: dict[str, int] = {}
        connections: dict[str, int] = {}
        for counts in self._streams:
            transport = counts.transport
            for cause, count in counts.closed.items():
                closed[transport, cause] = closed.get((transport, cause), 0) + count
            refused[transport] = refused.get(transport, 0) + counts.refused
            connections[transport] = connections.get(transport, 0) + len(counts)
        return {
            "trunkwarden_connections_closed_total": [(list(key), count) for key, count in closed.items()],
            "trunkwarden_connections_refused_total": _by_label(refused),
            "trunkwarden_connections_open": _by_label(connections),
        }


def _by_label(counts: Mapping[str, int]) -> list[tuple[list[str], float]]:
    return [([label], count) for label, count in counts.items()]


def _histogram(labels: list[str], histogram: Histogram) -> tuple[list[str], list[int], float]:
    return (labels, histogram.counts[:], histogram.total)
