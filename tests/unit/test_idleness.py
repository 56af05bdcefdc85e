"""When an input counts as idle, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from consumer.core.rules import MIN_TIME, Rules
from consumer.core.task import Input, Position, Task
from consumer.runtime.idleness import Idleness

LATENESS, IDLE_AFTER = 60.0, 5.0
TOPICS = ("offers", "checkouts")
RULES = Rules(window=1_000, checkout_grace=100, lookback=5_000, lateness=60_000, max_skew=1_000)


class Ends:
    """Stands for the broker: answers when the test says so."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, int]] = []
        self.asked_at = 0
        self.told: dict[tuple[str, int], int] | None = None

    @property
    def waiting(self) -> bool:
        return bool(self.asked)

    def ask(self, partitions: Iterable[tuple[str, int]]) -> None:
        self.asked = list(partitions)
        self.asked_at = int(self.clock.wall * 1000)

    def answers(self) -> tuple[int, dict[tuple[str, int], int]] | None:
        if self.told is None:
            return None
        told, self.told, self.asked = self.told, None, []
        return self.asked_at, told


class Clock:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ends = Ends(self.clock)
        self.task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
        self.idleness = Idleness(
            lambda _: self.ends,  # type: ignore[arg-type,return-value]
            idle_after=IDLE_AFTER,
            lateness=LATENESS,
            wall=lambda: self.clock.wall,
            monotonic=lambda: self.clock.monotonic,
        )
        for source in Input:
            self.idleness.heard(source, 0)

    def turn(self) -> None:
        self.idleness.turn({0: self.task}, TOPICS)

    def question(self) -> None:
        self.clock.go(IDLE_AFTER)
        self.turn()
        assert self.ends.waiting

    def answer(self, offers: int = 0, checkouts: int = 0) -> None:
        self.ends.told = {("offers", 0): offers, ("checkouts", 0): checkouts}
        self.turn()


@pytest.fixture
def world() -> World:
    return World()


def test_the_broker_is_asked_only_after_a_while_without_a_record(world: World) -> None:
    world.clock.go(IDLE_AFTER - 0.1)
    world.turn()
    assert not world.ends.waiting
    world.clock.go(0.1)
    world.turn()
    assert world.ends.asked == [("offers", 0), ("checkouts", 0)]


def test_the_watermark_is_the_clock_before_the_question_less_lateness(world: World) -> None:
    world.question()
    asked_at = int(world.clock.wall * 1000)
    world.clock.go(30.0)  # the answer takes its time: producers may have written meanwhile
    world.answer()
    assert world.task.watermark == asked_at - 60_000 - 1


def test_unread_data_holds_the_watermark(world: World) -> None:
    world.question()
    world.answer(checkouts=1)
    assert world.task.input_watermark(Input.OFFERS) > MIN_TIME
    assert world.task.watermark == MIN_TIME


def test_a_broker_that_does_not_answer_freezes_the_watermark(world: World) -> None:
    world.question()
    for _ in range(100):
        world.clock.go(10.0)
        world.turn()
    assert world.task.watermark == MIN_TIME


@pytest.mark.parametrize("jump", [+3_600.0, -3_600.0, +2.0])
def test_after_a_jump_of_the_wall_clock_no_idle_watermark_for_the_length_of_lateness(world: World, jump: float) -> None:
    world.question()
    world.clock.wall += jump
    world.answer()
    assert world.task.watermark == MIN_TIME
    after_trouble(world)


def test_after_an_error_no_idle_watermark_for_the_length_of_lateness(world: World) -> None:
    world.idleness.trouble("the leader changed")
    world.question()
    world.answer()
    assert world.task.watermark == MIN_TIME
    after_trouble(world)


def after_trouble(world: World) -> None:
    """It lets go by itself, once lateness has passed."""
    began = world.clock.monotonic
    while world.task.watermark == MIN_TIME:
        assert world.clock.monotonic - began <= LATENESS + 2 * IDLE_AFTER, "it never lets go"
        world.question()
        world.answer()
    assert world.clock.monotonic - began >= LATENESS - IDLE_AFTER


def test_a_dropped_input_is_not_asked_for(world: World) -> None:
    world.idleness.drop(Input.OFFERS, 0)
    world.question()
    assert world.ends.asked == [("checkouts", 0)]
