"""PolicyEditor: the one way in which the policy's objects are read and changed while the program runs.

    editor = open_editor(config_file, "store", ledger_url, data_dir)   # over HTTP: request.app.state.policy
    version = await editor.current()                       # Version: number, etag, document
    trunk = version.document.get("trunks", "office")       # PolicyObject; raises Unknown (404)
    trunk.full, trunk.shown, trunk.spec, trunk.extra, trunk.id, trunk.etag, trunk.created_at

    id = new_id()
    version = await editor.change(
        "token:ops", "a trunk for Acme",
        lambda document: document.create("trunks", "acme", {"allowed_sip_ips": ["192.0.2.7"], ...}, id=id),
    )
    await editor.change(
        who, "", lambda document: document.require("trunks", id, etag).patch("trunks", id, changes)
    )
    digest = await editor.put_deck(csv_bytes)               # then create rate_decks with {"sha256": digest}

Everything raises LedgerUnavailable (503) when the ledger is away. A change raises ReadOnly (409), Conflict
(412), Unknown (404) or Invalid (422, with all problems), and then nothing was changed. An operation may be
called more than once, on a newer document each time: preconditions of one object belong into it, by
`require`; `expected` is the etag of the whole. The document that is answered holds the objects in
canonical form.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from config.objects import Stored
from config.problem import Finding, Problem
from config.rate_deck import read_deck
from proxy.configuration import load_own, load_policy
from proxy.ledger.ledger import LedgerUnavailable
from proxy.ledger.versions import (
    DeckMissing,
    Head,
    HeadMoved,
    StoredVersion,
    StoreFull,
)
from proxy.ledger.versions import Versions as LedgerVersions
from proxy.objects.changes import Change, diff
from proxy.objects.document import Document, new_id
from proxy.objects.errors import Conflict, EditError, Invalid, ReadOnly, Unknown
from proxy.objects.finishing import finish
from proxy.objects.seeding import document_as_written
from proxy.objects.store import NOTHING, Decks, Entry, Version, Versions, entry_of, etag_of, read_version
from proxy.observe.clock import utc_now

FRESH_SECONDS: Final = 0.5
PATIENCE: Final = 15.0  # seconds in which a change is tried while others change the policy as well
MOST_AUTHOR: Final = 200
MOST_COMMENT: Final = 1000

Operation = Callable[[Document], Document]


class PolicyEditor:
    """Reads and changes the policy's objects. Several may work on one store."""

    def __init__(self, path: Path, versions: Versions | None) -> None:
        """`path` is the configuration file, whose own sections belong to every policy; `versions` None: its
        objects are the policy, and nothing can be changed here."""
        self._path = path
        self._versions = versions
        self._decks = None if versions is None else Decks(versions)
        self._known = NOTHING
        self._asked_at = float("-inf")
        self._reading = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._file_seen: tuple[int, int] | None = None
        self.on_change: list[Callable[[Version], None]] = []

    @property
    def read_only(self) -> str | None:
        """Why nothing can be changed here; None: it can."""
        return _READ_ONLY.format(self._path) if self._versions is None else None

    async def close(self) -> None:
        """Disconnect from the store."""
        if self._versions is not None:
            await self._versions.close()

    # Reading

    async def current(self) -> Version:
        """The version in force, at most a second old, never older than this editor's own last change. Where
        the policy is in the file: what the file says, as version 0."""
        async with self._reading:
            if self._versions is None:
                return await self._of_file()
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= FRESH_SECONDS:
                await self._read_head(self._versions)
                self._asked_at = now
            return self._known

    async def history(self, before: int | None = None, limit: int = 50) -> list[Entry]:
        """Versions without their documents, newest first; with `before` those below that number."""
        if self._versions is None:
            return []
        return [entry_of(stored) for stored in await self._versions.history(before, limit)]

    async def version(self, number: int) -> Version | None:
        """A version with its document; None when there is none of that number, or none any more."""
        if self._versions is None:
            return None
        stored = await self._versions.load(number)
        return None if stored is None else await read_version(stored)

    async def deck(self, digest: str) -> bytes | None:
        """The rows of that SHA-256, CSV."""
        return None if self._versions is None else await self._versions.deck(digest)

    # Writing

    async def change(
        self,
        author: str,
        comment: str,
        operation: Operation,
        expected: str | None = None,
        *,
        operator: bool = False,
    ) -> Version:
        """Make the document that `operation` gives the policy. The version that is in force then: a new one,
        unless nothing differs.

        `expected`: the etag of the version that the caller saw; another one in force is a Conflict.
        `operator`: whether what is new may refer to the environment and to files of the machine.
        """
        versions = self._writable()
        async with self._changing:
            until = asyncio.get_running_loop().time() + PATIENCE
            while asyncio.get_running_loop().time() < until:
                version = await self._try(versions, author, comment, operation, expected, operator)
                if version is not None:
                    return version
                await asyncio.sleep(secrets.randbelow(100) / 1000)
        raise Conflict("others change the policy all the time: try again")

    async def check(
        self, operation: Operation, *, operator: bool = False
    ) -> tuple[Document, tuple[Change, ...]]:
        """What `change` would make of the policy now, and how it differs. Raises as `change`."""
        versions = self._writable()
        before = await self._fresh(versions)
        document, changes = await self._prepared(before.document, operation, operator)
        return document, changes

    async def roll_back(
        self, author: str, number: int, comment: str = "", expected: str | None = None
    ) -> Version:
        """Make a new version with what the policy was at version `number`. Raises as `change`; Unknown when
        that version is not kept."""
        old = await self.version(number)
        if old is None:
            self._writable()
            raise Unknown("versions", str(number))
        text = comment or f"back to version {number}"
        return await self.change(author, text, lambda _: old.document, expected, operator=True)

    async def put_deck(self, data: bytes) -> str:
        """Keep the rows of a rate deck, CSV; their digest, for its `sha256`. What no version names within ten
        minutes is dropped. Raises Invalid with what is wrong in them."""
        versions = self._writable()
        digest = await self.know_deck(data)
        try:
            await versions.put_deck(data)
        except StoreFull as error:
            raise Invalid([Finding("", str(error))]) from None
        return digest

    async def know_deck(self, data: bytes) -> str:
        """As `put_deck`, but for `check` alone: nothing is written."""
        self._writable()
        read = await asyncio.to_thread(read_deck, data)
        problems = [
            Finding(
                f"line {fault.line}", f"{fault.column}: {fault.message}" if fault.column else fault.message
            )
            for fault in read.faults
        ]
        if not problems and not len(read.deck):
            problems = [Finding("", "has no rows")]
        if problems:
            raise Invalid(problems)
        digest = sha256(data).hexdigest()
        assert self._decks is not None
        self._decks.add(digest, read)
        return digest

    async def _try(
        self,
        versions: Versions,
        author: str,
        comment: str,
        operation: Operation,
        expected: str | None,
        operator: bool,
    ) -> Version | None:
        """One try; None when somebody else was faster."""
        before = await self._fresh(versions)
        if expected is not None and expected != before.etag:
            raise Conflict(f"the policy is at version {before.number} by now")
        document, changes = await self._prepared(before.document, operation, operator)
        if not changes:
            return before
        at = max(utc_now(), before.at)
        document = document.stamped(before.document, at)
        head = Head(before.number + 1, secrets.token_hex(8))
        stored = StoredVersion(
            head.number,
            head.token,
            at.isoformat(),
            author[:MOST_AUTHOR],
            comment[:MOST_COMMENT],
            json.dumps([change.to_json() for change in changes], ensure_ascii=False).encode(),
            await asyncio.to_thread(document.to_json),
            document.decks(),
        )
        try:
            await versions.commit(_head_of(before), stored)
        except HeadMoved:
            if expected is not None:
                raise Conflict("somebody else has changed the policy meanwhile") from None
            return None
        except DeckMissing as error:
            raise Invalid([_no_rows(str(error))]) from None
        except StoreFull as error:
            raise Invalid([Finding("", str(error))]) from None
        version = Version(entry_of(stored), document)
        self._take(version)
        if self._decks is not None:
            self._decks.keep_only(document)
        if set(document.decks()) != set(before.document.decks()):
            await versions.forget_decks()
        for tell in self.on_change:
            tell(version)
        return version

    async def _prepared(
        self, old: Document, operation: Operation, operator: bool
    ) -> tuple[Document, tuple[Change, ...]]:
        """The document that an operation gives, judged. Raises Invalid with all problems."""
        new = operation(old)
        if new is old:
            return old, ()
        own = await asyncio.to_thread(load_own, self._path)
        if own.config is None:
            raise Invalid(_findings(own.problems))
        new = finish(old, new, own.config.digest, operator=operator)
        changes = diff(old, new)
        if changes:
            assert self._decks is not None
            decks = await self._decks.of(new)
            stored = Stored(new.sections(), decks)
            compiled = await asyncio.to_thread(load_policy, self._path, stored)
            if compiled.problems:
                raise Invalid(_findings(compiled.problems))
        return new, changes

    def _writable(self) -> Versions:
        if self._versions is None:
            raise ReadOnly(_READ_ONLY.format(self._path))
        return self._versions

    # The head

    async def _fresh(self, versions: Versions) -> Version:
        """What is in force now."""
        async with self._reading:
            await self._read_head(versions)
            return self._known

    async def _read_head(self, versions: Versions) -> None:
        head = await versions.head()
        if etag_of(head) == self._known.etag:
            return
        if head.number == 0:
            self._known = NOTHING
            return
        stored = await versions.load(head.number)
        if stored is not None:
            try:
                self._known = await read_version(stored)
            except ValueError as error:
                text = f"version {head.number} of the policy cannot be read: {error}"
                raise LedgerUnavailable("other", text, sent=False) from None

    def _take(self, version: Version) -> None:
        if version.number > self._known.number:
            self._known = version
            self._asked_at = asyncio.get_running_loop().time()

    async def _of_file(self) -> Version:
        seen = _stamp_of(self._path)
        if seen != self._file_seen:
            compiled = await asyncio.to_thread(load_policy, self._path)
            if not compiled.problems:  # else what was there before is still in force
                document = await asyncio.to_thread(document_as_written, self._path)
                self._known = Version(NOTHING.entry, document)
            self._file_seen = seen
        return self._known


def open_editor(path: Path, source: str, ledger_url: str, data_dir: Path) -> PolicyEditor:
    """The editor of the policy of the configuration file `path`, whose `policy.source` is given, on a ledger
    as `connect_ledger` takes it. Connects when it is first asked."""
    return PolicyEditor(path, LedgerVersions(ledger_url, data_dir) if source == "store" else None)


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _head_of(version: Version) -> Head:
    number, _, token = version.etag.partition("-")
    return Head(int(number), token)


def _findings(problems: tuple[Problem, ...]) -> list[Finding]:
    """What is in the file is told with its place there."""
    return [
        Finding(problem.path, problem.message)
        if not problem.line
        else Finding(problem.path, f"{problem.message} ({problem.file}:{problem.line})")
        for problem in problems
    ]


def _no_rows(digest: str) -> Finding:
    return Finding("rate_decks", f"the store has no rows of the digest {digest}: put them there first")


_READ_ONLY = (
    "the policy is in `{}` alone: change that file and reload it, or set `policy: {{source: store}}` in it,"
    " so that the policy is kept in the ledger and can be changed here"
)

__all__ = [
    "Conflict",
    "Document",
    "EditError",
    "Entry",
    "Invalid",
    "Operation",
    "PolicyEditor",
    "ReadOnly",
    "Unknown",
    "Version",
    "new_id",
    "open_editor",
]
