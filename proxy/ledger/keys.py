"""Every key of the ledger, in one place.

All begin with the hash tag `{tw}`, so that a Redis Cluster keeps them in one slot and one script may touch
all; with `shard_by: account` those of one shard begin with `{tw:account:acme}`, `{tw:trunk:x}` or
`{tw:provider:p}` in its place, and what belongs to no shard with `{tw}`. `ref` is a call's reference, `scope`
a scope's id (`trunk:office-pbx`), `stream` is `decisions`, `calls`, `audit`, `audit-customers` or
`turned-away`. Amounts are micro-units. Sizes are of the encodings that both servers choose by default.

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
    more with each adoption, `c` among the admissions of which moment it counts (µs, only where calls per
    second are limited), `s` spent and moved into the window, `h` its hold, `v` version of its state, `k`
    how many scopes, `1` and so on their ids.
`{tw}:k:<ref>`, hash, about 90 B, 180 s; a day when the call was swept
    With `x`, the tombstone of a call that ended: a late duplicate of its reservation finds it. `x` is 1, or 2
    when its lease had lapsed; `s` is then what it was charged.
`{tw}:x:<ref>`, string, about 2.5 kB, at most 64 KiB, as long as the call
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
`{tw}:v:<trunk>/<country>`, sorted set, about 100 B a callee, at most 20,000; a minute after the last attempt
    callee → time of the last attempt, µs by the server's own clock; only where the trunk has `velocity`.
`{tw}:t:<trunk>/<country>:<callee>`, list, 18 B an attempt, at most the higher threshold; a minute
    Times of the last attempts at a callee; only where `calls_per_callee` is set.
`{tw}:p:<scope>:<date>`, hash, about 60 B a callee, at most 200,000; 26 h
    callee → attempts in the calling window that began on that date; only where `calls_per_cld` is set.
`{tw}:records:<stream>`, stream, about 10,000 entries, for ever
    Records, one JSON line an entry in field `j`.
`{tw}:tokens`, hash, about 300 B a token, for ever
    The tokens of the HTTP API: id → JSON with name, scopes, account and the digest of the token.
`{tw}:secret`, string, 32 B, for ever
    The key that signs Record-Route.
`{tw}:hooks:d:<id>:<endpoint>`, hash, the event's size and about 100 B, until it is told; at most 1,000 an
endpoint, and 1,000 dead letters
    A delivery: `j` the event, `n` how often it was tried, `t` when it was put (ms), `w` why it failed last.
`{tw}:hooks:q:<endpoint>`, sorted set, about 60 B a delivery, while any wait
    id of an event → when it is due, ms since the epoch.
`{tw}:hooks:due`, sorted set, about 60 B an endpoint, while any wait
    endpoint → when its first delivery is due, ms since the epoch.
`{tw}:hooks:dead`, sorted set, about 60 B a dead letter, at most 1,000
    `<id>:<endpoint>` → when it was given up, ms since the epoch.
`{tw}:hooks:states`, hash, about 60 B a trunk or provider, for ever
    What was last told: `threshold:<trunk>`, `status:<trunk>`, `provider:<name>`, `policy`.
`{tw}:hooks:short`, hash, about 40 B a trunk, an hour after its last change
    trunk → micro-units that a call wanted and could not have.
`{tw}:hooks:up`, sorted set, about 60 B a provider, for ever
    provider → when an instance could last call it, ms since the epoch.
`{tw}:hooks:once:<event>:<trunk>`, string, about 80 B, a minute
    The event was told, and is not told again so soon.
`{tw}:hooks:leader`, string, about 60 B, 5 s
    The instance that watches thresholds and providers.
`{tw}:hooks:seq`, string, 16 B, for ever
    How many events there were.
`{tw}:shards`, set, about 40 B a shard, for ever
    The shards that were used, only where there are any.
`{tw}:policy`, hash, about 100 B, for ever
    The store of the policy's objects: `head` the number of the version in force, `token` its token, `first`
    the oldest version kept, `bytes` what all of them take with the decks that they brought.
`{tw}:policy:v:<number>`, hash, packed by zlib (a thousand trunks about 40 KB), the last 1,000 or 128 MiB
    A version: `token`, `at`, `author`, `comment`, `changes`, `document`, `decks` the digests that it names,
    `size`. The head is always kept.
`{tw}:policy:decks`, hash, about 90 B a deck, while a kept version names it, and ten minutes
    SHA-256 of a rate deck's rows → when they were put there (s), and their size.
`{tw}:policy:deck:<sha256>`, string, at most 64 MiB before it is packed by zlib, all of them 256 MiB; likewise
    A rate deck's CSV.
`{tw}:hangup`, channel
    Hang-up requests to the running instances.
`{tw}:hangup:<id>`, list, a reference a call, 60 s
    The answers to one request, one entry an instance.
"""

from __future__ import annotations

from typing import Final

STREAM_LENGTH: Final = 10_000
HANGUP_SECONDS: Final = 60


class Keys:
    """The names of the keys of one shard; of the ledger as a whole when `shard` is empty."""

    def __init__(self, shard: str = "") -> None:
        self.prefix: Final = b"{tw:%b}:" % shard.encode() if shard else b"{tw}:"
        self.clock: Final = self.prefix + b"clock"
        self.leases: Final = self.prefix + b"leases"
        self.epoch: Final = self.prefix + b"epoch"
        self.instances: Final = self.prefix + b"instances"
        self.audit: Final = self.prefix + b"audit"
        self.scopes: Final = self.prefix + b"scopes"
        self.secret: Final = self.prefix + b"secret"
        self.tokens: Final = self.prefix + b"tokens"
        self.shards: Final = self.prefix + b"shards"
        self.hangup: Final = self.prefix + b"hangup"
        self.policy: Final = self.prefix + b"policy"
        self.decks: Final = self.prefix + b"policy:decks"

    def state(self, ref: str) -> bytes:
        """What another instance needs to go on with the call."""
        return self.prefix + b"x:" + ref.encode()

    def call(self, ref: str) -> bytes:
        """The hash of a call."""
        return self.prefix + b"k:" + ref.encode()

    def record(self, ref: str) -> bytes:
        """What the call's owner wants shown of it."""
        return self.prefix + b"d:" + ref.encode()

    def scope(self, scope_id: str) -> bytes:
        """The numbers of a scope."""
        return self.prefix + b"s:" + scope_id.encode()

    def window(self, scope_id: str) -> bytes:
        """The buckets of a scope's rolling window."""
        return self.prefix + b"w:" + scope_id.encode()

    def admissions(self, scope_id: str) -> bytes:
        """The times of a scope's last admissions."""
        return self.prefix + b"c:" + scope_id.encode()

    def records(self, stream: str) -> bytes:
        """A stream of records."""
        return self.prefix + b"records:" + stream.encode()

    def version(self, number: int) -> bytes:
        """A version of the policy's objects."""
        return self.prefix + b"policy:v:%d" % number

    def deck(self, digest: str) -> bytes:
        """The rows of a rate deck."""
        return self.prefix + b"policy:deck:" + digest.encode()

    def hangup_answers(self, request_id: str) -> bytes:
        """The answers to one hang-up request."""
        return self.prefix + b"hangup:" + request_id.encode()


WHOLE: Final = Keys()
