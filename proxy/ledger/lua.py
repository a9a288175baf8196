"""The verbs as Lua scripts: each file of scripts/ with the part that all share, and its name on the
server."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from proxy.ledger.resp import bulk

VERBS = (
    "reserve",
    "answered",
    "remember",
    "settle",
    "give_back",
    "renew",
    "register",
    "adopt",
    "lapsed",
    "sweep",
    "join",
    "floors",
    "audit",
    "usage",
    "tries",
    "calls",
    "leases",
    "records",
)

HOOK_VERBS = ("hook_watch", "hook_put", "hook_claim", "hook_settle", "hook_dead", "hook_sizes")
"""Those of the queue of events: the few connections that use them send them whole at first."""

_PARTS = {
    "reserve": ("velocity",),
    "tries": ("velocity",),
    **dict.fromkeys(("hook_put", "hook_claim", "hook_settle", "hook_dead"), ("hooks",)),
}
"""What else is put in front of a verb."""


class Script:
    """One verb's source and the two ways to call it: by digest, and whole when the server has forgotten
    it."""

    __slots__ = ("by_digest", "digest", "name", "source", "whole")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source.encode()
        # The digest is the server's name for a script (SCRIPT LOAD), not a safeguard.
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()
        self.by_digest = bulk(b"EVALSHA") + bulk(self.digest)
        self.whole = bulk(b"EVAL") + bulk(self.source)


@cache
def script(name: str) -> Script:
    """The script of a verb. Its first line, which declares its flags, stays the first."""
    folder = files("proxy.ledger") / "scripts"
    flags, _, body = (folder / f"{name}.lua").read_text("utf-8").partition("\n")
    parts = [(folder / f"{part}.lua").read_text("utf-8") for part in ("common", *_PARTS.get(name, ()))]
    return Script(name, "\n".join((flags, *parts, body)))
