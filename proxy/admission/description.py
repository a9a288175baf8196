"""What `GET /v1/calls` shows of a live call, as the ledger keeps it."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quote

from proxy.call.session import CallSession


def description(session: CallSession) -> bytes:
    """A JSON object. Nothing in it decides anything."""
    verdict = session.verdict
    attempt = session.attempt
    country = "null" if verdict.country is None else quote(verdict.country)
    account = verdict.trunk.account if verdict.trunk is not None else None
    owner = "null" if account is None else quote(account)
    provider = quote(verdict.providers[0].name) if verdict.providers else "null"
    return (
        f'{{"call_id":{quote(session.request.call_id.decode("latin-1"))},"source":{quote(attempt.source)},'
        f'"cli":{quote(attempt.cli)},"called":{quote(verdict.called or "")},"country":{country},'
        f'"provider":{provider},"account":{owner}}}'
    ).encode("ascii")
