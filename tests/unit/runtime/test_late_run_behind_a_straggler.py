"""Offers that are late only by what stands between them and a straggler are counted too.

Catching up in a partition with little traffic, calls wait, so that checkouts are read up to lookback ahead of the
offers. Then offers alone move the watermark: what is kept back behind a straggler is looked at by the watermark as it
stands at the straggler, and is applied by one that those between have moved.
"""

from __future__ import annotations

import pytest
from support.builders import lone_checkout, lone_offer
from support.kafka import Message
from support.runner_world import BEGIN, Sink, edges, limits

from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.runtime.edges import Clock
from consumer.runtime.late_run import HELD, SPAN
from consumer.runtime.runner import TaskRunner

pytestmark = pytest.mark.usefixtures("one_record_tells")

S = 1_000
M = 60 * S
H = 60 * M
RULES = DecisionRules(window=30 * M, checkout_grace=M, lookback=2 * H, lateness=5 * M, max_skew=5 * M)

EIGHT = 1_800_000_000 * S
NOW = EIGHT + 12 * H


class CatchingUp:
    """A task whose offers are at 8:00, and whose checkouts are lookback ahead, since a call waits."""

    def __init__(self, limit: int) -> None:
        self.moment = 0.0
        self.sink = Sink()
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN),
            topics=("offers", "checkouts"),
            edges=edges(outputs=self.sink, clock=Clock(wall=lambda: NOW / 1000, monotonic=lambda: self.moment)),
            bad_records=limits(100),
            late_limit=limit,
        )
        self.read(Side.OFFERS, lone_offer(0, EIGHT - H), lone_offer(1, EIGHT))
        self.read(Side.CHECKOUTS, lone_checkout(0, EIGHT))
        assert len(self.runner.decide()) == 1
        number = 1
        while Side.CHECKOUTS not in self.runner.pauses():
            self.read(Side.CHECKOUTS, lone_checkout(number, EIGHT + number * 10 * M))
            number += 1

    def read(self, side: Side, *messages: Message) -> None:
        for message in messages:
            self.runner.on_message(side, message, NOW)
        self.runner.judge_late_run(NOW)

    def offers(self, *times: int) -> None:
        """A straggler and these, then what makes the span of each whole."""
        times = (EIGHT - 2 * H, *times)
        times = (*times, *[max(times)] * SPAN)
        self.read(Side.OFFERS, *(lone_offer(2 + number, at) for number, at in enumerate(times)))


def test_a_backlog_behind_a_straggler_is_kept_back() -> None:
    world = CatchingUp(limit=100)
    # Those of 8:00 to 11:00 of a producer that is well; then what another one had kept back since 8:00.
    world.offers(*(EIGHT + i * 30 * S for i in range(360)), *(EIGHT + i * 6 * S for i in range(600)))
    assert world.runner.late_run.suspended
    assert len(world.sink.dead) == 1, "the straggler"


def each_late_by_the_one_before(number: int) -> list[int]:
    """Two of three offers go on by half a minute each; the third is late, and by the second alone."""
    times: list[int] = []
    for i in range(number):
        at = EIGHT + i * M
        times += [at, at + 30 * S, at + 15 * S - RULES.lateness - RULES.late_after]
    return times


@pytest.mark.parametrize("late", [10, 9], ids=["one too many", "as many as the limit"])
def test_those_that_are_found_late_one_after_the_other_are_counted_together(late: int) -> None:
    world = CatchingUp(limit=10)
    world.offers(*each_late_by_the_one_before(late))
    assert world.runner.late_run.suspended == (late == 10)
    assert len(world.sink.dead) == 10


def test_one_that_is_kept_back_twice_is_counted_once() -> None:
    world = CatchingUp(limit=3)
    first, ahead, behind = EIGHT - 2 * H, EIGHT + H, EIGHT + M
    world.read(Side.OFFERS, lone_offer(2, first), lone_offer(3, ahead), lone_offer(4, behind), lone_offer(5, first))
    world.moment += HELD
    world.read(Side.OFFERS)
    assert [offset for offset, _ in world.sink.dead] == [2]
    world.moment += HELD
    world.read(Side.OFFERS)
    assert [offset for offset, _ in world.sink.dead] == [2, 4, 5]
    assert not world.runner.late_run.suspended
    world.read(Side.OFFERS, lone_offer(6, first))
    assert world.runner.late_run.suspended
