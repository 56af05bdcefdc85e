"""What is said in words about our own writes, as the gate takes it."""

from __future__ import annotations

from consumer.delivery.gate import OPEN, Opening
from consumer.kafka.writes import Writes
from consumer.runtime.conditions import recorded


def test_calls_go_one_at_a_time_then_freely_and_not_at_all_while_writes_fail() -> None:
    writes = Writes("offer.outcome")
    state = recorded(writes)
    assert state().opening is Opening.ONE_AT_A_TIME
    assert "no outcome of this run" in state().reason
    writes.end(writes.begin("offer.outcome"), recorded=True)
    assert state() == OPEN
    writes.fail("an outcome: refused")
    assert state().opening is Opening.CLOSED
    assert "an outcome: refused" in state().reason
