"""What the metrics are called and how a snapshot of them becomes Prometheus text.

The SIP process counts into plain numbers and hands over snapshots; rendering takes several microseconds a
sample and is done where it delays no call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.observe.histogram import SECONDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "trunkwarden_admission_decisions_total": (
        ("trunk", "decision", "reason"),
        "Calls judged. trunk is empty when no trunk was found, reason when the call was admitted.",
    ),
    "trunkwarden_authentications_total": (
        ("outcome",),
        "Logins of callers: challenged, accepted, refused, stale, or throttled after too many refused.",
    ),
    "trunkwarden_velocity_events_total": (
        ("trunk", "kind"),
        "Attempts that passed a threshold on how often callees are tried, soft or hard.",
    ),
    "trunkwarden_ledger_errors_total": (
        ("kind",),
        "Ledger commands that failed or were not answered in time.",
    ),
    "trunkwarden_sip_messages_total": (
        ("direction", "transport", "kind"),
        "SIP messages; kind is the method or the status code.",
    ),
    "trunkwarden_sip_malformed_total": (("cause",), "Messages that could not be parsed."),
    "trunkwarden_sip_retransmissions_total": (("direction",), "Messages received or sent again."),
    "trunkwarden_connections_closed_total": (
        ("transport", "cause"),
        "TCP and TLS connections that ended, whoever opened them.",
    ),
    "trunkwarden_connections_refused_total": (
        ("transport",),
        "Connections that were closed as they came, for want of a place.",
    ),
    "trunkwarden_records_dropped_total": ((), "Lines of records that could not be written to the file."),
    "trunkwarden_policy_reloads_total": (("result",), "Attempts to load a new policy."),
    "trunkwarden_webhook_events_total": (("type",), "Events that this instance put into the queue."),
    "trunkwarden_webhook_deliveries_total": (
        ("result",),
        "Tries to tell an endpoint of an event, and deliveries that were given up.",
    ),
}

GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "trunkwarden_calls_active": (("trunk",), "Live calls of this instance."),
    "trunkwarden_spend_amount": (("trunk",), "Money spent in the window, over all instances."),
    "trunkwarden_spend_reserved_amount": (("trunk",), "Money reserved by live calls, over all instances."),
    "trunkwarden_threshold_amount": (("trunk",), "The trunk's spend threshold; absent when it has none."),
    "trunkwarden_ledger_drift": ((), "Live leases of this instance minus its live dialogs."),
    "trunkwarden_connections_open": (("transport",), "TCP and TLS connections, whoever opened them."),
    "trunkwarden_policy_info": (("version",), "Always 1; the version of the policy in force."),
    "trunkwarden_policy_store_version": (
        (),
        "The number of the store's version that is in force; absent where the policy is in the file.",
    ),
    "trunkwarden_provider_up": (("provider",), "1 while calls may be sent to the provider."),
    "trunkwarden_provider_registered": (
        ("provider",),
        "1 while the provider that wants a registration has one of this instance.",
    ),
    "trunkwarden_provider_registration_expires_seconds": (
        ("provider",),
        "Seconds until the provider forgets the registration of this instance; 0 when there is none.",
    ),
    "trunkwarden_webhook_waiting": ((), "Deliveries that wait in the queue, over all instances."),
    "trunkwarden_webhook_dead_letters": ((), "Deliveries that were given up and are kept."),
    "trunkwarden_event_loop_lag_seconds": (
        (),
        "The longest time by which the SIP process was late for a timer in the last 10 to 20 seconds.",
    ),
}

HISTOGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "trunkwarden_admission_seconds": ((), "From an INVITE's arrival to its decision."),
    "trunkwarden_ledger_seconds": (("verb",), "Round trips to the ledger."),
}

NAMES = frozenset(COUNTERS) | frozenset(GAUGES) | frozenset(HISTOGRAMS)
"""Every metric of the program's own (a histogram's series add `_bucket`, `_sum` and `_count`)."""


class Snapshot(TypedDict):
    """All values at one moment, as JSON can carry them. Label values stand in the order of the tables above.

    samples: name → (label values, value) pairs.
    histograms: name → (label values, counts per bucket of SECONDS and +Inf, sum of values).
    """

    samples: dict[str, list[tuple[list[str], float]]]
    histograms: dict[str, list[tuple[list[str], list[int], float]]]


def families(snapshot: Snapshot) -> Iterable[Metric]:
    """The snapshot as metric families, every known one included, so that a scraper knows all names."""
    samples = snapshot["samples"]
    for name, (labels, text) in COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        for values, value in samples.get(name, ()):
            counter.add_metric(values, value)
        yield counter
    for name, (labels, text) in GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for values, value in samples.get(name, ()):
            gauge.add_metric(values, value)
        yield gauge
    for name, (labels, text) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, counts, total in snapshot["histograms"].get(name, ()):
            histogram.add_metric(values, _cumulated(counts), total)
        yield histogram


_BOUNDS = (*map(repr, SECONDS), "+Inf")


def _cumulated(counts: Sequence[int]) -> list[tuple[str, float]]:
    below = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip(_BOUNDS, counts, strict=True):
        below += count
        buckets.append((bound, below))
    return buckets


class SnapshotCollector(Collector):
    """Feeds a prometheus_client registry from whatever `take` returns at the time of the scrape."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterable[Metric]:
        return families(self._take())

    def describe(self) -> Iterable[Metric]:
        return families({"samples": {}, "histograms": {}})


def render(snapshot: Snapshot, *, pid: int | None = None) -> bytes:
    """Prometheus text (format 0.0.4). With `pid`, that process's `process_…` metrics come along."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: snapshot))
    if pid is not None:
        ProcessCollector(pid=lambda: pid, registry=registry)
    return generate_latest(registry)


# RFC 3261, 3262, 3265/6665, 3311, 3428, 3515, 3903, 6086.
_METHODS = frozenset(
    {
        *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK"),
        *("SUBSCRIBE", "NOTIFY", "UPDATE", "MESSAGE", "REFER", "PUBLISH", "INFO"),
    }
)
_STATUS = re.compile(r"[1-6](?:[0-9]{2}|xx)")
_CAUSE = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def message_kind(kind: str) -> str:
    """`kind` when it is a known method, a status code or a class (`2xx`); `other` for anything made up."""
    return kind if kind in _METHODS or _STATUS.fullmatch(kind) else "other"


def malformed_cause(cause: str) -> str:
    """`cause` when it looks like one of ours; `other` for anything else."""
    return cause if _CAUSE.fullmatch(cause) else "other"
