from __future__ import annotations

from config.policy_source import KINDS
from tests.admin.stage import Stage


async def test_every_kind_has_its_routes(stage: Stage) -> None:
    paths = stage.app.openapi()["paths"]
    for kind in KINDS:
        assert set(paths[f"/v1/{kind}"]) == {"get", "post"}
        assert set(paths[f"/v1/{kind}/{{key}}"]) == {"get", "put", "patch", "delete"}
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names))
