"""Whatever a client sends, it gets an answer of the facade's own shape, and never an error of the program."""

from __future__ import annotations

from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.admin.facades.didww.fields import VERSIONS, TrunkAttributes
from proxy.admin.facades.mounting import DIDWW, TELNYX
from proxy.admin.facades.telnyx.fields import ProfileFields
from tests.admin.facades.stage import PROFILE, TRUNK, ask

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**20),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from(
        [
            "active",
            "192.0.2.1",
            "0.0.0.0/0",
            "::/0",
            "44",
            "+1",
            "100.0",
            "08:00",
            "US",
            "ip_only",
            "zrtp",
            "all",
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "attributes", "data", "id", "start_time", "end_time", "allowed_sip_ips"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def _said(model: type[TrunkAttributes] | type[ProfileFields]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.one_of(st.sampled_from(sorted(model.model_fields)), st.text(st.characters(), max_size=4))
    return st.dictionaries(names, VALUES, max_size=4)


TRUNKS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {
            "data": st.one_of(
                VALUES,
                st.fixed_dictionaries(
                    {
                        "type": st.sampled_from(["voice_out_trunks", "dids", ""]),
                        "attributes": st.one_of(VALUES, _said(TrunkAttributes)),
                    },
                    optional={"id": st.sampled_from([TRUNK, "1"]), "relationships": VALUES},
                ),
            )
        }
    ),
)


def _is_answered(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 201, 400, 404, 422), answer.text
    body = answer.json()
    assert ("data" in body) == answer.is_success
    if answer.is_error:
        for entry in body["errors"]:
            assert {"code", "title", "detail"} <= entry.keys()


@settings(max_examples=150, deadline=None)
@given(body=TRUNKS, version=st.sampled_from(sorted(VERSIONS)), change=st.booleans())
async def test_trunks(body: Any, version: str, change: bool) -> None:
    method, path = ("PATCH", f"/voice_out_trunks/{TRUNK}") if change else ("POST", "/voice_out_trunks")
    headers = {"content-type": "application/vnd.api+json", "x-didww-api-version": version}
    _is_answered(await ask(method, DIDWW + path, body, **headers))


@settings(max_examples=50, deadline=None)
@given(body=TRUNKS)
async def test_rotations(body: Any) -> None:
    headers = {"content-type": "application/vnd.api+json"}
    _is_answered(await ask("POST", f"{DIDWW}/voice_out_trunk_regenerate_credentials", body, **headers))


@settings(max_examples=150, deadline=None)
@given(body=st.one_of(VALUES, _said(ProfileFields)), change=st.booleans())
async def test_profiles(body: Any, change: bool) -> None:
    method, path = ("PATCH", f"/{PROFILE}") if change else ("POST", "")
    headers = {"content-type": "application/json"}
    _is_answered(await ask(method, f"{TELNYX}/outbound_voice_profiles{path}", body, **headers))


QUERY = st.lists(
    st.tuples(
        st.sampled_from(
            ["page[number]", "page[size]", "sort", "include", "filter[name]", "filter[threshold_reached]",
             "fields[voice_out_trunks]", "filter[name][contains]", "filter[", "x"]
        ),
        st.text(max_size=6),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(query=QUERY, path=st.sampled_from([f"{DIDWW}/voice_out_trunks", f"{TELNYX}/outbound_voice_profiles"]))
async def test_lists(query: list[tuple[str, str]], path: str) -> None:
    sound = [(name, value) for name, value in query if value.isprintable()]
    _is_answered(await ask("GET", str(httpx.URL(path, params=sound))))
