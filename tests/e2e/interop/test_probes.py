"""Probes of calls between telephones: what they answer, and that their calls go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.configuration import WASHINGTON, configuration, provider, trunk
from tests.e2e.interop.baresip import Baresip
from tests.e2e.interop.installed import needs_module, needs_program
from tests.e2e.interop.pjsip import Pjsip
from tests.e2e.interop.sip_log import answers
from tests.e2e.ports import PROVIDER
from tests.e2e.sip_text import Dialog, fresh
from tests.e2e.waiting import eventually

DESK = "127.0.0.10"
WIRE_SECONDS = 20.0

# What each answers to an OPTIONS in its call with a CSeq below the last that it saw, or 0 where it saw
# none. baresip does not look at the CSeq.
TO_PROBES = {"pjsip": {500}, "baresip": {200}}


class Phone:
    """A telephone that answers every call, of one kind or the other."""

    def __init__(self, kind: str, host: str, folder: Path) -> None:
        self.kind = kind
        self._one: Baresip | Pjsip
        if kind == "baresip":
            needs_program("baresip", "baresip-core")
            self._one = Baresip(folder, host, WASHINGTON, answers=True)
        else:
            needs_module("pjsua2")
            self._one = Pjsip(folder, host, WASHINGTON, answers=True, strict=False)
        self.address = self._one.address
        self.stop = self._one.stop

    def do(self, what: str, to: str = "") -> None:
        """`dial`, `hold` or `hangup`: both know them."""
        if isinstance(self._one, Baresip):
            self._one.command(what, to)
        elif to:
            self._one.do(what, to=to)
        else:
            self._one.do(what)

    def answers(self, method: str) -> list[int]:
        """The statuses of the answers that it has sent and received."""
        return answers(self._one.printed(), method)


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Callable[[str, str], Phone]]:
    made: list[Phone] = []

    def make(kind: str, host: str) -> Phone:
        made.append(Phone(kind, host, tmp_path / f"phone-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize(("caller_kind", "callee_kind"), [("baresip", "pjsip"), ("pjsip", "baresip")])
def test_probes_disturb_no_call(serve, redis_server, phone, tmp_path, caller_kind, callee_kind) -> None:
    callee, caller = phone(callee_kind, PROVIDER), phone(caller_kind, DESK)
    proxy = serve(
        configuration(
            tmp_path / "configuration",
            redis_server.url,
            [provider("carrier", callee.address)],
            [trunk("desk", DESK, call_probe_seconds=1)],
        )
    )
    caller.do("dial", f"sip:{WASHINGTON}@{proxy.address[0]}:{proxy.address[1]}")
    for one in (caller, callee):
        eventually(lambda one=one: len(one.answers("OPTIONS")) >= 3, WIRE_SECONDS, f"probes of {one.kind}")
        assert set(one.answers("OPTIONS")) <= TO_PROBES[one.kind]

    # Their own requests still pass, in both directions, and so do the probes after them.
    for one in (caller, callee):
        before = one.answers("INVITE").count(200)
        one.do("hold")  # re-INVITE
        eventually(lambda one=one, n=before: one.answers("INVITE").count(200) > n, WIRE_SECONDS, "re-INVITE")
        seen = len(one.answers("OPTIONS"))
        eventually(lambda one=one, n=seen: len(one.answers("OPTIONS")) > n, WIRE_SECONDS, "another probe")
    assert proxy.usage("desk")["active_calls"] == 1

    callee.do("hangup")
    for one in (caller, callee):
        eventually(lambda one=one: one.answers("BYE") == [200], WIRE_SECONDS, "the end of the call")
    proxy.wait_until_idle("desk")


@pytest.mark.parametrize(("kind", "status"), [("pjsip", 481), ("baresip", 200)])
def test_what_a_phone_without_the_call_answers(phone, new_peer, kind, status) -> None:
    """baresip takes any OPTIONS for one outside of dialogs: started again it seems alive to a probe, and its
    ghost calls are left to the session timer."""
    one, peer = phone(kind, PROVIDER), new_peer(DESK)
    dialog = Dialog(
        fresh("call"),
        f"<sip:desk@{peer.host_port}>;tag=a",
        f"<sip:{WASHINGTON}@{PROVIDER}>;tag=gone",
        f"sip:{WASHINGTON}@{one.address[0]}:{one.address[1]}",
        [],
        peer.host_port,
    )
    peer.send(dialog.request("OPTIONS"), one.address)
    peer.expect_response(status, "OPTIONS")
