"""Sender: one POST to an address that a customer may have chosen.

The name is resolved once, every address that it leads to is judged, and the connection goes to one of those
very addresses: who answers differently the next time (DNS rebinding) is not asked again. No redirect is
followed, no proxy of the environment is used, of the answer only the status and one header are read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

import httpx

from config.address import is_address
from config.web_address import Reach, WebAddress, forbidden, read_web_address
from proxy.routing.names import Names, Unanswered
from proxy.webhooks.outcome import Outcome
from proxy.webhooks.settings import Recipient

CONNECT_SECONDS: Final = 5.0
_LONGEST_WAIT: Final = 86_400
_GONE: Final = 410
_ONE_CONNECTION: Final = httpx.Limits(max_connections=1, max_keepalive_connections=0)


class Forbidden(Exception):
    """The address leads where nothing is sent to."""


class Unreachable(Exception):
    """The name leads nowhere."""


class Sender:
    """Callbacks, which customers choose, go no further than `callback_reach`, all else than `reach`.
    `timeout` in seconds is for all of a try. Raises OSError or ssl.SSLError when `ca_file` cannot be used."""

    def __init__(
        self,
        names: Names,
        *,
        reach: Reach,
        callback_reach: Reach,
        timeout: float = 15.0,
        ca_file: str | None = None,
    ) -> None:
        self._names = names
        self._reach = reach
        self._callback_reach = callback_reach
        self._timeout = timeout
        self._tls = ssl.create_default_context(cafile=ca_file)

    async def post(self, recipient: Recipient, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Try once. Never raises for what the far end does."""
        reach = self._callback_reach if recipient.callback else self._reach
        try:
            async with asyncio.timeout(self._timeout):
                address = read_web_address(recipient.url)
                return await self._post(address, await self._places(address.host, reach), headers, body)
        except Forbidden as error:
            return Outcome(False, str(error), refused=True)
        except TimeoutError:
            return Outcome(False, f"no answer within {self._timeout:g} s")
        except (Unreachable, ValueError) as error:
            return Outcome(False, str(error))

    async def _places(self, host: str, reach: Reach) -> Sequence[str]:
        """The addresses of a host. Raises Forbidden when there is even one beyond `reach`."""
        if is_address(host):
            found: Sequence[str] = (host,)
        else:
            try:
                found = (await self._names.addresses(host)).hosts
                if not found:
                    found = (await self._names.by_system(host)).hosts
            except Unanswered as error:
                raise Unreachable(f"{host} is not resolved: {error}") from error
        if not found:
            raise Unreachable(f"{host} does not resolve")
        for place in found:
            why = forbidden(place, reach)
            if why is not None:
                raise Forbidden(why if place == host else f"{host} leads to {why}")
        return found

    async def _post(
        self, address: WebAddress, places: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        detail = ""
        for place in places:
            try:
                return await self._post_to(place, address, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                detail = f"{place}: {error or type(error).__name__}"
            except httpx.HTTPError as error:
                return Outcome(False, f"{place}: {error or type(error).__name__}")
        return Outcome(False, detail)

    async def _post_to(
        self, place: str, address: WebAddress, headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        # A client for one request: nothing of an answer (cookies, a connection that another name shares)
        # reaches the next.
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=_ONE_CONNECTION)
        timeout = httpx.Timeout(self._timeout, connect=CONNECT_SECONDS)
        # Name and certificate are those of the URL, wherever the connection goes.
        extensions = {} if is_address(address.host) else {"sni_hostname": address.host.rstrip(".")}
        own = {"Host": address.authority, "User-Agent": "Trunkwarden", "Accept-Encoding": "identity"}
        where = httpx.URL(
            scheme=address.scheme, host=place, port=address.port, raw_path=address.target.encode()
        )
        async with (
            httpx.AsyncClient(
                transport=transport, timeout=timeout, trust_env=False, follow_redirects=False
            ) as client,
            client.stream(
                "POST", where, headers={**own, **headers}, content=body, extensions=extensions
            ) as answer,
        ):
            return _judged(answer.status_code, answer.headers.get("retry-after", ""))


def _judged(status: int, retry_after: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome(True, f"answered with {status}", status)
    wait = int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 8 else 0
    detail = f"answered with {status}"
    if 300 <= status < 400:
        detail += ", which is not followed"
    return Outcome(False, detail, status, gone=status == _GONE, retry_after=min(wait, _LONGEST_WAIT))
