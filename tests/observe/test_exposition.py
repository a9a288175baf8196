from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe import exposition
from proxy.observe.exposition import NAMES, malformed_cause, message_kind, render
from proxy.observe.histogram import SECONDS
from proxy.observe.metrics import Metrics


def _families(text: bytes) -> set[str]:
    names = set()
    for family in text_string_to_metric_families(text.decode()):
        names.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return names


def test_every_name_is_exported_even_when_nothing_happened() -> None:
    assert _families(Metrics().render()) >= NAMES


def test_a_snapshot_survives_json() -> None:
    metrics = Metrics()
    metrics.policy_loaded("v1", {"office": 100_500_000}, ["carrier"])
    metrics.decision("office", "refused", "SPEND")
    metrics.admission_seconds.observe(0.0002)
    assert render(json.loads(json.dumps(metrics.snapshot()))) == metrics.render()


def test_buckets_are_cumulated() -> None:
    metrics = Metrics()
    for value in (0.00005, 0.0002, 0.0002, 99.0):
        metrics.admission_seconds.observe(value)
    lines = metrics.render().decode().splitlines()
    prefix = "trunkwarden_admission_seconds"
    buckets = [line.split() for line in lines if line.startswith(f"{prefix}_bucket")]
    assert [name for name, _ in buckets] == [
        f'{prefix}_bucket{{le="{bound}"}}' for bound in [*map(repr, SECONDS), "+Inf"]
    ]
    assert [float(value) for _, value in buckets] == [1.0] + [3.0] * 13 + [4.0]
    assert f"{prefix}_count 4.0" in lines
    assert any(line.startswith(f"{prefix}_sum 99.0004") for line in lines)


def test_the_process_comes_along() -> None:
    text = render(Metrics().snapshot(), pid=os.getpid()).decode()
    assert "process_cpu_seconds_total" in text
    assert "process_resident_memory_bytes" in text


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.decision('a"b\\c\nd', "refused", "SPEND")
    assert r'trunk="a\"b\\c\nd"' in metrics.render().decode()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say() -> None:
    metrics = Metrics()
    metrics.policy_loaded("v1", {"office": 5}, ["carrier"])
    metrics.usage("office", 1, 2)
    metrics.ledger_seconds("reserve", 0.001)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("INVITE", "INVITE"),
        ("200", "200"),
        ("2xx", "2xx"),
        ("700", "other"),
        ("EVIL", "other"),
        ("", "other"),
    ],
)
def test_message_kinds_are_a_closed_set(kind: str, label: str) -> None:
    assert message_kind(kind) == label


@pytest.mark.parametrize(("cause", "label"), [("bad_via", "bad_via"), ("x" * 41, "other"), ("A b", "other")])
def test_malformed_causes_look_like_ours(cause: str, label: str) -> None:
    assert malformed_cause(cause) == label


def test_the_tables_do_not_overlap() -> None:
    assert len(NAMES) == len(exposition.COUNTERS) + len(exposition.GAUGES) + len(exposition.HISTOGRAMS)
