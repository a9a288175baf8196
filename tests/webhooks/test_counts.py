"""What is counted has the names and labels of the program's metrics."""

from __future__ import annotations

from proxy.observe.exposition import COUNTERS, GAUGES, render
from proxy.webhooks.counts import Counts


def test_samples_are_of_known_metrics() -> None:
    counts = Counts()
    counts.deliveries["delivered"] += 2
    counts.waiting = 5
    samples = counts.samples()
    for name, rows in samples.items():
        labels, _ = {**COUNTERS, **GAUGES}[name]
        assert all(len(values) == len(labels) for values, _ in rows)
    text = render({"samples": samples, "histograms": {}}).decode()
    assert 'trunkwarden_webhook_deliveries_total{result="delivered"} 2.0' in text
    assert 'trunkwarden_webhook_events_total{type="policy.changed"} 0.0' in text
    assert "trunkwarden_webhook_waiting 5.0" in text
