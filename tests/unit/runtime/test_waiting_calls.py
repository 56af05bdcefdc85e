"""While calls wait, what is bought is read, though the offers stand still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import LoopWorld

from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock


def readable(world: LoopWorld, *messages: Message) -> list[Message]:
    """What a client hands out: nothing of an input that is paused."""
    return [message for message in messages if message.topic() not in world.consumer.paused]


class EndsAtOnce:
    """Tells at once where both partitions end."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.waiting = False
        self.ends = {("offers", 0): 0, ("checkouts", 0): 0}
        self._asked_at = 0

    def ask(self, partitions: object) -> None:
        self.waiting, self._asked_at = True, int(self._wall() * 1000)

    def answers(self) -> tuple[int, dict[tuple[str, int], int]] | None:
        if not self.waiting:
            return None
        self.waiting = False
        return self._asked_at, dict(self.ends)


@pytest.mark.parametrize("outage", [True, False], ids=["an outage", "none, to compare with"])
def test_an_outage_of_the_api_alone_makes_no_quiet_partition_call_what_was_bought_during_it(outage: bool) -> None:
    """With the default times. Nobody but the API tells the time, so 20 minutes into its outage nobody does, and there
    is no idle watermark: the offers of a partition in which none is shown stand still, and its checkouts are soon ahead
    by more than a window. What is bought from then on must be read before the first calls leave."""
    minute = 60.0
    time = [1_000_000.0]
    clock = Clock(wall=lambda: time[0], monotonic=lambda: time[0] - 5_000)
    check = ClockCheck(clock.wall, clock.monotonic, max_skew=300.0, ask=lambda: None)
    ends = EndsAtOnce(clock.wall)
    join = {
        name: timedelta(minutes=minutes)
        for name, minutes in {"window": 30, "checkout_grace": 1, "lookback": 120, "lateness": 5, "max_skew": 5}.items()
    }
    world = LoopWorld(join=join, clock=clock, clock_check=check, ends=ends)

    def tell() -> None:
        check.api_told(time[0], clock.monotonic() - 0.1, clock.monotonic())

    def ms() -> int:
        return int(time[0] * 1000)

    tell()
    world.begin()
    at, offset = ms(), 0
    world.turn([offer(0, at, stamp=at), checkout(offset, at, session="s2", stamp=at)])
    ends.ends["offers", 0], ends.ends["checkouts", 0] = 1, 1
    for passed in range(1, 150):
        time[0] += minute
        if passed <= 40 or not outage:
            tell()  # the API answers, until the offer's first try
        offset += 1
        ends.ends["checkouts", 0] = offset + 1
        bought = ["o1"] if passed == 120 else []  # two hours after it was shown, and still in the outage
        shopper = checkout(offset, ms(), *bought, session="s1" if bought else "s2", stamp=ms())
        world.turn(readable(world, shopper))
        world.turn()
    (call,) = world.delivery.calls
    tell()  # the API is back: it is the answer to the first call, which leaves one at a time
    world.turn()
    leaves = check.gate().opening is Opening.OPEN and world.runner.withholds(call) is None
    assert not leaves, f"it leaves, half an hour after it was bought; paused: {world.consumer.paused}"
