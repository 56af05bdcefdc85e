"""A machine that was suspended, or a virtual one that was paused: what its clocks tell afterwards."""

from __future__ import annotations

import pytest
from support.builders import CODEC, offer
from support.runner_world import Sink, edges, limits

from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck, ClockState
from consumer.runtime.conditions import attended
from consumer.runtime.edges import Clock
from consumer.runtime.runner import TaskRunner
from consumer.server.health import Health

T = 1_700_000_000.0


class Machine:
    def __init__(self, *, ask: bool = True) -> None:
        self.wall, self.monotonic = T, 500.0
        self.health = Health(95.0, lambda: self.monotonic)
        self.clock = ClockCheck(
            lambda: self.wall, lambda: self.monotonic, max_skew=300.0, ask=(lambda: None) if ask else None
        )
        if ask:
            self.clock.api_told(self.wall, self.monotonic, self.monotonic)

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def turn(self) -> None:
        self.clock.look()
        self.health.turned(assigned=True, tasks=(0,), restoring=(), stopping=False)

    def opening(self) -> Opening:
        """What the gate of `run` says, as the delivery's thread asks it."""
        return min(self.clock.gate().opening, attended(self.health)().opening)


@pytest.mark.parametrize(("ask", "suspended_s"), [(True, 240.0), (False, 3_600.0)])
def test_no_call_leaves_when_a_suspended_machine_wakes_before_the_loop_has_turned(ask: bool, suspended_s: float) -> None:
    """Its session has timed out long ago (45 s), its tasks are another's, and what was bought since was read there.

    CLOCK_MONOTONIC stands still while a machine is suspended; the wall clock does not.
    """
    machine = Machine(ask=ask)
    for _ in range(100):
        machine.run(0.02)
        machine.turn()
    assert machine.opening() is Opening.OPEN
    machine.wall += suspended_s
    assert machine.opening() is Opening.CLOSED


def test_a_paused_virtual_machine_dead_letters_no_offer_because_its_clock_stood_still() -> None:
    """Both its clocks stood still for ten minutes, so it is behind. The API's Date of before says that all is well."""
    machine = Machine()
    machine.turn()
    assert machine.clock.finding.state is ClockState.CONFIRMED
    paused_for = 600.0
    true = T + paused_for + 1.0
    machine.run(1.0)  # and the ten minutes are missing
    machine.turn()

    sink = Sink()
    rules = DecisionRules(
        window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=300_000, max_skew=300_000
    )
    runner = TaskRunner(
        0,
        Task(rules, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(
            outputs=sink, clock_check=machine.clock, clock=Clock(lambda: machine.wall, lambda: machine.monotonic)
        ),
        bad_records=limits(100),
        late_limit=100,
    )
    at = int(true * 1000)
    message = offer(0, at)
    message.timestamp = lambda: (1, at)  # its own stamp confirms its date
    runner.on_message(Side.OFFERS, message, int(machine.wall * 1000))
    for _ in range(60):
        machine.run(1.0)
        machine.turn()
        runner.judge_late_run(int(machine.wall * 1000))
    assert sink.dead == []
    _ = CODEC
