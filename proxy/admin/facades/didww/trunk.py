"""DIDWW's attributes of a voice OUT trunk ↔ our trunk: its spec, and what the facade keeps beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

from policy.rating.money import MICRO
from proxy.admin.facades.didww.credentials import MASKED_PASSWORD, Credentials, masked
from proxy.admin.facades.didww.fields import (
    FLAT,
    CredentialsAndIp,
    IpOnly,
    TrunkAttributes,
    Twilio,
    open_to_all,
)
from proxy.admin.facades.specs import put, shown_number
from proxy.admin.facades.spending import Spent

Fields = dict[str, Any]

_SAME: Final = (
    "status",
    "on_cli_mismatch_action",
    "allow_any_did_as_cli",
    "capacity_limit",
    "media_encryption_mode",
    "callback_url",
)
"""What both call the same and mean the same by."""
_BESIDE: Final = (
    "name",
    "force_symmetric_rtp",
    "rtp_ping",
    "rtp_timeout",
    "external_reference_id",
    "emergency_enable_all",
)
"""What our trunk has no field for: given back as it was said."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    "force_symmetric_rtp": False,
    "rtp_ping": False,
    "rtp_timeout": 30,
    "external_reference_id": None,
    "emergency_enable_all": False,
}
_SECRET: Final = ("ha1", "password", "password_file")
_INVERTED: Final = {"allow_all": "deny", "reject_all": "allow"}
"""`default_dst_action` → the list of ours that holds the prefixes for which it is inverted."""


class FieldError(Exception):
    """An attribute that cannot be as it was said. Its text is DIDWW's `title`."""

    def __init__(self, attribute: str, message: str) -> None:
        super().__init__(message)
        self.attribute = attribute


def new_trunk(account: str | None) -> Fields:
    """The spec of a trunk of which nothing was said yet: no country rule of its own, spending looked at over
    24 hours, numbers dialled as DIDWW takes them (E.164 with `+`, `00` or neither). The countries of a trunk
    that an account makes are those of the account: only who sees all may do without any."""
    spec: Fields = {
        "threshold_window": "rolling_24h",
        "dial_plan": {"international_prefixes": ["00"], "bare_e164": True},
    }
    return {**spec, **({"allow_any_country": True} if account is None else {"account": account})}


def changed(
    spec: Mapping[str, Any], beside: Mapping[str, Any], said: TrunkAttributes, numbers: Mapping[str, Any]
) -> tuple[Fields, Fields]:
    """Spec and facade's part of a trunk after a client said `said`, and `numbers` (`dids`, `default_did`).

    Raises FieldError.
    """
    new, new_beside = deepcopy(dict(spec)), dict(beside)
    for field in said.given.intersection(_SAME):
        put(new, field, getattr(said, field))
    for field in said.given.intersection(_BESIDE):
        new_beside[field] = getattr(said, field)
    if "threshold_amount" in said.given:
        limit = said.threshold_amount
        put(new, "threshold_amount", None if limit is None else _decimal(limit))
    if "allowed_rtp_ips" in said.given:
        networks = said.allowed_rtp_ips
        put(new, "allowed_rtp_ips", None if networks is None else [str(network) for network in networks])
    _place_prefixes(new, new_beside, said)
    _authenticate(new, said)
    _place_numbers(new, said, numbers)
    return new, new_beside


def with_credentials(spec: Mapping[str, Any], credentials: Credentials) -> Fields:
    """The spec of a trunk whose calls must show `credentials` from now on; the store makes an HA1 of them."""
    without = {field: value for field, value in spec.items() if field not in _SECRET}
    return {**without, "username": credentials.username, "password": credentials.password}


def wants_credentials(spec: Mapping[str, Any]) -> bool:
    """Whether it has a login to be made: it authenticates by one and has none."""
    return has_credentials(spec) and all(field not in spec for field in _SECRET)


def has_credentials(spec: Mapping[str, Any]) -> bool:
    """Whether its calls must show a login."""
    return str(spec.get("auth", "ip")) != "ip"


def attributes(
    trunk: Mapping[str, Any],
    beside: Mapping[str, Any],
    *,
    created_at: str,
    spent: Spent,
    shown: Credentials | None,
    version: str,
) -> Fields:
    """What a client of API version `version` reads of a trunk, given with the defaults of its fields.
    `shown`: the credentials where they were just drawn."""
    extra = {**_DEFAULTS, **beside}
    prefixes = trunk["dst_prefixes"].get(_INVERTED[trunk["default_dst_action"]], [])
    common: Fields = {
        "allowed_rtp_ips": trunk["allowed_rtp_ips"],
        **{field: trunk[field] for field in _SAME},
        "name": extra["name"],
        "created_at": created_at,
        "threshold_reached": spent.reached,
        "threshold_amount": shown_number(trunk["threshold_amount"], _decimal),
        "default_dst_action": trunk["default_dst_action"],
        "dst_prefixes": [prefix.removeprefix("+") for prefix in prefixes],
        "force_symmetric_rtp": extra["force_symmetric_rtp"],
        "rtp_ping": extra["rtp_ping"],
    }
    login = _login(trunk, shown)
    sources = list(trunk["allowed_sip_ips"])
    if version in FLAT:
        return {"allowed_sip_ips": sources, **common, **(login or {"username": None, "password": None})}
    where = {"allowed_sip_ips": sources, "tech_prefix": trunk["tech_prefix"] or ""}
    return {
        **common,
        **{field: extra[field] for field in ("external_reference_id", "emergency_enable_all", "rtp_timeout")},
        "authentication_method": {
            "type": "ip_only" if login is None else "credentials_and_ip",
            "attributes": {**where, **(login or {})},
        },
    }


def spent_amount(spent: Spent) -> str:
    """`meta.spent_amount`."""
    return _decimal(Decimal(spent.micro) / MICRO)


def _login(trunk: Mapping[str, Any], shown: Credentials | None) -> Fields | None:
    if not has_credentials(trunk):
        return None
    if shown is not None:
        return {"username": shown.username, "password": shown.password}
    return {"username": masked(trunk["username"] or ""), "password": MASKED_PASSWORD}


def _place_prefixes(spec: Fields, beside: Fields, said: TrunkAttributes) -> None:
    """DIDWW's one list inverts the default action; ours are a list each way. What somebody else added to them
    stays, so that no client takes away a rule that it cannot see."""
    if said.given.isdisjoint(("default_dst_action", "dst_prefixes")):
        return
    before = spec.get("default_dst_action", "allow_all")
    own: Sequence[str] = beside.get("dst_prefixes", [])
    lists = {side: list(spec.get("dst_prefixes", {}).get(side, [])) for side in ("allow", "deny")}
    mine = {f"+{prefix}" for prefix in own}
    lists[_INVERTED[before]] = [prefix for prefix in lists[_INVERTED[before]] if prefix not in mine]
    action = said.default_dst_action if "default_dst_action" in said.given else before
    prefixes = said.dst_prefixes if "dst_prefixes" in said.given else own
    into = lists[_INVERTED[action]]
    into.extend(f"+{prefix}" for prefix in dict.fromkeys(prefixes) if f"+{prefix}" not in into)
    spec["default_dst_action"] = action
    spec["dst_prefixes"] = lists
    beside["dst_prefixes"] = list(dict.fromkeys(prefixes))


def _authenticate(spec: Fields, said: TrunkAttributes) -> None:
    method = said.authentication_method
    if isinstance(method, Twilio):
        text = "twilio is not supported: use ip_only with the addresses that Twilio sends from"
        raise FieldError("authentication_method", text)
    if isinstance(method, IpOnly | CredentialsAndIp):
        spec["auth"] = "ip" if isinstance(method, IpOnly) else "ip_and_digest"
        put(spec, "tech_prefix", method.attributes.tech_prefix)
        networks, attribute = method.attributes.allowed_sip_ips, "authentication_method"
    elif "allowed_sip_ips" in said.given:
        spec.setdefault("auth", "ip_and_digest")
        networks, attribute = said.allowed_sip_ips, "allowed_sip_ips"
    else:
        return
    if not networks:
        raise FieldError(attribute, "needs an address: calls are accepted from nowhere else")
    if open_to_all(networks) and not has_credentials(spec):
        raise FieldError(attribute, "cannot be every address without credentials")
    spec["allowed_sip_ips"] = [str(network) for network in networks]
    put(spec, "allow_any_source", open_to_all(networks) or None)
    if not has_credentials(spec):
        for field in ("username", *_SECRET):
            spec.pop(field, None)


def _place_numbers(spec: Fields, said: TrunkAttributes, numbers: Mapping[str, Any]) -> None:
    any_did = spec.get("allow_any_did_as_cli", False)
    if any_did and numbers.get("dids"):
        raise FieldError("dids", "can't be assigned while allow_any_did_as_cli is true")
    for field, value in numbers.items():
        put(spec, field, value or None)
    if any_did and "allow_any_did_as_cli" in said.given:
        spec.pop("dids", None)
    action = spec.get("on_cli_mismatch_action")
    if action == "replace_cli" and not spec.get("default_did"):
        raise FieldError("on_cli_mismatch_action", "replace_cli needs a default_did")
    if action == "randomize_cli" and not any_did and not (spec.get("dids") or spec.get("default_did")):
        raise FieldError("on_cli_mismatch_action", "randomize_cli needs dids to choose from")


def _decimal(value: Decimal) -> str:
    """With at least one decimal, as DIDWW writes amounts: `9999.0`."""
    text = format(value.normalize(), "f")
    return text if "." in text else f"{text}.0"
