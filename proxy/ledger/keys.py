"""Every key of the ledger, in one place.

All begin with the hash tag `{tw}`, so that a Redis Cluster keeps them in one slot and one script may touch
all. `ref` is a call's reference, `scope` a scope's id (`trunk:office-pbx`), `stream` is `decisions` or
`calls`. Amounts are micro-units. Sizes are of the encodings that both servers choose by default.

`{tw}:clock`, string, 16 B, for ever
    The highest time seen, µs since the epoch: when the server's clock steps back, the ledger's is held here.
`{tw}:leases`, sorted set, about 110 B a live call, while calls live
    ref → when its lease lapses, ms since the epoch.
`{tw}:epoch`, hash, about 100 B, for ever
    `id` of the ledger's epoch and `run`, the run id of the server on which it was opened. While it is
    rebuilt: `next` its id, `since` when that began (ms), `emptied` when no data at all was left, `a:<owner>`
    1 for an instance that is waited for and 0 for one that told its calls, `f:<window>:<scope>` what a scope
    had spent when it was last seen.
`{tw}:instances`, sorted set, about 60 B an instance, an hour after its last sign of life
    owner → when it was last heard of, ms since the epoch.
`{tw}:scopes`, set, about 30 B a scope, for ever
    Every scope that was used, so that one whose numbers were lost is told from a new one.
`{tw}:audit`, string, 40 B, 50 s
    The instance that audits this minute.
`{tw}:k:<ref>`, hash (listpack), about 200 B, as long as the call
    A live call: `r` reserved at and `a` answered at (ms), `t` trunk, `o` owner, `e` epoch of the lease, one
    more with each adoption, `s` spent and moved into the window, `h` its hold, `v` version of its state, `k`
    how many scopes, `1` to `4` their ids.
`{tw}:k:<ref>`, hash, about 90 B, 180 s; a day when the call was swept
    With `x`, the tombstone of a call that ended: a late duplicate of its reservation finds it. `x` is 1, or 2
    when its lease had lapsed; `s` is then what it was charged.
`{tw}:x:<ref>`, string, at most 16 KiB, as long as the call
    The state that another instance needs to go on with the call.
`{tw}:d:<ref>`, string, the record's size, as long as the call
    What its owner wants shown of it, JSON.
`{tw}:s:<scope>`, hash (listpack), about 150 B, for ever, one a configured scope
    `n` live calls, `r` reserved by them, `w` sum of the rolling window, `b` and `l` minutes of its oldest and
    newest bucket, `d` sum of the UTC day number `D`. Both windows are always kept: a change of window needs
    no migration.
`{tw}:w:<scope>`, list, at most 1,441 × 24 B, 25 h after its newest bucket was begun
    The rolling window's buckets, oldest first, as `minute:sum`; a minute without cost has none.
`{tw}:c:<scope>`, list, at most `cps_limit` × 18 B, 2 s after its newest entry
    Times of the last admissions, µs by the server's own clock; only where `cps_limit` is set.
`{tw}:n:<nonce>.<count>`, string, about 120 B, 120 s
    The call for which digest credentials were used, so that nobody uses them again.
`{tw}:records:<stream>`, stream, about 10,000 entries, for ever
    Records, one JSON line an entry in field `j`.
`{tw}:secret`, string, 32 B, for ever
    The key that signs Record-Route.
`{tw}:hangup`, channel
    Hang-up requests to the running instances.
`{tw}:hangup:<id>`, list, a reference a call, 60 s
    The answers to one request, one entry an instance.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = b"{tw}:"
CLOCK: Final = PREFIX + b"clock"
LEASES: Final = PREFIX + b"leases"
EPOCH: Final = PREFIX + b"epoch"
INSTANCES: Final = PREFIX + b"instances"
AUDIT: Final = PREFIX + b"audit"
SCOPES: Final = PREFIX + b"scopes"
SECRET: Final = PREFIX + b"secret"
HANGUP: Final = PREFIX + b"hangup"

STREAM_LENGTH: Final = 10_000
HANGUP_SECONDS: Final = 60


def state(ref: str) -> bytes:
    """What another instance needs to go on with the call."""
    return b"{tw}:x:" + ref.encode()


def call(ref: str) -> bytes:
    """The hash of a call."""
    return b"{tw}:k:" + ref.encode()


def record(ref: str) -> bytes:
    """What the call's owner wants shown of it."""
    return b"{tw}:d:" + ref.encode()


def scope(scope_id: str) -> bytes:
    """The numbers of a scope."""
    return b"{tw}:s:" + scope_id.encode()


def window(scope_id: str) -> bytes:
    """The buckets of a scope's rolling window."""
    return b"{tw}:w:" + scope_id.encode()


def admissions(scope_id: str) -> bytes:
    """The times of a scope's last admissions."""
    return b"{tw}:c:" + scope_id.encode()


def records(stream: str) -> bytes:
    """A stream of records."""
    return b"{tw}:records:" + stream.encode()


def hangup_answers(request_id: str) -> bytes:
    """The answers to one hang-up request."""
    return b"{tw}:hangup:" + request_id.encode()
