"""Followed: the policy of the store as one instance has it, from the seed on."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from config.model import Config
from config.objects import Stored
from config.problem import Problem
from proxy.configuration import STORE, Compiled, load_own, load_policy
from proxy.ledger.embedded import EmbeddedServer
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.ledger.versions import Head, HeadMoved, StoredVersion, Versions
from proxy.objects.changes import diff
from proxy.objects.document import Document
from proxy.objects.errors import EditError
from proxy.objects.finishing import finish
from proxy.objects.seeding import document_of_file
from proxy.objects.store import NOTHING, Decks, Version, etag_of, read_version
from proxy.observe.clock import utc_now
from proxy.observe.turns import small_turns

_log = logging.getLogger(__name__)

AUTHOR = "trunkwarden"
PATIENCE = 3.0  # seconds in which the store must answer at the start
_PAUSE = 0.1
_EMPTY = "is empty: version {} stays in force; `trunkwarden policy apply` puts a policy there again"


class Followed:
    """What the store's head says, kept up to date. `version` is the one that `compile` compiles; `problem` is
    why it is not the head, where it cannot be."""

    def __init__(self, path: Path, config: Config, ledger_url: str | None = None) -> None:
        """`config` holds the own sections of the file at `path`; `ledger_url` stands in place of the
        configured one. An embedded server is started where there is none. Raises LedgerRefused."""
        self._path = path
        self._digest = config.digest
        url, data_dir = ledger_url or config.ledger.url, config.ledger.data_dir
        self._embedded = EmbeddedServer(data_dir) if url == "embedded" else None
        before = None if self._embedded is None else self._embedded.ensure_running
        self._versions = Versions(url, data_dir, before=before)
        self._decks = Decks(self._versions)
        self._stored = Stored(Document().sections())
        self.version: Version = NOTHING
        self.problem: Problem | None = None

    async def close(self) -> None:
        """Disconnect, and stop the server that was started here, if any."""
        await self._versions.close()
        if self._embedded is not None:
            await self._embedded.stop()

    async def open(self) -> tuple[Problem, ...]:
        """Take what is in the store, after the file's objects were put into an empty one. What is wrong with
        those: then there is nothing to follow. Raises LedgerUnavailable or LedgerRefused."""
        head = await self._first_head()
        if head.number == 0:
            problems = await self._seed()
            if problems:
                return problems
            head = await self._versions.head()
        elif await asyncio.to_thread(self._file_differs, await self._read(head)):
            _log.warning(
                "the policy is in the store, at version %d; the objects in %s differ and are not looked at:"
                " `trunkwarden policy plan` shows how",
                head.number,
                self._path,
            )
        await self._take(await self._read(head))
        return ()

    def compile(self) -> Compiled:
        """The file as it is now with the objects of `version`."""
        return load_policy(self._path, self._stored)

    async def follow(self, moved: Callable[[], Awaitable[None]]) -> None:
        """Call `moved` whenever there is another `version`, for ever."""

        async def take(head: Head) -> None:
            if etag_of(head) == self.version.etag:
                self.problem = None
                return
            if head.number == 0:
                self._complain(_EMPTY.format(self.version.number))
                return
            try:
                with small_turns():
                    await self._take(await self._read(head))
            except LedgerRefused as error:
                self._complain(str(error))
                return
            self.problem = None
            try:
                await moved()
            except Exception as error:  # else nothing would be followed any more
                _log.exception("version %d of the policy was not put in force", head.number)
                self.problem = Problem(STORE, 0, "", f"version {head.number} failed: {error}")

        await self._versions.follow(take)

    def _complain(self, text: str) -> None:
        _log.error("%s", text)
        self.problem = Problem(STORE, 0, "", text)

    async def _first_head(self) -> Head:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while True:
            try:
                return await self._versions.head()
            except LedgerUnavailable:
                if loop.time() >= until:
                    raise
            await asyncio.sleep(_PAUSE)

    async def _read(self, head: Head) -> Version:
        if head.number == 0:
            return NOTHING
        stored = await self._versions.load(head.number)
        if stored is None:
            raise LedgerUnavailable("other", f"version {head.number} of the policy is not there", sent=False)
        try:
            return await read_version(stored)
        except ValueError as error:
            raise LedgerRefused(f"version {head.number} of the policy cannot be read: {error}") from None

    async def _take(self, version: Version) -> None:
        decks = await self._decks.of(version.document)
        self._decks.keep_only(version.document)
        self.version, self._stored = version, Stored(version.document.sections(), decks)

    async def _seed(self) -> tuple[Problem, ...]:
        """Put the file's objects into the empty store; of several instances that try, one does it."""
        compiled = await asyncio.to_thread(load_policy, self._path)
        if compiled.problems:
            return compiled.problems
        document, rows = await asyncio.to_thread(document_of_file, self._path)
        if not len(document):
            return ()
        for data in rows.values():
            await self._versions.put_deck(data)
        at = utc_now()
        document = finish(Document(), document, self._digest, operator=True).stamped(Document(), at)
        changes = json.dumps([change.to_json() for change in diff(Document(), document)]).encode()
        version = StoredVersion(
            1,
            secrets.token_hex(8),
            at.isoformat(),
            AUTHOR,
            f"from {self._path.name}",
            changes,
            document.to_json(),
            document.decks(),
        )
        try:
            await self._versions.commit(Head(), version)
        except HeadMoved:
            return ()  # another instance was faster
        _log.info("the objects of %s are in the store now", self._path)
        return ()

    def _file_differs(self, version: Version) -> bool:
        """Whether the file has objects, and others than the store."""
        try:
            document, _ = document_of_file(self._path)
            document = finish(Document(), document, self._digest, operator=True)
        except (EditError, ValueError, OSError, KeyError, TypeError):
            return False  # nobody looks at them, so nobody has to mend them
        if not len(document):
            return False
        return _contents(document) != _contents(version.document)


def _contents(document: Document) -> set[str]:
    return {json.dumps([one.kind, one.name, one.spec], sort_keys=True) for one in document}


async def load_in_force(path: Path) -> Compiled:
    """What a file compiles to with the objects that the store has, for commands that look at it; what would
    seed the store where that is empty. Raises ValueError when the store is away."""
    own = await asyncio.to_thread(load_own, path)
    if own.config is None or not own.needs_store:
        return await asyncio.to_thread(load_policy, path)
    versions = Versions(own.config.ledger.url, own.config.ledger.data_dir)
    try:
        head = await versions.head()
        stored = await versions.load(head.number) if head.number else None
        if stored is None:
            return await asyncio.to_thread(load_policy, path)
        document = (await read_version(stored)).document
        decks = await Decks(versions).of(document)
        return await asyncio.to_thread(load_policy, path, Stored(document.sections(), decks))
    except (LedgerUnavailable, LedgerRefused) as error:
        raise ValueError(f"the policy is in the store, which cannot be asked: {error}") from None
    finally:
        await versions.close()


async def open_followed(path: Path, ledger_url: str | None = None) -> tuple[Followed | None, Compiled]:
    """Where the file says that the policy is in the store: what follows it, and what it compiles to now. The
    first is None where the file is the policy, or where there are problems. Raises LedgerUnavailable or
    LedgerRefused."""
    own = await asyncio.to_thread(load_own, path)
    if own.config is None or not own.needs_store:
        return None, await asyncio.to_thread(load_policy, path)
    followed = Followed(path, own.config, ledger_url)
    try:
        problems = await followed.open()
        compiled = (
            Compiled(None, None, problems, ()) if problems else await asyncio.to_thread(followed.compile)
        )
    except BaseException:
        await followed.close()
        raise
    if compiled.policy is None:
        await followed.close()
        return None, compiled
    return followed, compiled
