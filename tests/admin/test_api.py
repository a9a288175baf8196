from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.admin import api
from proxy.ledger.ledger import LiveCall, ScopeUsage
from tests.admin.stage import Stage

WINDOW = 1_740_830_400_000


def _call(ref: str, trunk: str, record: bytes = b"{}", answered: int | None = None) -> LiveCall:
    return LiveCall(ref, trunk, "instance-1", WINDOW, answered, 1_500_000, 60_000, record)


async def test_healthz(stage: Stage) -> None:
    answer = await stage.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready(stage: Stage) -> None:
    answer = await stage.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "parts": {"sockets": True, "ledger": True, "policy": True},
        "failing": [],
        "detail": {},
    }


@pytest.mark.parametrize("part", ["sockets", "ledger", "policy", "accepting"])
async def test_not_ready_names_the_part(stage: Stage, part: str) -> None:
    stage.target.parts = {**stage.target.parts, part: False}
    stage.target.detail = {part: "because"}
    answer = await stage.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"] == [part]
    assert answer.json()["detail"] == {part: "because"}


async def test_a_stuck_sip_process_is_not_ready(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.05)
    stage.target.gate = asyncio.Event()
    answer = await stage.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["sip"]
    assert (await stage.http.get("/healthz")).status_code == 200


async def test_asking_for_health_keeps_nobody_busy(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.http.get("/readyz") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert stage.target.heartbeats <= 5


async def test_metrics(stage: Stage) -> None:
    stage.target.numbers.decision("office", "refused", "SPEND")
    answer = await stage.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    line = 'trunkwarden_admission_decisions_total{decision="refused",reason="SPEND",trunk="office"} 1.0'
    assert line in answer.text


@pytest.mark.parametrize(
    ("spent", "reserved", "reached"),
    [(0, 0, False), (99_000_000, 999_999, False), (99_000_000, 1_000_000, True), (100_000_001, 0, True)],
)
async def test_usage(stage: Stage, spent: int, reserved: int, reached: bool) -> None:
    stage.ledger.used["trunk:office"] = ScopeUsage(2, spent, reserved, WINDOW)
    answer = await stage.http.get("/v1/trunks/office/usage")
    assert answer.status_code == 200
    assert answer.json() == {
        "active_calls": 2,
        "capacity_limit": 3,
        "spent_amount": f"{spent // 10**6}.{spent % 10**6:06d}".rstrip("0").ljust(
            len(str(spent // 10**6)) + 3, "0"
        ),
        "reserved_amount": {0: "0.00", 999_999: "0.999999", 1_000_000: "1.00"}[reserved],
        "threshold_amount": "100.00",
        "threshold_reached": reached,
        "window_starts_at": "2025-03-01T12:00:00.000Z",
    }


async def test_usage_without_limits(stage: Stage) -> None:
    stage.ledger.used["trunk:open"] = ScopeUsage(9, 5, 5, WINDOW)
    body = (await stage.http.get("/v1/trunks/open/usage")).json()
    assert body["capacity_limit"] is None
    assert body["threshold_amount"] is None
    assert body["threshold_reached"] is False


async def test_usage_of_all(stage: Stage) -> None:
    body = (await stage.http.get("/v1/trunks")).json()
    assert [trunk["name"] for trunk in body["trunks"]] == ["office", "open"]
    stage.target.scopes = {}
    (first, _) = (await stage.http.get("/v1/trunks")).json()["trunks"]
    assert (first["active_calls"], first["spent_amount"], first["threshold_reached"]) == (0, "0.00", False)


async def test_calls(stage: Stage) -> None:
    record = {"called": "+442079460000", "ref": "forged", "owner": "x"}
    stage.ledger.live = [
        _call("r1", "office", json.dumps(record).encode(), WINDOW + 1),
        _call("r2", "open", b"\xff"),
    ]
    body = (await stage.http.get("/v1/calls")).json()
    assert body["calls"][0] == {
        "called": "+442079460000",
        "owner": "x",
        "ref": "r1",
        "trunk": "office",
        "instance": "instance-1",
        "reserved_at": "2025-03-01T12:00:00.000Z",
        "answered_at": "2025-03-01T12:00:00.001Z",
        "spent_amount": "1.50",
        "reserved_amount": "0.06",
    }
    assert body["calls"][1]["answered_at"] is None
    assert len((await stage.http.get("/v1/calls?limit=1")).json()["calls"]) == 1


async def test_hang_up_one(stage: Stage) -> None:
    stage.ledger.live = [_call("r1", "office"), _call("r2", "office")]
    answer = await stage.http.delete("/v1/calls/r2")
    assert (answer.status_code, answer.json()) == (202, {"calls": 1, "unanswered": 0})
    assert stage.ledger.hung_up == [("r2", None)]


async def test_hang_up_a_trunk(stage: Stage) -> None:
    stage.ledger.live = [_call("r1", "office"), _call("r2", "office"), _call("r3", "open")]
    answer = await stage.http.delete("/v1/calls", params={"trunk": "office"})
    assert (answer.status_code, answer.json()) == (202, {"calls": 2, "unanswered": 0})
    assert stage.ledger.hung_up == [(None, "office")]


async def test_a_panic_that_not_all_hear_says_so(stage: Stage) -> None:
    stage.ledger.live = [_call("r1", "office")]
    stage.ledger.instances = 3
    answer = await stage.http.delete("/v1/calls?trunk=office")
    assert (answer.status_code, answer.json()) == (202, {"calls": 1, "unanswered": 2})
    assert (await stage.http.delete("/v1/calls/r2")).status_code == 503
    stage.ledger.instances = 0
    assert (await stage.http.delete("/v1/calls?trunk=office")).status_code == 503


@pytest.mark.parametrize(
    "path",
    ["calls", "decisions", "trunks/office/usage", "policy", "trunks", "tokens", "audit", "callback_secret"],
)
async def test_a_parameter_that_is_not_known_is_a_mistake(stage: Stage, path: str) -> None:
    answer = await stage.http.get(f"/v1/{path}", params={"trnk": "office"})
    assert answer.status_code == 422, answer.text
    assert "no such query parameter: trnk" in answer.json()["detail"]
    assert "no such query parameter" not in (await stage.http.get(f"/v1/{path}")).text


@pytest.mark.parametrize(
    "query", ["", "?trunk=", "?trnk=office", "?trunk=office&trunk=open", "?trunk=office&x=1"]
)
async def test_a_mistaken_panic_ends_nothing(stage: Stage, query: str) -> None:
    stage.ledger.live = [_call("r1", "office")]
    answer = await stage.http.delete(f"/v1/calls{query}")
    assert answer.status_code == 422
    assert stage.ledger.hung_up == []


async def test_one_call_of_a_trunk_is_not_all_of_it(stage: Stage) -> None:
    answer = await stage.http.delete("/v1/calls/r1?trunk=office")
    assert answer.status_code == 422
    assert stage.ledger.hung_up == []


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/v1/trunks/nobody/usage", "no such trunk: nobody"),
        ("DELETE", "/v1/calls?trunk=nobody", "no such trunk: nobody"),
        ("DELETE", "/v1/calls/none", "no such call: none"),
        ("GET", "/v1/nothing", "Not Found"),
        ("GET", "/v1/calls/", "Not Found"),
    ],
)
async def test_unknown_things(stage: Stage, method: str, path: str, detail: str) -> None:
    answer = await stage.http.request(method, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": detail}


async def test_a_wrong_method_is_a_problem_too(stage: Stage) -> None:
    answer = await stage.http.post("/v1/policy")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["status"] == 405


async def test_decisions(stage: Stage) -> None:
    stage.ledger.lines = [b'{"n": %d}' % number for number in range(5)]
    stage.ledger.lines[1] = b"torn {"
    body = (await stage.http.get("/v1/decisions?limit=3")).json()
    assert body == {"decisions": [{"n": 0}, {"n": 2}]}


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1.5"])
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/calls"])
async def test_a_limit_is_from_1_to_1000(stage: Stage, path: str, limit: str) -> None:
    answer = await stage.http.get(path, params={"limit": limit})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "query.limit" in answer.json()["detail"]


async def test_explain(stage: Stage) -> None:
    asked = {"source": "192.0.2.10", "to": "+442079460000", "from": "sip:a@b", "user": "road", "live": True}
    answer = await stage.http.post("/v1/explain", json=asked)
    assert answer.status_code == 200
    assert answer.json() == {"decision": "refused", "reason": "COUNTRY"}
    assert stage.target.explained == [asked]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"source": "192.0.2.10"},
        {"source": "192.0.2.10", "to": 5},
        {"source": "192.0.2.10", "to": "1", "form": "typo"},
        {"source": "192.0.2.10", "to": "1" * 3000},
        [],
        None,
    ],
)
async def test_explain_refuses_what_it_cannot_read(stage: Stage, body: Any) -> None:
    answer = await stage.http.post("/v1/explain", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert stage.target.explained == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_is_not_said_to_be_json_is_415(stage: Stage, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await stage.http.post(
        "/v1/explain", content=b'{"source": "192.0.2.1", "to": "1"}', headers=headers
    )
    assert (answer.status_code, answer.json()["detail"]) == (415, "the body must be application/json")
    assert stage.target.explained == []


async def test_explain_of_nonsense(stage: Stage) -> None:
    stage.target.failure = ValueError("`x` is no address")
    answer = await stage.http.post("/v1/explain", json={"source": "x", "to": "1"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "`x` is no address")


async def test_a_defect_tells_nothing(stage: Stage) -> None:
    stage.target.failure = KeyError("secret")
    answer = await stage.http.post("/v1/explain", json={"source": "x", "to": "1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_reload(stage: Stage) -> None:
    answer = await stage.http.post("/v1/reload")
    assert (answer.status_code, answer.json()) == (200, {"version": "v2"})


async def test_a_bad_file_is_told_and_the_old_policy_stays(stage: Stage) -> None:
    stage.target.problems = ["a.yaml:3: trunks.0: unknown key `nmae`, did you mean `name`?"]
    answer = await stage.http.post("/v1/reload")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"] == stage.target.problems
    assert answer.json()["version"] == "v1"
    policy = (await stage.http.get("/v1/policy")).json()
    assert policy == {
        "version": "v1",
        "loaded_at": "2025-03-01T12:00:00.000Z",
        "problems": stage.target.problems,
        "store_version": None,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/trunks"),
        ("GET", "/v1/trunks/office/usage"),
        ("GET", "/v1/calls"),
        ("GET", "/v1/decisions"),
        ("DELETE", "/v1/calls/r1"),
        ("DELETE", "/v1/calls?trunk=office"),
    ],
)
async def test_a_ledger_that_is_away_is_503(stage: Stage, method: str, path: str) -> None:
    stage.ledger.unavailable = True
    answer = await stage.http.request(method, path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


async def test_the_page(stage: Stage) -> None:
    answer = await stage.http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_the_schema_names_every_route_of_the_contract(stage: Stage) -> None:
    schema = (await stage.http.get("/openapi.json")).json()
    for method, path in [
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/v1/trunks/{name}/usage"),
        ("get", "/v1/calls"),
        ("delete", "/v1/calls/{ref}"),
        ("delete", "/v1/calls"),
        ("get", "/v1/decisions"),
        ("post", "/v1/explain"),
        ("post", "/v1/reload"),
        ("get", "/v1/policy"),
    ]:
        assert method in schema["paths"][path]
    assert schema["info"]["version"] == "1.2.3"
