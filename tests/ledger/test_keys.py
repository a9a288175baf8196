from __future__ import annotations

import re

from proxy.ledger import keys, lua


def test_all_keys_share_the_hash_tag() -> None:
    names = [keys.call("r"), keys.record("r"), keys.scope("trunk:é"), keys.window("s"), keys.admissions("s")]
    names += [
        keys.records("calls"),
        keys.hangup_answers("1"),
        keys.CLOCK,
        keys.LEASES,
        keys.EPOCH,
        keys.INSTANCES,
        keys.SCOPES,
        keys.AUDIT,
        keys.state("r"),
        keys.SECRET,
        keys.HANGUP,
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith(b"{tw}:") for name in names)


def test_scripts_make_the_same_names() -> None:
    """The scripts derive keys from a call's record: their letters are those of this module."""
    made = {
        letter
        for verb in lua.VERBS
        for letter in re.findall(r"prefix \.\. '(\w+:?)'", lua.script(verb).source.decode())
    }
    known = {
        keys.SCOPES[5:].decode(),
        keys.state("")[5:].decode(),
        keys.call("")[5:].decode(),
        keys.record("")[5:].decode(),
        keys.scope("")[5:].decode(),
        keys.window("")[5:].decode(),
        keys.LEASES[5:].decode(),
        "n:",
    }
    assert made == known
    for name in known | {"clock", "epoch", "instances", "audit", "c:", "secret", "records:", "hangup"}:
        assert f"`{{tw}}:{name}" in (keys.__doc__ or "")
