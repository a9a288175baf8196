"""What is deployed, as far as it can be checked without a container engine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.configuration import load_policy
from proxy.observe.exposition import COUNTERS, GAUGES, HISTOGRAMS
from tests.admin.stage import Target, until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules" / "trunkwarden.yml"
RULE_TESTS = DEPLOY / "prometheus" / "tests" / "trunkwarden.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "trunkwarden.json"
METRICS = {**COUNTERS, **GAUGES, **HISTOGRAMS}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


COMPOSE: dict[str, Any] = _yaml(ROOT / "compose.yaml")


def _alerts() -> list[dict[str, Any]]:
    return [rule for group in _yaml(RULES)["groups"] for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _alerts():
        yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in _panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["name"], variable["query"]["query"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


# Prometheus.


@needs_promtool
def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    subprocess.run(
        ["promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"], check=True, timeout=100
    )


@needs_promtool
def test_the_rules_fire_when_they_should_and_only_then() -> None:
    subprocess.run(["promtool", "test", "rules", RULE_TESTS], check=True, timeout=100)


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    fired = {
        case["alertname"]
        for test in _yaml(RULE_TESTS)["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in _alerts()}


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in _alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]


def _family(name: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and name.removesuffix(suffix) in HISTOGRAMS:
            return name.removesuffix(suffix)
    return name


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_only_metrics_and_labels_that_are_exported_are_asked_for(where: str, expression: str) -> None:
    names = set(re.findall(r"\b(trunkwarden_\w+)", expression))
    for name in names:
        assert _family(name) in METRICS, where
        assert name not in HISTOGRAMS, f"{where}: {name} is a histogram and has no series of that name"
    known = {label for name in names for label in METRICS[_family(name)][0]} | {"instance", "job", "le"}
    for matchers in re.findall(r"\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known, where
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known, where


def test_every_metric_is_looked_at_by_somebody() -> None:
    used = {
        _family(name)
        for _, expression in _expressions()
        for name in re.findall(r"trunkwarden_\w+", expression)
    }
    assert used == set(METRICS)


@pytest.mark.parametrize("metric", ["calls_active", "admission_decisions_total", "sip_messages_total"])
def test_money_is_never_summed_and_calls_never_maximised(metric: str) -> None:
    for where, expression in _expressions():
        assert not re.search(r"sum[^()]*\(\s*trunkwarden_(spend|threshold)", expression), where
        assert not re.search(rf"max[^()]*\(\s*trunkwarden_{metric}", expression), where


def _begin_prometheus(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
            stderr=log,
        )
    return server, port


async def _start_prometheus(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Until it serves: somebody else may have taken the port before it does."""
    while True:
        server, port = _begin_prometheus(folder)
        while server.poll() is None:
            if await _serves(port):
                return server, port
            await asyncio.sleep(0.05)
        said = (folder / "log").read_text()
        assert "address already in use" in said, said


async def _serves(port: int) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/-/ready")).status_code == 200
        except httpx.TransportError:
            return False


@needs_prometheus
async def test_a_real_prometheus_scrapes_and_evaluates(tmp_path: Path) -> None:
    target = Target()
    target.numbers.policy_loaded("v1", {"office": 100_000_000}, ["carrier-a"])
    target.numbers.usage("office", 80_000_000, 5_000_000)
    target.numbers.decision("office", "admitted", None)
    admin = AdminProcess(AdminSettings("127.0.0.1", 0, None, "unix:///nowhere", tmp_path), target)
    url = admin.bind()
    await admin.start(60)
    configuration = _yaml(DEPLOY / "prometheus" / "prometheus.yml")
    configuration["global"] = {
        "scrape_interval": "400ms",
        "evaluation_interval": "200ms",
        "scrape_timeout": "400ms",
    }
    configuration["rule_files"] = [str(RULES)]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    server, port = await _start_prometheus(tmp_path)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def query(expression: str) -> dict[str, str]:
                try:
                    answer = await http.get("/api/v1/query", params={"query": expression})
                except httpx.TransportError:
                    return {}
                if answer.status_code != 200:
                    return {}
                return {
                    result["metric"].get("trunk", ""): result["value"][1]
                    for result in answer.json()["data"]["result"]
                }

            near = next(
                rule["expr"] for rule in _alerts() if rule["alert"] == "TrunkwardenSpendNearThreshold"
            )

            # Of all three at once: a scrape for which there was no time leaves none of them.
            async def scraped() -> bool:
                return (
                    await query("trunkwarden_spend_amount") == {"office": "80"}
                    and await query('up{job="trunkwarden"}') == {"": "1"}
                    and await query(near) == {"office": "0.85"}
                )

            async def evaluated() -> bool:
                groups = (await http.get("/api/v1/rules")).json()["data"]["groups"]
                rules = [rule for group in groups for rule in group["rules"]]
                assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
                return bool(rules) and all(rule["health"] == "ok" for rule in rules)

            await until(scraped, 40)
            await until(evaluated, 40)
            # A SIP process that does not answer is a failed scrape, which is what the alert looks at.
            await admin.stop()

            async def down() -> bool:
                return await query('up{job="trunkwarden"}') == {"": "0"}

            await until(down, 30)
    finally:
        server.terminate()
        server.wait(60)
        await admin.stop()


# Grafana.


def test_the_dashboard_is_whole() -> None:
    panels = _panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    (source,) = _yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}, panel["title"]
            assert panel["targets"], panel["title"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_finds_the_dashboard_where_compose_mounts_it() -> None:
    (provider,) = _yaml(DEPLOY / "grafana/provisioning/dashboards/trunkwarden.yml")["providers"]
    mounts = dict(_mounts("grafana"))
    folder = next(source for source, at in mounts.items() if at == provider["options"]["path"])
    assert (ROOT / folder / DASHBOARD.name).is_file()
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"
    (source,) = _yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


# Compose.


def _mounts(service: str) -> Iterator[tuple[str, str]]:
    for volume in COMPOSE["services"][service].get("volumes", ()):
        source, at = volume.split(":")[:2]
        yield source, at


def test_every_file_that_compose_mounts_exists_and_every_name_is_declared() -> None:
    for name, service in COMPOSE["services"].items():
        for source, _ in _mounts(name):
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                assert source in COMPOSE["volumes"], source
        for network in service.get("networks", ()):
            assert network == "default" or network in COMPOSE["networks"], network
        for secret in service.get("secrets", ()):
            assert secret in COMPOSE["secrets"], secret
        for other in service.get("depends_on", ()):
            assert other in COMPOSE["services"], other
        assert ":latest" not in service["image"]
        assert ":" in service["image"]


def test_the_ledger_forgets_nothing_and_is_out_of_reach() -> None:
    valkey = COMPOSE["services"]["valkey"]
    command = valkey["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"
    assert any(at == "/data" for _, at in _mounts("valkey"))
    assert "ports" not in valkey
    assert valkey["networks"] == ["ledger"]
    assert COMPOSE["networks"]["ledger"]["internal"] is True


def test_only_sip_is_open_to_the_world() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:") or (name, port) == ("proxy", "5060:5060/udp")


def test_no_secret_stands_in_a_file() -> None:
    for path in [ROOT / "compose.yaml", ROOT / "Dockerfile", *DEPLOY.rglob("*.y*ml")]:
        for line in path.read_text().splitlines():
            if re.search(r"(?i)(password|token|secret)\s*[:=]\s*\S", line):
                assert re.search(
                    r"\$\{|/run/secrets/|environment:|\$\(|GRAFANA_ADMIN_PASSWORD=\.\.\.", line
                ), line


def test_the_policy_that_is_mounted_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKWARDEN_ADVERTISE", "203.0.113.5:5060")
    for name in ("trunkwarden.yaml", "retail.csv"):
        shutil.copy(DEPLOY / name, tmp_path / name)
        assert f"/etc/trunkwarden/{name}" in dict(_mounts("proxy")).values()
    policy = tmp_path / "trunkwarden.yaml"
    token = tmp_path / "admin_token"
    token.write_text("a-token-for-this-test-alone")
    policy.write_text(policy.read_text().replace("/run/secrets/admin_token", str(token)))
    loaded = load_policy(policy)
    assert [str(problem) for problem in loaded.problems] == []
    assert list(loaded.warnings) == []
    config = loaded.config
    assert config is not None
    assert config.ledger.url == "redis://valkey:6379/0"
    assert "valkey" in COMPOSE["services"]
    (job,) = _yaml(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"proxy:{config.admin.port}"]}]
    assert config.records.file is not None
    assert str(config.records.file).startswith("/var/lib/trunkwarden/")


# The image.


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = [number for number, (word, _) in enumerate(_instructions()) if word == "FROM"][-1]
    final = _instructions()[last:]
    assert ("USER", "10001:10001") in final
    assert not [rest for word, rest in final[final.index(("USER", "10001:10001")) :] if word == "RUN"]
    (environment,) = [rest for word, rest in final if word == "ENV"]
    assert "PYTHONSAFEPATH=1" in environment
    assert ("VOLUME", "/var/lib/trunkwarden") in final
    assert ("CMD", '["trunkwarden", "serve", "-c", "/etc/trunkwarden/trunkwarden.yaml"]') in final
    assert not [rest for word, rest in final if word == "COPY" and "--from=build" not in rest]


def test_what_the_image_is_made_of_exists_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    sources = [
        source
        for word, rest in _instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(sources)


@pytest.fixture
async def healthy() -> AsyncIterator[tuple[Target, str]]:
    target = Target()
    admin = AdminProcess(AdminSettings("127.0.0.1", 0, None, "unix:///nowhere", Path(".")), target)
    url = admin.bind()
    await admin.start(60)
    yield target, url
    await admin.stop()


async def test_the_health_check_tells_the_truth(healthy: tuple[Target, str]) -> None:
    target, url = healthy
    (check,) = [rest for word, rest in _instructions() if word == "HEALTHCHECK"]
    command = json.loads(check[check.index("[") :])
    assert command[:2] == ["python", "-c"]
    assert "8080" in command[2]
    script = command[2].replace("8080", url.rpartition(":")[2])

    async def code() -> int:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "http_proxy": "x"},
        )
        return await child.wait()

    async def well() -> bool:
        return await code() == 0

    await until(well, 40)
    target.parts["ledger"] = False

    async def unhealthy() -> bool:
        return await code() == 1

    await until(unhealthy, 40)
