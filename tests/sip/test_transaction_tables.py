"""The tables are whole, and the code is driven by nothing else."""

from __future__ import annotations

import pytest

from proxy.sip.message import Flow
from proxy.sip.parse import parse_message
from proxy.sip.timers import Timers
from proxy.sip.transaction import ClientTransaction, ServerTransaction, Transaction
from proxy.sip.transaction_tables import NEW, REQUEST, RETRANSMIT_TIMERS, TABLES, TERMINATED, Table, diagram
from tests.playbook import CALLER, flow_to, outgoing, request_bytes

TIMER_WORDS = ("last wait", "timer ", "cancel wait", "guard")


def is_timer(word: str) -> bool:
    return word.startswith(TIMER_WORDS)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_every_state_is_reached_and_every_transition_leads_somewhere(table: Table) -> None:
    targets = {transition.state for row in table.values() for transition in row.values()}
    assert targets - {TERMINATED} == set(table) - {NEW}
    assert TERMINATED in targets


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_every_timer_that_may_run_in_a_state_is_listed_there(table: Table) -> None:
    """A timer that fires where nothing is listed would leave its transaction for ever."""
    running: dict[str, set[str]] = {state: set() for state in table}
    for _ in range(len(table) + 1):
        for state, row in table.items():
            for transition in row.values():
                if transition.state != TERMINATED:
                    stays = transition.keep or transition.state == state
                    kept = running[state] if stays else set()
                    running[transition.state] |= kept | set(transition.timers)
    for state, timers in running.items():
        assert timers <= set(table[state]), state
        assert {given for given in table[state] if is_timer(given)} <= timers, state


@pytest.mark.parametrize("name", [name for name in TABLES if name != "INVITE server transaction"])
def test_every_state_ends_by_itself(name: str) -> None:
    """But for an INVITE under way, which the proxy's Timer C and its policy end."""
    table = TABLES[name]
    for state, row in table.items():
        ends = [given for given in row if is_timer(given) and given not in RETRANSMIT_TIMERS]
        assert ends or state == NEW or (name, state) == ("INVITE client transaction", "proceeding")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_code_does_what_the_table_says(table: Table) -> None:
    every = {given for row in table.values() for given in row}
    for state in table:
        for given in every:
            transaction = Transaction(table, Flow("udp", ("a", 1), ("b", 2)))
            transaction.state = state
            effects = transaction.step(given, 100.0, Timers())
            transition = table[state].get(given)
            assert effects == (transition.effects if transition else ())
            assert transaction.state == (transition.state if transition else state)
            for timer in transition.timers if transition else ():
                assert timer in (transaction.retransmit_timer, transaction.expire_timer)


@pytest.mark.parametrize("method", [b"INVITE", b"BYE"])
def test_methods_have_their_tables(method: bytes) -> None:
    request = parse_message(request_bytes(method.decode()), flow_to(CALLER))
    kind = "INVITE" if method == b"INVITE" else "non-INVITE"
    server = ServerTransaction(request, flow_to(CALLER))  # type: ignore[arg-type]
    client = ClientTransaction(outgoing(method), flow_to(CALLER), (b"h", None), None)
    assert server.table is TABLES[f"{kind} server transaction"]
    assert client.table is TABLES[f"{kind} client transaction"]


def test_diagram_has_an_arrow_for_each_transition() -> None:
    for table in TABLES.values():
        lines = diagram(table).splitlines()
        assert lines[0] == "stateDiagram-v2"
        assert len(lines) == 1 + sum(len(row) for row in table.values())
    assert "    [*] --> calling: request / send, arm timer A, arm timer B" in diagram(
        TABLES["INVITE client transaction"]
    )
    assert REQUEST in TABLES["INVITE server transaction"][NEW]
