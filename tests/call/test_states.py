"""The table of a call's states is whole."""

from __future__ import annotations

from proxy.call.states import MOVES, OVER, CallState, diagram


def test_every_state_is_reached_and_every_call_can_end() -> None:
    assert set(MOVES) == set(CallState)
    reached = {after for row in MOVES.values() for after in row.values()}
    assert reached == set(CallState) - {CallState.JUDGING}
    for state, row in MOVES.items():
        assert state is CallState.ENDED or row[OVER] is CallState.ENDED
    assert not MOVES[CallState.ENDED]


def test_diagram_has_an_arrow_for_each_move() -> None:
    assert diagram().count("-->") == 1 + sum(len(row) for row in MOVES.values())
