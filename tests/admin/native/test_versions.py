from __future__ import annotations

from tests.admin.house import ROOT, House


async def test_history_difference_and_the_way_back(house: House) -> None:
    async with house.client(ROOT) as root:
        assert (await root.get("/v1/policy/versions")).json() == {"versions": [], "next_cursor": None}
        acme = await house.put("accounts", name="acme")
        await root.patch("/v1/accounts/acme", json={"capacity_limit": 5})
        await root.delete("/v1/accounts/acme")
        page = (await root.get("/v1/policy/versions?limit=2")).json()
        assert [one["number"] for one in page["versions"]] == [3, 2]
        newest = page["versions"][0]
        assert (newest["author"], newest["comment"]) == ("admin.token", "DELETE /v1/accounts/acme")
        assert newest["changes"][0]["change"] == "deleted"
        rest = (await root.get(f"/v1/policy/versions?cursor={page['next_cursor']}")).json()
        assert ([one["number"] for one in rest["versions"]], rest["next_cursor"]) == ([1], None)

        second = await root.get("/v1/policy/versions/2")
        assert second.json()["objects"]["accounts"][0]["capacity_limit"] == 5
        changes = (await root.get("/v1/policy/diff?from=1&to=2")).json()["changes"]
        assert [(one["name"], one["change"], one["fields"]) for one in changes] == [
            ("acme", "updated", {"capacity_limit": [None, 5]})
        ]
        assert (await root.get("/v1/policy/diff?from=2")).json()["changes"][0]["change"] == "deleted"

        stale = {"If-Match": second.headers["etag"]}
        assert (await root.post("/v1/policy/rollback", json={"version": 2}, headers=stale)).status_code == 412
        current = {"If-Match": f'"{newest["etag"]}"'}
        answer = await root.post(
            "/v1/policy/rollback", json={"version": 2, "comment": "too early"}, headers=current
        )
        assert (answer.status_code, answer.json()["number"], answer.json()["comment"]) == (
            200,
            4,
            "too early",
        )
        back = (await root.get("/v1/accounts/acme")).json()
        assert (back["id"], back["capacity_limit"]) == (acme["id"], 5)


async def test_what_is_not_kept(house: House) -> None:
    async with house.client(ROOT) as root:
        await house.put("accounts", name="acme")
        assert (await root.get("/v1/policy/versions/7")).status_code == 404
        assert (await root.get("/v1/policy/diff?from=1&to=7")).status_code == 404
        assert (await root.post("/v1/policy/rollback", json={"version": 7})).status_code == 404
        for path in (
            "versions/0",
            "versions/x",
            "versions?cursor=0",
            "diff",
            "diff?from=x",
            "diff?from=1&a=b",
        ):
            assert (await root.get(f"/v1/policy/{path}")).status_code == 422, path


async def test_versions_are_of_all_accounts(house: House) -> None:
    await house.put("accounts", name="acme")
    async with await house.tenant("acme", "write") as acme:
        for path in ("versions", "versions/1", "diff?from=1"):
            assert (await acme.get(f"/v1/policy/{path}")).status_code == 403
        assert (await acme.post("/v1/policy/rollback", json={"version": 1})).status_code == 403
