from __future__ import annotations

import pytest

from config.ledger_url import ledger_url


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "redis://h",
        "redis://h:6379/0",
        "redis://h/",
        "redis://[::1]:6379/2",
        "rediss://user:p%40ss@h:6380/1?ssl_ca_certs=/x",
        "redis://:secret@redis_one:6379",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=3",
        "redis+sentinel://u:p@a:26379,b/service",
        "redis+sentinel://a,b/service/1?sentinel_password=x",
        "redis+cluster://a:1,b:2,[::1]:3",
        "redis+cluster://a/0",
    ],
)
def test_forms_of_the_contract(url: str) -> None:
    assert ledger_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://h/x",
        "redis://h/0/1",
        "redis://h?db=a",
        "redis://h:99999",
        "redis://h:port",
        "redis://a,b",
        "rediss:///0",
        "unix://",
        "unix:///",
        "unix:///s?db=a",
        "redis+sentinel://h",
        "redis+sentinel://h:1/service/x",
        "redis+sentinel:///service",
        "redis+cluster://",
        "redis+cluster://a,,b",
        "redis+cluster://a/1",
    ],
)
def test_what_leads_nowhere_is_told_with_the_form_that_is_wanted(url: str) -> None:
    with pytest.raises(
        ValueError, match="must have the form `" + url.partition("://")[0].replace("+", r"\+")
    ):
        ledger_url(url)


@pytest.mark.parametrize("url", ["http://h", "Embedded", "", None, 3, "redis:h"])
def test_other_schemes(url: object) -> None:
    with pytest.raises(ValueError, match="must be `embedded` or begin with one of"):
        ledger_url(url)


@pytest.mark.parametrize("url", ["redis://u:canary#x@h:6379", "redis://u:canary/x@h", "redis://u:canary@h/x"])
def test_a_password_is_never_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="must have the form") as caught:
        ledger_url(url)
    assert "canary" not in str(caught.value)
