from __future__ import annotations

import timeit
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.metrics import Metrics


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


class Counts:
    def __init__(self) -> None:
        self._messages: dict[tuple[str, str, str], int] = {}
        self._malformed: dict[str, int] = {}
        self._retransmissions: dict[str, int] = {}

    @property
    def messages(self) -> Mapping[tuple[str, str, str], int]:
        return self._messages

    @property
    def malformed(self) -> Mapping[str, int]:
        return self._malformed

    @property
    def retransmissions(self) -> Mapping[str, int]:
        return self._retransmissions


DECISIONS = "trunkwarden_admission_decisions_total"


def test_decisions() -> None:
    metrics = Metrics()
    metrics.decision("office", "admitted", None)
    metrics.decision("office", "refused", "SPEND")
    metrics.decision("office", "refused", "SPEND")
    metrics.decision(None, "refused", "SOURCE")
    assert _value(metrics, DECISIONS, trunk="office", decision="admitted", reason="") == 1
    assert _value(metrics, DECISIONS, trunk="office", decision="refused", reason="SPEND") == 2
    assert _value(metrics, DECISIONS, trunk="", decision="refused", reason="SOURCE") == 1


def test_the_sip_stacks_counters_are_read_when_asked_and_added_up() -> None:
    metrics, one, two = Metrics(), Counts(), Counts()
    metrics.attach(one)
    metrics.attach(two)
    one._messages["in", "udp", "INVITE"] = 3
    two._messages["in", "udp", "INVITE"] = 4
    one._messages["in", "udp", "MADE-UP"] = 1
    two._messages["in", "udp", "UP-MADE"] = 1
    two._malformed["no_via"] = 5
    one._retransmissions["out"] = 6
    name = "trunkwarden_sip_messages_total"
    assert _value(metrics, name, direction="in", transport="udp", kind="INVITE") == 7
    assert _value(metrics, name, direction="in", transport="udp", kind="other") == 2
    assert _value(metrics, "trunkwarden_sip_malformed_total", cause="no_via") == 5
    assert _value(metrics, "trunkwarden_sip_retransmissions_total", direction="out") == 6
    one._messages["in", "udp", "INVITE"] += 1
    assert _value(metrics, name, direction="in", transport="udp", kind="INVITE") == 8


class Streams:
    transport = "tcp"

    def __init__(self, connections: int, refused: int, **closed: int) -> None:
        self.connections, self.refused, self.closed = connections, refused, closed

    def __len__(self) -> int:
        return self.connections


def test_connections_are_read_when_asked_and_added_up_by_transport() -> None:
    metrics, one, two, tls = Metrics(), Streams(3, 1, peer=5), Streams(4, 2, peer=6), Streams(1, 0)
    tls.transport = "tls"
    for listener in (one, two, tls):
        metrics.attach_stream(listener, ("peer", "idle"))
    assert _value(metrics, "trunkwarden_connections_open", transport="tcp") == 7
    assert _value(metrics, "trunkwarden_connections_open", transport="tls") == 1
    assert _value(metrics, "trunkwarden_connections_refused_total", transport="tcp") == 3
    closed = "trunkwarden_connections_closed_total"
    assert _value(metrics, closed, transport="tcp", cause="peer") == 11
    assert _value(metrics, closed, transport="tcp", cause="idle") == 0
    one.closed["idle"] = 1
    assert _value(metrics, closed, transport="tcp", cause="idle") == 1


def test_a_reload_replaces_gauges_and_keeps_counters() -> None:
    metrics = Metrics()
    metrics.policy_loaded("v1", {"a": 1_500_000, "b": None}, ["one", "two"])
    metrics.provider_up["one"] = False
    metrics.usage("a", 250_000, 1)
    metrics.call_started("a")
    metrics.call_started("b")
    metrics.decision("a", "admitted", None)
    assert _value(metrics, "trunkwarden_threshold_amount", trunk="a") == 1.5
    assert _value(metrics, "trunkwarden_threshold_amount", trunk="b") is None
    assert _value(metrics, "trunkwarden_spend_amount", trunk="a") == 0.25
    assert _value(metrics, "trunkwarden_spend_reserved_amount", trunk="a") == 0.000001
    assert _value(metrics, "trunkwarden_policy_info", version="v1") == 1
    assert _value(metrics, "trunkwarden_policy_store_version") is None

    metrics.policy_loaded("v2", {"b": 7_000_000, "c": None}, ["one", "three"], 12)
    assert _value(metrics, "trunkwarden_policy_store_version") == 12
    assert _value(metrics, "trunkwarden_policy_info", version="v1") is None
    assert _value(metrics, "trunkwarden_policy_info", version="v2") == 1
    assert _value(metrics, "trunkwarden_threshold_amount", trunk="a") is None
    assert _value(metrics, "trunkwarden_spend_amount", trunk="a") is None
    assert _value(metrics, "trunkwarden_threshold_amount", trunk="b") == 7
    assert _value(metrics, "trunkwarden_provider_up", provider="one") == 0
    assert _value(metrics, "trunkwarden_provider_up", provider="two") is None
    assert _value(metrics, "trunkwarden_provider_up", provider="three") == 1
    assert _value(metrics, DECISIONS, trunk="a", decision="admitted", reason="") == 1
    assert _value(metrics, "trunkwarden_calls_active", trunk="a") == 1
    assert _value(metrics, "trunkwarden_calls_active", trunk="c") == 0
    metrics.call_ended("a")
    assert _value(metrics, "trunkwarden_calls_active", trunk="a") is None
    metrics.usage("a", 1, 1)
    assert _value(metrics, "trunkwarden_spend_amount", trunk="a") is None


def test_the_rest() -> None:
    metrics = Metrics()
    metrics.ledger_error("timeout")
    metrics.ledger_seconds("reserve", 0.2)
    metrics.ledger_drift = -2
    metrics.event_loop_lag = 0.25
    metrics.policy_reloaded(success=False)
    assert _value(metrics, "trunkwarden_ledger_errors_total", kind="timeout") == 1
    assert _value(metrics, "trunkwarden_ledger_errors_total", kind="readonly") == 0
    assert _value(metrics, "trunkwarden_ledger_seconds_count", verb="reserve") == 1
    assert _value(metrics, "trunkwarden_ledger_drift") == -2
    assert _value(metrics, "trunkwarden_event_loop_lag_seconds") == 0.25
    assert _value(metrics, "trunkwarden_policy_reloads_total", result="failure") == 1
    assert _value(metrics, "trunkwarden_policy_reloads_total", result="success") == 0


def test_the_way_of_a_call_pays_little() -> None:
    metrics = Metrics()
    rounds = 20_000

    def call() -> None:
        metrics.decision("office", "admitted", None)
        metrics.admission_seconds.observe(0.0004)

    best = min(timeit.repeat(call, number=rounds, repeat=5)) / rounds
    assert best < 5e-6  # 0.4 µs here; ten times that would be a mistake, not a slow machine
