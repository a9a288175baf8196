"""Rules that look at more than one place: names that must exist, settings that need or exclude each other.

They work on a draft, so that they judge what is sound while other parts are broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from config.address import is_loopback
from config.credential_rules import check_provider_credentials
from config.did_rules import check_dids
from config.listeners import check_listeners, check_provider_certificates
from config.model import (
    UNENFORCED,
    Admin,
    Emergency,
    LedgerConfig,
    ProfileConfig,
    ProviderConfig,
    StirConfig,
    TimersConfig,
    WebhooksConfig,
)
from config.places import check_advertised, check_provider_place
from config.problem import Finding, join
from config.scopes import Report, Scopes
from config.served import unserved_ledger, unserved_provider
from config.structure import Draft, nearest
from config.tech_headers import tech_header_findings
from config.told_apart import READS, not_told_apart
from config.trunk_rules import check_trunk
from config.webhooks import check_callback, check_webhooks

_TIMER_C_FLOOR = 180
_LEAST_SESSION = 90


def check_references(draft: Draft) -> Report:
    """Every rule over the draft, in the order of the file's sections."""
    report = Report()
    scopes = Scopes(draft)
    check_listeners(draft, report)
    check_advertised(draft, report)
    for key, rule in (("admin", _check_admin), ("ledger", _check_ledger), ("timers", _check_timers)):
        if key in draft.sections:
            rule(draft.sections[key], report)
    if draft.sections.get("stir") is not None:
        _check_stir(draft.sections["stir"], report)
    _check_refusals(draft.entries.get("refusals", {}), report)
    _check_accepted(draft, report)
    _check_money(draft, report)
    for key in ("providers", "accounts", "profiles", "trunks", "outplans"):
        _check_names(draft.items.get(key, []), report)
    scopes.refer(report, "providers", scopes.default_provider, "default_provider")
    scopes.refer(report, "rate_decks", draft.sections.get("default_rate_deck"), "default_rate_deck")
    _check_decks(draft, report)
    verified: dict[str, tuple[str, ProviderConfig]] = {}
    for path, provider in draft.items.get("providers", []):
        _check_provider(provider, path, draft, report)
        scopes.refer(report, "rate_decks", provider.rate_deck, join(path, "rate_deck"))
        if not scopes.faulty(path):
            check_provider_certificates(provider, path, verified, report)
        check_provider_credentials(provider, path, report)
    for path, account in draft.items.get("accounts", []):
        if account.destination_whitelist == ():
            report.warn(
                join(path, "destination_whitelist"), "is empty: every call of this account is refused"
            )
    for path, profile in draft.items.get("profiles", []):
        scopes.refer(report, "accounts", profile.account, join(path, "account"))
        if not scopes.faulty(path):
            _check_profile(profile, path, report)
    for path, trunk in draft.items.get("trunks", []):
        check_trunk(trunk, path, scopes, report)
        if trunk.callback_url is not None and "webhooks" not in draft.broken:
            wrong, doubtful = check_callback(trunk.callback_url, draft.sections["webhooks"])
            report.problems += [Finding(join(path, "callback_url"), text) for text in wrong]
            report.warnings += [Finding(join(path, "callback_url"), text) for text in doubtful]
    check_dids(draft, scopes, report)
    found_by = [item for item in draft.items.get("trunks", []) if scopes.faulty(item[0]).isdisjoint(READS)]
    report.problems.extend(not_told_apart(found_by))
    if "webhooks" in draft.sections:
        _check_webhooks(draft.sections["webhooks"], scopes, report)
    if not draft.items.get("trunks") and "trunks" not in draft.broken and not draft.objects_elsewhere:
        report.warn("", "has no `trunks`: every call is refused (SOURCE)")
    for path, outplan in draft.items.get("outplans", []):
        scopes.refer(report, "accounts", outplan.account, join(path, "account"))
        for key in outplan.short_times():
            report.warn(join(path, key), f"is {getattr(outplan, key)} milliseconds: were seconds meant?")
    _check_emergency(draft, scopes, report)
    return report


def _check_admin(admin: Admin, report: Report) -> None:
    if admin.token is not None and admin.token_file is not None:
        report.problem("admin.token_file", "give `token` or `token_file`, not both")
    if not is_loopback(admin.host) and admin.token is None and admin.token_file is None:
        report.problem(
            "admin.listen", f"`{admin.listen}` is not loopback: set `admin.token_file`, which it then needs"
        )
    if (admin.certificate_file is None) != (admin.key_file is None):
        report.problem("admin", "`certificate_file` and `key_file` go together")
    if admin.client_ca_file is not None and admin.certificate_file is None:
        report.problem("admin.client_ca_file", "needs `certificate_file` and `key_file`")
    has_token = admin.token is not None or admin.token_file is not None
    if admin.metrics_need_token and not has_token:
        report.warn("admin.metrics_need_token", "has no effect without `token_file`")


def _check_ledger(ledger: LedgerConfig, report: Report) -> None:
    report.problems.extend(unserved_ledger(ledger, "ledger"))
    if ledger.on_unavailable == "admit" and ledger.local_capacity_limit is None:
        text = "`admit` needs `ledger.local_capacity_limit`: how many calls an instance may then hold"
        report.problem("ledger.on_unavailable", text)
    if ledger.secret is not None and ledger.secret_file is not None:
        report.problem("ledger.secret_file", "give `secret` or `secret_file`, not both")


def _check_timers(timers: TimersConfig, report: Report) -> None:
    if timers.no_answer_seconds <= timers.provider_response_seconds:
        text = f"must be more than provider_response_seconds ({timers.provider_response_seconds})"
        report.problem("timers.no_answer_seconds", text)
    elif timers.no_answer_seconds <= _TIMER_C_FLOOR:
        text = (
            f"is not more than {_TIMER_C_FLOOR}, as RFC 3261, section 16.6, wants: longer ringing is cut off"
        )
        report.warn("timers.no_answer_seconds", text)
    if 0 < timers.session_expires_seconds < _LEAST_SESSION:
        text = f"must be {_LEAST_SESSION} or more (RFC 4028, section 4), or 0 for no session timer"
        report.problem("timers.session_expires_seconds", text)


def _check_stir(stir: StirConfig, report: Report) -> None:
    signing = {key: getattr(stir, key) for key in ("certificate_file", "key_file", "x5u")}
    missing = [f"`{key}`" for key, value in signing.items() if value is None]
    if 0 < len(missing) < len(signing):
        report.problem("stir", f"signing needs {', '.join(missing)} as well")
    elif missing and not stir.trusted:
        report.problem("stir", "names neither what calls are signed with nor whom to trust")


def _check_refusals(refusals: dict[str, int], report: Report) -> None:
    for code, status in refusals.items():
        path = join("refusals", code)
        if code == "AUTH" and status not in (401, 407):
            report.problem(path, f"`AUTH` carries a challenge, so it is 401 or 407, not {status}")
        if code != "AUTH" and status in (401, 407):
            report.problem(path, f"{status} asks for credentials: only `AUTH` may be that")


def _check_accepted(draft: Draft, report: Report) -> None:
    for path, field_name in draft.items.get("accept_unenforced", []):
        if field_name not in UNENFORCED:
            known = ", ".join(f"`{name}`" for name in UNENFORCED)
            text = f"`{field_name}` is no field that this version leaves unenforced: those are {known}"
            report.problem(path, f"{text}{nearest(field_name, UNENFORCED)}")


def _check_money(draft: Draft, report: Report) -> None:
    currency = draft.sections.get("currency", "USD")
    rates = set(draft.entries.get("exchange_rates", {})) | draft.broken.get("exchange_rates", set())
    if currency in rates:
        report.problem(
            join("exchange_rates", currency),
            f"is the currency of the accounts itself (`currency: {currency}`)",
        )
    for name, deck in draft.entries.get("rate_decks", {}).items():
        if deck.currency != currency and deck.currency not in rates:
            text = f"has no `exchange_rates.{deck.currency}`, the price of one {deck.currency} in {currency}"
            report.problem(join(join("rate_decks", name), "currency"), text)


def _check_decks(draft: Draft, report: Report) -> None:
    """Rows are in a file, or in the store where the policy is kept there."""
    for name, deck in draft.entries.get("rate_decks", {}).items():
        path = join("rate_decks", name)
        if (deck.file is None) == (deck.sha256 is None):
            report.problem(path, "needs `file`, the CSV file of its rows, and no `sha256` beside it")


def _check_names(items: Iterable[tuple[str, Any]], report: Report) -> None:
    first: dict[str, str] = {}
    for path, item in items:
        if item.name in first:
            report.problem(join(path, "name"), f"`{item.name}` is the name of {first[item.name]} too")
        first.setdefault(item.name, path)


def _check_provider(provider: ProviderConfig, path: str, draft: Draft, report: Report) -> None:
    report.problems.extend(unserved_provider(provider, path))
    report.problems.extend(tech_header_findings(provider.tech_headers, join(path, "tech_headers")))
    transports = {listener.transport for _, listener in draft.items.get("listen", [])} or {"udp", "tcp"}
    if provider.transport not in transports and "listen" not in draft.broken:
        kind = provider.transport
        text = f"is `{kind}`, and no listener is: add one such as `{kind}:127.0.0.1` to `listen`"
        report.problem(join(path, "transport"), text)
    if provider.networks == ():
        report.problem(
            join(path, "networks"), "is empty, so that nothing could come back; null: no restriction"
        )
    if provider.cli_format == "national" and provider.cli_country_code is None:
        text = "`national` needs `cli_country_code`, the country whose numbers are written so"
        report.problem(join(path, "cli_format"), text)
    if provider.cli_format != "national" and (provider.cli_country_code or provider.cli_national_prefix):
        key = "cli_country_code" if provider.cli_country_code else "cli_national_prefix"
        report.warn(join(path, key), "has no effect unless `cli_format` is `national`")
    check_provider_place(provider, path, draft, report)


def _check_profile(profile: ProfileConfig, path: str, report: Report) -> None:
    limit = join(path, "daily_spend_limit")
    if profile.daily_spend_limit_enabled and profile.daily_spend_limit is None:
        report.problem(path, "`daily_spend_limit_enabled` needs `daily_spend_limit`")
    if profile.daily_spend_limit is not None and not profile.daily_spend_limit_enabled:
        report.warn(limit, "limits nothing while `daily_spend_limit_enabled` is not true")
    if profile.destination_whitelist == ():
        report.warn(join(path, "destination_whitelist"), "is empty: every call under this profile is refused")


def _check_webhooks(webhooks: WebhooksConfig, scopes: Scopes, report: Report) -> None:
    problems, warnings = check_webhooks(webhooks)
    report.problems += problems
    report.warnings += warnings
    for index, endpoint in enumerate(webhooks.endpoints):
        scopes.refer(report, "accounts", endpoint.account, f"webhooks.endpoints[{index}].account")


def _check_emergency(draft: Draft, scopes: Scopes, report: Report) -> None:
    emergency: Emergency | None = draft.sections.get("emergency")
    if emergency is None:
        if "emergency" not in draft.broken and draft.items.get("trunks"):
            report.warn("", _NO_EMERGENCY)
        return
    for index, number in enumerate(emergency.numbers):
        if number in emergency.numbers[:index]:
            report.problem(f"emergency.numbers[{index}]", f"`{number}` is listed twice")
    for index, name in enumerate(emergency.providers):
        path = f"emergency.providers[{index}]"
        scopes.refer(report, "providers", name, path)
        if name in emergency.providers[:index]:
            report.problem(path, f"`{name}` is listed twice")
        provider = scopes.providers.get(name)
        if provider is not None and provider.status == "blocked":
            report.warn(path, f"`{name}` is blocked: emergency calls are tried there all the same")


_NO_EMERGENCY = (
    "has no `emergency`: 112, 911 and 999 are judged as any other number, so that their callers are refused, "
    "mostly with `484 Address Incomplete`; "
    "name `numbers` and `providers`, or write `emergency: none` if it is meant"
)
