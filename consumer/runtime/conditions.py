"""What must hold for every call, as conditions of the gate. Whoever knows it says it in words; here it is weighed."""

from __future__ import annotations

from ..delivery.gate import OPEN, Condition, GateState, Opening
from ..kafka.writes import Writes


def recorded(writes: Writes) -> Condition:
    """What is called can be recorded: no call leaves while writes fail, and one at a time until a first is known."""

    def state() -> GateState:
        if why := writes.trouble():
            return GateState(Opening.CLOSED, why)
        if why := writes.unproven():
            return GateState(Opening.ONE_AT_A_TIME, why)
        return OPEN

    return state
