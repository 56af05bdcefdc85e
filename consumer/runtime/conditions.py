"""What must hold for every call, as conditions of the gate. Whoever knows it says it in words; here it is weighed."""

from __future__ import annotations

from ..delivery.gate import OPEN, Condition, GateState, Opening
from ..kafka.topic_watch import IN_DOUBT, TopicWatch
from ..kafka.writes import Writes
from ..server.health import Health


def recorded(writes: Writes) -> Condition:
    """What is called can be recorded: no call leaves while writes fail, and one at a time until a first is known."""

    def state() -> GateState:
        if why := writes.trouble():
            return GateState(Opening.CLOSED, why)
        if why := writes.unproven():
            return GateState(Opening.ONE_AT_A_TIME, why)
        return OPEN

    return state


def attended(health: Health) -> Condition:
    """Somebody reads what is bought, and hears whose the tasks are: no call leaves while the loop stands still.

    For example: a process is stopped for a minute, and its tasks go to another. When it goes on, its calls would leave
    before it has heard of that, or has read what was bought meanwhile.
    """

    def state() -> GateState:
        why = health.unattended()
        return GateState(Opening.CLOSED, why) if why else OPEN

    return state


def same_topics(watch: TopicWatch) -> Condition:
    """The topics are those that the run began with. While that is in doubt records wait, purchases among them."""

    def state() -> GateState:
        return OPEN if watch.certain else GateState(Opening.CLOSED, IN_DOUBT)

    return state
