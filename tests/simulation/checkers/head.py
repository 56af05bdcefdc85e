"""What the head of a log tells of what is gone from it, and when it misleads: see `consumer.core.horizon`."""

from __future__ import annotations

from simulation.workload.scenario import CHECKOUTS, Scenario
from simulation.world.broker import Broker

from consumer.events import CheckoutCompleted

HEAD = 3
"""Checkouts that tell how old the beginning of a log is, in the world's short logs: see `Horizon.HEAD`."""


def head_came_late(broker: Broker, scenario: Scenario, partition: int) -> bool:
    """Whether the checkouts that tell how old the log is may all have come late, so that it seems to begin earlier.

    So does it where a clock that stands still has stamped and dated all of them. Only where something may have been
    deleted or lost.
    """
    if broker.logs[CHECKOUTS, partition].start == 0 and broker.lost_at < 0:
        return False
    run = 0
    for w in scenario.records:
        if w.topic == CHECKOUTS and w.partition == partition and isinstance(w.event, CheckoutCompleted):
            told = min(w.happened, max(w.timestamp, w.event.completed_at))
            run = run + 1 if w.at - told > scenario.rules.lateness else 0
            if run >= HEAD:
                return True
    return False
