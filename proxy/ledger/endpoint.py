"""Where the ledger is: opening a connection by redis-py, and what a server must be like to be trusted with
money."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import redis.exceptions
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.ledger import lua
from proxy.ledger.keys import WHOLE, Keys
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable, reason_of
from proxy.ledger.resp import ServerError, error_kind
from proxy.ledger.topology import topology_of

OLDEST_SERVER = (7, 0)

_log = logging.getLogger(__name__)


def shown(url: str) -> str:
    """The address without user, password and query, for logs and messages."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    if "," in parts.netloc:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path}"


class Endpoint:
    """A server's address and how to get a connection that is ready for use.

    `before_connect` runs before each try: the embedded server is started there when it is gone. `run_id` is
    the run of the server that was connected last.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        before_connect: Callable[[], Awaitable[None]] | None = None,
        keys: Keys = WHOLE,
    ) -> None:
        """`url` is redis://, rediss:// or unix://, or redis+sentinel:// or redis+cluster:// as
        `topology_of` takes them; `timeout` in seconds bounds a try. Raises LedgerRefused."""
        self.topology = topology_of(url, keys.clock)
        if not self.topology.moves:
            _connection(url, timeout)
        self.url = url
        self.shown = shown(url)
        self.timeout = timeout
        self._before_connect = before_connect
        self._warned: set[str] = set()
        self.run_id = b""

    async def open(self) -> AbstractConnection:
        """A connection, authenticated, to a server that was looked at and knows the scripts.

        Raises LedgerUnavailable when trying again may help, LedgerRefused when it will not.
        """
        if self._before_connect is not None:
            await self._before_connect()
        opened = _connection(await self.topology.locate(), self.timeout)
        try:
            async with asyncio.timeout(self.timeout):
                await opened.connect()  # type: ignore[no-untyped-call]
                # Answered before anything long is sent: on who sends 16 KiB at once without credentials a
                # server hangs up, and what it said before, NOAUTH, may not be read any more.
                await opened.send_command("INFO", check_health=False)
                info = _fields(await opened.read_response())
                if self.topology.moves and info.get("role") != "master":
                    raise redis.exceptions.ReadOnlyError("this server is a replica")
                self.run_id = info.get("run_id", "").encode()
                for warning in inspect_server(info):
                    if warning not in self._warned:
                        self._warned.add(warning)
                        _log.warning("ledger %s: %s", self.shown, warning)
                # All at once: on a slow way each answer would cost a round trip.
                for verb in lua.VERBS:
                    await opened.send_command("SCRIPT", "LOAD", lua.script(verb).source, check_health=False)
                for _ in lua.VERBS:
                    await opened.read_response()
        except BaseException as error:
            await opened.disconnect(nowait=True)
            if isinstance(error, redis.exceptions.RedisError | OSError | TimeoutError):
                kind = connect_error_kind(error)
                raise LedgerUnavailable(
                    kind, f"ledger {self.shown}: {reason_of(error)}", sent=False
                ) from None
            raise
        return opened


def _fields(reply: object) -> dict[str, str]:
    """What INFO says."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _connection(url: str, timeout: float) -> AbstractConnection:
    try:
        settings = dict(parse_url(url))
        made: type[AbstractConnection] = settings.pop("connection_class", Connection)  # type: ignore[assignment]
        settings |= {
            "protocol": 2,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "driver_info": None,  # which redis-py would tell, and wait for the answer
            # A retry of redis-py would repeat writes; trying again is decided above, where it is known to be
            # safe.
            "retry": Retry(NoBackoff(), 0),
        }
        return made(**settings)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise LedgerRefused(f"the ledger's address cannot be used: {error}") from None


def inspect_server(info: dict[str, str]) -> list[str]:
    """Warnings about a server, by its INFO. Raises LedgerRefused for one that cannot keep the ledger's
    promises."""
    if info.get("loading") == "1":
        raise LedgerUnavailable("loading", "the ledger's server still loads its data", sent=False)
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_SERVER:
        raise LedgerRefused(
            f"the ledger's server is version {version}; Redis 7.0 or later, or Valkey, is needed"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise LedgerRefused(
            f"the ledger's server has maxmemory-policy `{policy}`: with its memory full it would throw"
            " calls and money away; set `maxmemory-policy noeviction` in its configuration, and"
            " `CONFIG SET maxmemory-policy noeviction` on the running server"
        )
    if info.get("aof_enabled", "1") == "0":
        return [
            "its append-only file is off: what was written since its last snapshot is lost when it crashes;"
            " set `appendonly yes`"
        ]
    return []


def connect_error_kind(error: BaseException) -> str:
    """The label of what went wrong while connecting, as LedgerUnavailable has it."""
    cause = error.__cause__
    if isinstance(error, redis.exceptions.ConnectionError) and isinstance(cause, redis.exceptions.RedisError):
        error = cause  # over a Unix socket redis-py wraps what the server said
    if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return "loading"
    if isinstance(
        error,
        redis.exceptions.AuthenticationError
        | redis.exceptions.NoPermissionError
        | redis.exceptions.AuthorizationError,
    ):
        return "noauth"
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return "readonly"
    if isinstance(error, redis.exceptions.ResponseError):
        return error_kind(ServerError(str(error)))
    # redis-py makes some error replies, `max number of clients reached` among them, connection errors.
    return "busy" if "max number of clients" in str(error) else "connection"
