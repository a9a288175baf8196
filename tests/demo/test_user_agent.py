from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.demo.call import IncomingCall
from proxy.demo.user_agent import UserAgent, session_description
from proxy.sip.timers import Timers
from tests.demo.wire import Wire, header, request, response

FAST = Timers(t1=0.02, t2=0.08, t4=0.1)
"""Where nobody answers. A pause of the machine makes these repeat what was answered, or give it up."""

SLOW = Timers(t1=5.0, t2=5.0)
"""Where everybody answers."""

LIMIT = 30.0


class Answerer:
    """A user agent that keeps what comes in, for the test to deal with."""

    def __init__(self, timers: Timers = SLOW) -> None:
        self.calls: asyncio.Queue[IncomingCall] = asyncio.Queue()
        self.agent = UserAgent("127.0.0.1", on_call=self.calls.put_nowait, timers=timers)

    async def next(self) -> IncomingCall:
        async with asyncio.timeout(LIMIT):
            return await self.calls.get()


@pytest.fixture
async def caller() -> AsyncIterator[UserAgent]:
    agent = UserAgent("127.0.0.1", timers=SLOW)
    yield agent
    agent.close()


@pytest.fixture
async def hasty_caller() -> AsyncIterator[UserAgent]:
    agent = UserAgent("127.0.0.1", timers=FAST)
    yield agent
    agent.close()


@pytest.fixture
async def callee() -> AsyncIterator[Answerer]:
    answerer = Answerer()
    yield answerer
    answerer.agent.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    bare = Wire()
    await bare.open()
    yield bare
    bare.close()


async def test_a_call_from_ring_to_bye(caller: UserAgent, callee: Answerer) -> None:
    placed = caller.call("+442079460123", callee.agent.address)
    came = await callee.next()
    assert came.number == "+442079460123"
    came.ring()
    async with asyncio.timeout(LIMIT):
        await placed.ringing.wait()
        came.answer()
        outcome = await placed.outcome()
        await came.acknowledged.wait()
        assert (outcome.status, outcome.phrase, outcome.code) == (200, "OK", None)
        assert placed.provisional == [180]
        assert await placed.hang_up() == 200
        await came.ended.wait()
    assert await placed.hang_up() is None
    assert await came.hang_up() is None


async def test_the_called_side_hangs_up(caller: UserAgent, callee: Answerer) -> None:
    placed = caller.call("1", callee.agent.address)
    came = await callee.next()
    came.answer()
    async with asyncio.timeout(LIMIT):
        await placed.outcome()
        assert await came.hang_up() == 200
        await placed.ended.wait()


async def test_a_refused_call(caller: UserAgent, callee: Answerer) -> None:
    placed = caller.call("1", callee.agent.address)
    came = await callee.next()
    came.refuse(486, b"Busy Here")
    came.answer()  # too late to matter
    async with asyncio.timeout(LIMIT):
        outcome = await placed.outcome()
    assert (outcome.status, outcome.phrase) == (486, "Busy Here")
    assert placed.dialog is None
    assert came.final_status == 486


async def test_a_cancelled_call(caller: UserAgent, callee: Answerer) -> None:
    placed = caller.call("1", callee.agent.address)
    came = await callee.next()
    came.ring()
    async with asyncio.timeout(LIMIT):
        await placed.ringing.wait()
        placed.cancel()
        assert (await placed.outcome()).status == 487
    assert came.final_status == 487
    assert came.ended.is_set()


async def test_nobody_is_at_home(caller: UserAgent, callee: Answerer) -> None:
    placed = callee.agent.call("1", caller.address)
    async with asyncio.timeout(LIMIT):
        assert (await placed.outcome()).status == 480


async def test_silence_is_408(hasty_caller: UserAgent, wire: Wire) -> None:
    placed = hasty_caller.call("1", wire.address)
    async with asyncio.timeout(LIMIT):
        assert (await placed.outcome()).status == 408


async def test_a_bye_without_an_answer_is_408(hasty_caller: UserAgent, wire: Wire) -> None:
    placed = hasty_caller.call("1", wire.address)
    wire.send(response(await wire.next(b"INVITE"), b"200 OK", wire), hasty_caller.address)
    async with asyncio.timeout(LIMIT):
        await placed.outcome()
        assert await placed.hang_up() == 408


async def test_every_repeated_200_is_acknowledged(caller: UserAgent, wire: Wire) -> None:
    placed = caller.call("1", wire.address)
    ok = response(await wire.next(b"INVITE"), b"200 OK", wire)
    wire.send(ok, caller.address)
    first = await wire.next(b"ACK")
    wire.send(ok, caller.address)
    assert await wire.next(b"ACK") == first
    assert header(first, b"CSeq") == b"1 ACK"
    assert header(first, b"To").endswith(b";tag=far")
    assert first.startswith(b"ACK sip:far@127.0.0.1:%d " % wire.address[1])
    assert placed.dialog is not None


async def test_the_200_is_repeated_until_the_ack(wire: Wire) -> None:
    callee = Answerer(Timers(t1=0.08, t2=0.08))
    wire.send(request(b"INVITE", wire), callee.agent.address)
    (await callee.next()).answer()
    first = await wire.next(b"SIP/2.0 200")
    assert await wire.next(b"SIP/2.0 200") == first
    assert b"m=audio" in first
    ack = request(b"ACK", wire, to=header(first, b"To"), branch=b"z9hG4bKack")
    wire.send(ack, callee.agent.address)
    probe = request(b"OPTIONS", wire, to=header(first, b"To"), cseq=2, branch=b"z9hG4bKprobe")
    wire.send(probe, callee.agent.address)
    # What came before it was under way already; it came after the ACK.
    while header(await wire.next(b"SIP/2.0 200"), b"CSeq") != b"2 OPTIONS":
        pass
    await asyncio.sleep(4 * 0.08)
    assert wire.received.empty()
    callee.agent.close()


async def test_no_ack_at_all_ends_the_call(wire: Wire) -> None:
    callee = Answerer(FAST)
    wire.send(request(b"INVITE", wire), callee.agent.address)
    came = await callee.next()
    came.answer()
    bye = await wire.next(b"BYE")
    assert header(bye, b"CSeq") == b"1 BYE"
    assert came.ended.is_set()
    callee.agent.close()


@pytest.mark.parametrize(
    ("method", "cseq", "status"),
    [
        (b"BYE", 2, b"200"),
        (b"OPTIONS", 2, b"200"),
        (b"INVITE", 2, b"488"),
        (b"INFO", 2, b"405"),
        (b"BYE", 1, b"500"),
    ],
)
async def test_requests_within_a_dialog(
    callee: Answerer, wire: Wire, method: bytes, cseq: int, status: bytes
) -> None:
    wire.send(request(b"INVITE", wire), callee.agent.address)
    came = await callee.next()
    came.answer()
    to = header(await wire.next(b"SIP/2.0 200"), b"To")
    wire.send(request(b"ACK", wire, to=to, branch=b"z9hG4bKack"), callee.agent.address)
    async with asyncio.timeout(LIMIT):
        await came.acknowledged.wait()
    wire.send(request(method, wire, to=to, cseq=cseq, branch=b"z9hG4bKnext"), callee.agent.address)
    while True:
        answer = await wire.next(b"SIP/2.0")
        if header(answer, b"CSeq") == b"%d %s" % (cseq, method):
            break
    assert answer.startswith(b"SIP/2.0 " + status)
    assert came.ended.is_set() == (method == b"BYE" and status == b"200")


@pytest.mark.parametrize(
    ("method", "to", "status"),
    [
        (b"BYE", b"<sip:100@127.0.0.1>;tag=nobody", b"481"),
        (b"OPTIONS", b"<sip:100@127.0.0.1>", b"200"),
        (b"REGISTER", b"<sip:100@127.0.0.1>", b"405"),
    ],
)
async def test_requests_outside_of_any(
    callee: Answerer, wire: Wire, method: bytes, to: bytes, status: bytes
) -> None:
    wire.send(request(method, wire, to=to), callee.agent.address)
    assert (await wire.next(b"SIP/2.0")).startswith(b"SIP/2.0 " + status)


async def test_an_invite_without_contact_is_refused_when_it_is_answered(callee: Answerer, wire: Wire) -> None:
    data = request(b"INVITE", wire).replace(b"Contact:", b"X-Contact:")
    wire.send(data, callee.agent.address)
    (await callee.next()).answer()
    assert (await wire.next(b"SIP/2.0")).startswith(b"SIP/2.0 400")


async def test_an_address_that_is_not_ours(caller: UserAgent) -> None:
    with pytest.raises(OSError):
        UserAgent("127.0.0.1", caller.address[1])


def test_the_session_description_promises_no_audio() -> None:
    lines = session_description("127.0.0.2").decode().split("\r\n")
    assert lines[0] == "v=0"
    assert "c=IN IP4 127.0.0.2" in lines
    assert "a=inactive" in lines
