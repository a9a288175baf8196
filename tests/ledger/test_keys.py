from __future__ import annotations

import re

from proxy.ledger import keys, lua


def test_all_keys_share_the_hash_tag() -> None:
    names = [
        keys.WHOLE.call("r"),
        keys.WHOLE.record("r"),
        keys.WHOLE.scope("trunk:é"),
        keys.WHOLE.window("s"),
        keys.WHOLE.admissions("s"),
    ]
    names += [
        keys.WHOLE.records("calls"),
        keys.WHOLE.hangup_answers("1"),
        keys.WHOLE.clock,
        keys.WHOLE.leases,
        keys.WHOLE.epoch,
        keys.WHOLE.instances,
        keys.WHOLE.scopes,
        keys.WHOLE.audit,
        keys.WHOLE.state("r"),
        keys.WHOLE.secret,
        keys.WHOLE.hangup,
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
        keys.WHOLE.scopes[5:].decode(),
        keys.WHOLE.state("")[5:].decode(),
        keys.WHOLE.call("")[5:].decode(),
        keys.WHOLE.record("")[5:].decode(),
        keys.WHOLE.scope("")[5:].decode(),
        keys.WHOLE.window("")[5:].decode(),
        keys.WHOLE.leases[5:].decode(),
        keys.WHOLE.admissions("")[5:].decode(),
        "n:",
        "v:",
        "t:",
        "p:",
    }
    assert made == known
    for name in known | {"clock", "epoch", "instances", "audit", "c:", "secret", "records:", "hangup"}:
        assert f"`{{tw}}:{name}" in (keys.__doc__ or "")
