"""Rules 3 and 5: a machine that was suspended with a write in flight does not take its clock for wrong.

The loop looks at the clocks first thing after the machine woke, and asks the producer for acknowledgements later in
the same turn. By then nobody knows any more that the write was sent before the sleep.
"""

from __future__ import annotations

from support.loop_world import LoopWorld

from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck, ClockState
from consumer.runtime.edges import Clock

T = 1_000_000.0
SLEPT = 600.0


class Machine:
    """Its clocks, in seconds. All of them are right."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.boottime = T, 500.0, 700.0
        self.check = ClockCheck(
            lambda: self.wall, lambda: self.monotonic, max_skew=300.0, ask=lambda: None, boottime=lambda: self.boottime
        )

    def go(self, seconds: float) -> None:
        self.wall, self.monotonic, self.boottime = (
            self.wall + seconds, self.monotonic + seconds, self.boottime + seconds,
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        self.wall, self.boottime = self.wall + seconds, self.boottime + seconds

    def wake_with_one_in_flight(self) -> tuple[float, float]:
        """It sleeps after something was sent, and looks at the clocks. Returns when that was sent, and stamped."""
        self.api_tells()
        self.check.look()
        sent, stamp = self.monotonic, self.wall
        self.sleep(SLEPT)
        self.check.look()
        return sent, stamp

    def api_tells(self) -> None:
        self.check.api_told(float(int(self.wall)), self.monotonic, self.monotonic)


def test_a_broker_that_stamped_a_write_before_the_sleep_disproves_nothing() -> None:
    machine = Machine()
    sent, stamp = machine.wake_with_one_in_flight()  # the turn begins
    machine.check.broker_told(stamp, sent, machine.monotonic)  # later in the same turn
    machine.check.look()
    assert machine.check.finding.state is ClockState.CONFIRMED, machine.check.finding.words


def test_nor_for_twenty_minutes_though_the_api_tells_that_our_clock_is_right() -> None:
    machine = Machine()
    sent, stamp = machine.wake_with_one_in_flight()
    machine.check.broker_told(stamp, sent, machine.monotonic)
    closed = 0
    for _ in range(120):
        machine.go(10.0)
        machine.api_tells()
        machine.check.look()
        closed += machine.check.gate().opening is Opening.CLOSED
    assert closed == 0, f"no call left for {closed * 10} s, though the API confirmed the clock every 10 s"


def test_the_api_likewise() -> None:
    machine = Machine()
    sent, date = machine.wake_with_one_in_flight()  # the poll thread was quicker than the thread of the calls
    machine.check.api_told(date, sent, machine.monotonic)
    machine.check.look()
    assert machine.check.finding.state is ClockState.CONFIRMED, machine.check.finding.words


def test_the_loop_looks_at_the_clocks_before_it_hears_of_acknowledgements() -> None:
    """The order of a turn makes that the usual case, not a race."""
    machine = Machine()
    clock = Clock(wall=lambda: machine.wall, monotonic=lambda: machine.monotonic)
    world = LoopWorld(clock=clock, clock_check=machine.check)
    world.begin()
    machine.api_tells()
    world.turn()
    sent, stamp = machine.monotonic, machine.wall
    machine.sleep(SLEPT)
    acks = [lambda: machine.check.broker_told(stamp, sent, machine.monotonic)]

    def poll() -> None:
        while acks:
            acks.pop()()

    world.sink.poll = poll  # type: ignore[method-assign]
    world.turn()
    machine.go(0.02)
    world.turn()
    assert machine.check.finding.state is ClockState.CONFIRMED, machine.check.finding.words
