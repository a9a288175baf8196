"""What is awaited of the ledger: one command, one future."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from proxy.ledger.connection import Command
from proxy.ledger.ledger import LedgerObserver, LedgerUnavailable
from proxy.ledger.link import Link
from proxy.ledger.lua import script
from proxy.ledger.resp import ServerError, bulks, command, error_kind


class Requests:
    """Sends over a link. Every future fails with LedgerUnavailable, and so does sending while the link is
    down."""

    def __init__(self, link: Link, observer: LedgerObserver) -> None:
        self.link = link
        self._observer = observer
        self._loop = asyncio.get_running_loop()

    def script(self, verb: str, names: Sequence[bytes], arguments: Sequence[bytes]) -> asyncio.Future[object]:
        """Run the script of a verb on the keys `names`."""
        tail = bulks((b"%d" % len(names), *names, *arguments))
        return self._await(Command(verb, script(verb), 3 + len(names) + len(arguments), tail, self, None))

    def plain(self, verb: str, *arguments: bytes) -> asyncio.Future[object]:
        """Run a command of the server's own; `verb` names it to the observer."""
        return self._await(Command(verb, None, 0, command(*arguments), self, None))

    def _await(self, command: Command) -> asyncio.Future[object]:
        future: asyncio.Future[object] = self._loop.create_future()
        command.item = future
        self.link.submit(command)
        self.link.flush_soon()
        return future

    # Sink

    def replied(self, command: Command, reply: object) -> None:
        future = cast("asyncio.Future[object]", command.item)
        if future.done():
            return
        if isinstance(reply, ServerError):
            kind = error_kind(reply)
            self._observer.ledger_error(kind)
            future.set_exception(LedgerUnavailable(kind, f"ledger refused `{command.verb}`: {reply}"))
        else:
            future.set_result(reply)

    def lost(self, command: Command, kind: str) -> None:
        self._observer.ledger_error(kind)
        future = cast("asyncio.Future[object]", command.item)
        if not future.done():
            future.set_exception(LedgerUnavailable(kind, f"no answer to `{command.verb}` ({kind})"))


def abandon(futures: Sequence[asyncio.Future[object]]) -> None:
    """One of several failed: nobody will ask for the others' errors."""
    for future in futures:
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            future.exception()
