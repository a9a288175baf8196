"""The hang-up bus: one asks, every running instance ends what it has and answers with the calls' refs.

A request is published; PUBLISH says how many instances heard it; each pushes its answer to a list of that
request.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import redis.exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.ledger.endpoint import connect_error_kind
from proxy.ledger.keys import HANGUP_SECONDS, WHOLE
from proxy.ledger.ledger import LedgerUnavailable, reason_of
from proxy.ledger.topology import Topology
from proxy.observe.tasks import TaskKeeper

_log = logging.getLogger(__name__)
_QUIET = 5.0  # seconds without a message, after which the server is asked whether it is there
_PAUSE = 0.5  # seconds before a lost subscription is made anew
_ASK_AGAIN = 0.1  # seconds until a task that goes on is cancelled once more


@dataclass(frozen=True, slots=True)
class HangupRequest:
    """End the call `ref`, or every call of `trunk`: exactly one of them is set."""

    id: str
    ref: str | None
    trunk: str | None


@dataclass(frozen=True, slots=True)
class HangupResult:
    """`asked` instances heard the request, `instances` answered in time; `refs` are the calls that they ended
    or began to end."""

    asked: int
    instances: int
    refs: tuple[str, ...]


HangupHandler = Callable[[HangupRequest], Sequence[str] | Awaitable[Sequence[str]]]


class HangupBus:
    """Both ends of the bus, on connections of their own: it is used rarely, and waits."""

    def __init__(self, topology: Topology, *, deadline: float, keeper: TaskKeeper) -> None:
        self._topology = topology
        self._url = ""
        self._made: Redis | None = None
        self._deadline = deadline
        self._keeper = keeper
        self._handler: HangupHandler | None = None
        self._listening: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    async def request(self, *, ref: str | None, trunk: str | None, within: float) -> HangupResult:
        """Ask all instances and collect their answers for at most `within` seconds. Raises
        LedgerUnavailable."""
        if (ref is None) == (trunk is None):
            raise ValueError("a hang-up names either a call or a trunk")
        request_id = secrets.token_hex(8)
        message = json.dumps({"id": request_id, "ref": ref, "trunk": trunk})
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        answers = WHOLE.hangup_answers(request_id)
        answered = 0
        refs: list[str] = []
        try:
            async with asyncio.timeout(within):
                client = await self._client()
                asked = int(await client.publish(WHOLE.hangup, message))
            while answered < asked and (left := until - loop.time()) > 0:
                async with asyncio.timeout(left + 1):
                    # BLPOP counts in seconds and takes 0 for ever.
                    found = await client.blpop([answers], timeout=max(0.01, left))
                if found is not None:
                    answered += 1
                    refs += [str(one) for one in json.loads(found[1])]
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            self._url = ""  # it may be elsewhere by now
            raise LedgerUnavailable(connect_error_kind(error), f"hang-up: {reason_of(error)}") from None
        return HangupResult(asked, answered, tuple(refs))

    def serve(self, handler: HangupHandler) -> None:
        """Answer requests by `handler`, from now on and again after every lost connection."""
        self._handler = handler
        if self._listening is None:
            self._listening = self._keeper.start(self._listen(), name="ledger-hangup")

    async def subscribed(self) -> None:
        """Wait until this instance hears requests."""
        await self._subscribed.wait()

    @property
    def hearing(self) -> bool:
        """Whether this instance hears requests now."""
        return self._subscribed.is_set()

    async def close(self) -> None:
        """Hear no more, and disconnect."""
        # Once may not do: asyncio.wait_for, which redis-py writes through, forgets a cancellation that meets
        # a finished write (Python 3.11).
        while self._listening is not None and not self._listening.done():
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=_ASK_AGAIN)
        if self._made is not None:
            await self._made.aclose()

    async def _client(self) -> Redis:
        """For the server that has the ledger now. Raises LedgerUnavailable."""
        url = self._url or await self._topology.locate()
        if self._made is None or url != self._url:
            if self._made is not None:
                await self._made.aclose()
            self._made = Redis.from_url(
                url,
                protocol=2,
                socket_connect_timeout=self._deadline,
                socket_timeout=None,  # BLPOP waits; every wait has its own bound
                retry=Retry(NoBackoff(), 0),
                max_connections=8,
            )
            self._url = url
        return self._made

    async def _listen(self) -> None:
        while True:
            try:
                async with (await self._client()).pubsub() as channel:
                    await channel.subscribe(WHOLE.hangup)
                    await self._hear(channel)
            except (redis.exceptions.RedisError, OSError, TimeoutError, LedgerUnavailable) as error:
                self._url = ""  # it may be elsewhere by now
                _log.warning("hang-up requests are not heard at the moment: %s", error)
            self._subscribed.clear()
            await asyncio.sleep(_PAUSE)

    async def _hear(self, channel: PubSub) -> None:
        pinged = False
        while True:
            message = await channel.get_message(timeout=self._deadline if pinged else _QUIET)
            if message is None:
                # A server that went without a word looks like one with nothing to say.
                if pinged:
                    raise TimeoutError("no answer to a ping")
                await channel.ping()
                pinged = True
                continue
            pinged = False
            if message["type"] == "subscribe":
                self._subscribed.set()
            elif message["type"] == "message":
                await self._answer(message["data"])

    async def _answer(self, message: bytes) -> None:
        try:
            fields = json.loads(message)
            request = HangupRequest(str(fields["id"]), fields["ref"], fields["trunk"])
        except (ValueError, KeyError, TypeError):
            _log.warning("what came over the hang-up channel is no request")
            return
        assert self._handler is not None
        try:
            outcome = self._handler(request)
            refs = list(await outcome if inspect.isawaitable(outcome) else outcome)
        except Exception:
            _log.exception("hang-up %s failed", request)
            refs = []
        key = WHOLE.hangup_answers(request.id)
        client = await self._client()
        async with asyncio.timeout(self._deadline), client.pipeline(transaction=True) as pipe:
            pipe.rpush(key, json.dumps(refs))
            pipe.expire(key, HANGUP_SECONDS)
            await pipe.execute()
