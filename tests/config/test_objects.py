from __future__ import annotations

from typing import Any

import pytest

from config.load import load_config
from config.objects import MASK, MODELS, Stored, canonical, defaults, masked, name_of, reaches_out
from config.policy_source import KINDS


def test_every_kind_has_its_model() -> None:
    assert tuple(MODELS) == KINDS


@pytest.mark.parametrize(
    ("kind", "spec", "plain"),
    [
        ("trunks", {"capacity_limit": "30"}, {"capacity_limit": 30}),
        ("trunks", {"threshold_amount": "100.10"}, {"threshold_amount": "100.10"}),
        ("trunks", {"allowed_sip_ips": ["192.0.2.1"]}, {"allowed_sip_ips": ["192.0.2.1/32"]}),
        ("trunks", {"dial_plan": {"bare_e164": "yes"}}, {"dial_plan": {"bare_e164": True}}),
        ("trunks", {"capacity_limit": "${LIMIT}"}, {"capacity_limit": "${LIMIT}"}),
        ("trunks", {"capacity_limit": "x", "cps_limit": "1"}, {"capacity_limit": "x", "cps_limit": "1"}),
        ("trunks", {"password": "1", "password_file": "a/b"}, {"password": "1", "password_file": "a/b"}),
        ("trunks", {"rate_deck": None}, {"rate_deck": None}),
        ("profiles", {"calling_window": {"start_time": "8:30"}}, {"calling_window": {"start_time": "8:30"}}),
        (
            "profiles",
            {"calling_window": {"start_time": 510, "end_time": "18:00"}},
            {"calling_window": {"start_time": "08:30", "end_time": "18:00"}},
        ),
        ("accounts", {"destination_whitelist": ["no"]}, {"destination_whitelist": ["NO"]}),
        ("rate_decks", {"file": "x.csv"}, {"file": "x.csv"}),
        ("outplans", {"dial_timeout": "30000"}, {"dial_timeout": 30000}),
        ("dids", {"number": "442071838750"}, {"number": "+442071838750"}),
        ("dids", {"number": "${LIMIT}"}, {"number": "${LIMIT}"}),
    ],
)  # fmt: skip
def test_canonical_form(kind: str, spec: dict[str, Any], plain: dict[str, Any]) -> None:
    found = canonical(kind, "a", spec, {"LIMIT": "30"})
    assert found == plain
    assert canonical(kind, "a", found, {"LIMIT": "30"}) == found


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_plain_and_valid(kind: str) -> None:
    left = {name for name, info in MODELS[kind].model_fields.items() if info.is_required()}
    assert set(defaults(kind)) == set(MODELS[kind].model_fields) - left
    needed = {"name": "a"} if "name" in left else {}
    needed |= {"hostname": "h.example"} if "hostname" in left else {}
    needed |= {"number": "+442071838750"} if "number" in left else {}
    model = MODELS[kind].model_validate({**needed, **defaults(kind)})
    assert model == MODELS[kind].model_validate(needed)


def test_masks_and_reaches() -> None:
    tree = {"password": "x", "a": [{"ha1": None, "token": "${T}", "secret": 1}]}
    assert masked(tree) == {"password": MASK, "a": [{"ha1": None, "token": "${T}", "secret": MASK}]}
    tree = {"file": "x", "a": {"b_file": None, "c": ["$${x}", "${x}"]}, "ca_file": "y"}
    assert list(reaches_out(tree)) == ["file", "a.c[1]", "ca_file"]


def test_names() -> None:
    assert (
        name_of("trunks", {"name": "a"}) == name_of("dids", {"name": "a", "number": "+442071838750"}) == "a"
    )
    assert name_of("dids", {"number": "+442071838750"}) == "442071838750"
    for kind, item in (("trunks", {"number": "1"}), ("trunks", {"name": ["a"]}), ("dids", {}), ("dids", "x")):
        assert name_of(kind, item) is None


def stored(**sections: Any) -> Stored:
    return Stored({kind: [] for kind in KINDS if kind != "rate_decks"} | {"rate_decks": {}} | sections)


def test_objects_stand_in_place_of_the_files(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("emergency: none\ntrunks: [{nonsense: 1}]\nproviders: [{name: '${MISSING}'}]\n")
    providers = [{"name": "carrier", "hostname": "${HOST}"}]
    trunk = {"name": "t", "provider": "carrier", "allowed_sip_ips": ["192.0.2.1"], "allow_any_country": True}
    loaded = load_config(path, {"HOST": "h.example"}, stored=stored(providers=providers, trunks=[trunk]))
    assert loaded.problems == []
    assert loaded.config is not None
    assert loaded.config.providers[0].hostname == "h.example"
    again = load_config(path, {"HOST": "i.example"}, stored=stored(providers=providers, trunks=[trunk]))
    assert again.digest != loaded.digest


def test_problems_name_the_object(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("emergency: none\nlisten: nonsense\n")
    trunks = [
        {"name": "good", "allow_any_country": True, "allowed_sip_ips": ["192.0.2.1"]},
        {"name": "bad", "cps_limit": "${MISSING}", "provider": "nobody", "allowed_sip_ips": ["192.0.2.2"]},
    ]
    decks = {"retail": {"sha256": "0" * 64, "currency": "EUR"}}
    loaded = load_config(path, {}, stored=stored(trunks=trunks, rate_decks=decks))
    told = [str(problem) for problem in loaded.problems]
    assert any(text.startswith(f"{path}:2: listen: ") for text in told)
    for start in (
        "store: trunks[bad].cps_limit: the environment variable `MISSING` is not set",
        "store: trunks[bad].provider: there is no provider `nobody`",
        "store: rate_decks.retail.sha256: the store has no rows of this digest",
        "store: rate_decks.retail.currency: ",
    ):
        assert any(text.startswith(start) for text in told), (start, told)


def test_own_sections_alone_judge_no_names(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "policy: {source: store}\nemergency: {numbers: ['112'], providers: [carrier]}\ndefault_provider: x\n"
    )
    assert load_config(path, {}).problems == load_config(path, {}).warnings == []
    assert load_config(path, {}, stored=Stored(known=False)).objects_elsewhere
    assert len(load_config(path, {}, stored=stored()).problems) == 2
