"""Stragglers are dead-lettered; a mass of late presentations, or of such as are dated ahead, is kept back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st
from support.builders import NOW, checkout, end, offer, raw
from support.kafka import Message
from support.loop_world import LoopWorld, revoke
from support.runner_world import BEGIN, RULES, Sink, edges, limits, pass_time
from support.strategies import examples

from consumer.core.checkpoint import Position
from consumer.core.rules import MAX_TIME
from consumer.core.task import Task
from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock
from consumer.runtime.late_run import BURST, BURST_SPAN, HELD, REMINDER, SPAN
from consumer.runtime.runner import TaskRunner

pytestmark = pytest.mark.usefixtures("one_record_tells")

W = 100_000
"""How far event time has come."""

LATE = W - RULES.late_after - 1

AHEAD = NOW + RULES.max_skew + 1
"""Ahead of the clock as it stands. The records' stamps, which are NOW, are ahead of it in the tests that use this."""


class OfferWorld:
    """A task at W, with its records and its clock in the test's hands."""

    def __init__(
        self, limit: int = 3, offers: Position = BEGIN, checkouts: Position = BEGIN, horizon: int | None = None
    ) -> None:
        self.moment, self.now = 0.0, NOW
        self.clock = Clock(wall=lambda: self.now / 1000, monotonic=lambda: self.moment)
        self.clock_check = ClockCheck(self.clock.wall, self.clock.monotonic, max_skew=RULES.max_skew / 1000)
        self.sink = Sink()
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=offers, checkouts=checkouts, horizon=horizon),
            topics=("offers", "checkouts"),
            edges=edges(outputs=self.sink, clock=self.clock, clock_check=self.clock_check),
            bad_records=limits(100),
            late_limit=limit,
        )
        if offers is BEGIN and horizon is None:
            pass_time(self.runner, W + 1)
            self.runner.decide()

    def read(self, *messages: Message) -> None:
        for message in messages:
            self.runner.on_message(Side.OFFERS, message, self.now)
        self.runner.judge_late_run(self.now)

    def wait(self, seconds: float) -> None:
        self.moment += seconds
        self.runner.judge_late_run(self.now)

    @property
    def dead(self) -> list[int]:
        return [offset for offset, _ in self.sink.dead]

    @property
    def suspended(self) -> bool:
        return self.runner.late_run.suspended

    def committed(self) -> tuple[Position, Position]:
        self.runner.decide()
        plan = self.runner.task.prepare_commit()
        assert plan is not None
        self.runner.task.commit_acknowledged(plan)
        return plan.offers, plan.checkouts


def late(offset: int, at: int = LATE) -> Message:
    return offer(offset, at, session=f"s{offset}", offer_id=f"o{offset}")


def on_time(offset: int) -> Message:
    return late(offset, W)


def many(begin: int, number: int, *, at: int = W) -> Iterable[Message]:
    return (late(offset, at) for offset in range(begin, begin + number))


# --- stragglers


def test_a_straggler_is_dead_lettered_once_the_records_behind_it_are_read() -> None:
    world = OfferWorld()
    world.read(late(0), *many(1, SPAN - 2))
    assert (world.dead, world.runner.task.next_offset(Side.OFFERS)) == ([], 0)
    world.read(on_time(SPAN - 1))
    assert (world.dead, world.runner.task.next_offset(Side.OFFERS)) == ([0], SPAN)
    assert world.runner.task.undecided == SPAN - 1


def test_in_a_quiet_topic_it_is_dead_lettered_after_a_while() -> None:
    world = OfferWorld()
    world.read(late(0), on_time(1), end("offers", 2))
    world.wait(HELD - 0.1)
    assert world.dead == []
    assert not world.suspended, "what follows is to tell"
    world.wait(0.1)
    assert (world.dead, world.runner.task.next_offset(Side.OFFERS)) == ([0], 2)


def test_the_end_of_the_partition_is_no_record_that_was_judged() -> None:
    world = OfferWorld(limit=3)
    world.read(late(0), end("offers", 1))
    world.wait(HELD)
    world.read(late(1), end("offers", 2))
    assert world.dead == [0], "what follows is to tell what the next one is"
    world.wait(HELD)
    world.read(late(2), end("offers", 3))
    world.wait(HELD)
    assert world.dead == [0, 1, 2]
    world.read(late(3), end("offers", 4))
    assert world.suspended, "each of them counts"
    assert world.dead == [0, 1, 2]


def test_the_end_of_the_partition_makes_no_span_whole() -> None:
    world = OfferWorld()
    world.read(late(0), *many(1, SPAN - 2), end("offers", SPAN - 1))
    assert world.dead == []
    world.read(on_time(SPAN - 1))
    assert world.dead == [0]


def test_as_many_as_the_limit_are_stragglers_and_so_are_those_of_the_next_span() -> None:
    world = OfferWorld(limit=3)
    world.read(*many(0, 3, at=LATE), *many(3, SPAN - 3), *many(SPAN, 3, at=LATE), *many(SPAN + 3, SPAN - 3))
    world.wait(0)
    assert world.dead == [0, 1, 2, SPAN, SPAN + 1, SPAN + 2]
    assert not world.suspended


def test_what_was_kept_back_keeps_its_order() -> None:
    world = OfferWorld()
    world.read(late(0), raw("offers", 1, "s", b"\xff"), late(2), on_time(3))
    world.wait(HELD)
    assert world.sink.dead == [(0, "late"), (1, "undecodable"), (2, "late")]
    assert [outcome.source.offset for outcome in world.sink.outcomes] == [0, 2]


def test_with_a_limit_of_0_all_are_dead_lettered_at_once() -> None:
    world = OfferWorld(limit=0)
    world.read(*many(0, 200, at=LATE))
    assert len(world.dead) == 200


def test_what_a_cut_checkout_log_makes_late_is_dead_lettered_at_once() -> None:
    world = OfferWorld(horizon=MAX_TIME)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, W), NOW)
    world.read(*many(0, 10, at=W))
    assert len(world.dead) == 10, "the log has told so at the start, and nothing will bring them back"


# --- a mass


def test_the_end_of_a_two_hour_outage_is_not_dead_lettered() -> None:
    world = OfferWorld(limit=100)
    with structlog.testing.capture_logs() as logs:
        # 7,200 offers of two hours: the last 2,160 of them would still be on time.
        world.read(on_time(0), *(late(1 + n, W - RULES.late_after - 5_040 + n) for n in range(7_200)))
    assert world.dead == []
    assert world.suspended
    assert world.committed()[0].offset == 0, "the first is not due yet"
    (line,) = logs
    assert line["event"].startswith("offers are kept back")
    facts = "topic", "from_offset", "late_or_ahead", "watermark", "presented_from", "presented_to", "since"
    assert [line[fact] for fact in facts] == [
        "offers",
        1,
        BURST,
        "1970-01-01T00:01:40.000+00:00",
        "1970-01-01T00:01:33.860+00:00",
        "1970-01-01T00:01:33.879+00:00",
        "1970-01-01T00:16:40.000+00:00",
    ]


def test_a_mass_among_the_offers_of_others_is_not_dead_lettered_either() -> None:
    world = OfferWorld(limit=100)
    world.read(*(late(n) if n % 5 == 0 else on_time(n) for n in range(SPAN)))
    assert world.dead == []
    assert world.suspended


def test_a_short_outage_over_many_partitions_is_a_mass_in_each_of_them() -> None:
    """5,040 late offers of 7,200, in 64 partitions, each of which had read on-time offers for days."""
    world = OfferWorld(limit=100)
    world.read(*many(0, SPAN), *many(SPAN, 79, at=LATE), *many(SPAN + 79, 33), end("offers", SPAN + 112))
    world.wait(HELD)
    assert world.dead == []
    assert world.suspended
    assert world.committed()[0].metadata, "a position can be told"
    assert world.runner.task.next_offset(Side.OFFERS) == SPAN


def test_every_other_one_late_is_a_mass_and_one_in_three_is_not_yet() -> None:
    world = OfferWorld(limit=100)
    world.read(*(late(n) if n % 2 == 0 else on_time(n) for n in range(BURST_SPAN)))
    assert world.suspended
    world = OfferWorld(limit=100)
    world.read(*(late(n) if n % 3 == 0 else on_time(n) for n in range(3 * 100)), *many(300, SPAN))
    assert len(world.dead) == 100, "as many as the limit"


def test_a_burst_of_one_less_is_dead_lettered() -> None:
    """A phone that was off for hours sends what it has shown: all in one partition, one behind the other."""
    world = OfferWorld(limit=100)
    world.read(*many(0, BURST - 1, at=LATE), end("offers", BURST - 1))
    world.wait(HELD)
    assert len(world.dead) == BURST - 1
    world.read(*many(BURST - 1, BURST_SPAN), *many(BURST - 1 + BURST_SPAN, BURST - 1, at=LATE))
    assert not world.suspended
    world.wait(HELD)
    assert len(world.dead) == 2 * (BURST - 1)


def test_what_is_late_or_ahead_counts_as_one() -> None:
    world = OfferWorld(limit=100)
    world.now -= 10 + CLOCK_TOLERANCE
    world.read(*(late(n, LATE if n % 2 else AHEAD) for n in range(BURST - 1)))
    assert not world.suspended
    world.read(late(BURST - 1, AHEAD))
    assert (world.dead, world.suspended) == ([], True)


def test_frequent_rebalances_let_no_mass_pass() -> None:
    """All are late, eleven seconds apart; each four minutes another task goes on, which knows of none before it."""
    given_up, offset, positions = 0, 0, (Position(0), Position(0))
    for _ in range(25):
        world = OfferWorld(100, *positions)
        pass_time(world.runner, W + 1)
        world.runner.decide()
        for _ in range(22):
            world.read(late(offset), end("offers", offset + 1))
            world.wait(HELD + 1)
            offset += 1
            if world.suspended:
                break
        given_up += len(world.dead)
        if world.suspended:
            break
        positions = world.committed()
    assert given_up == BURST - 1


def test_it_is_told_again_each_minute_and_stays(capsys: pytest.CaptureFixture[str]) -> None:
    world = OfferWorld()
    world.read(*many(0, 10, at=LATE))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            world.wait(REMINDER)
    assert [(line["from_offset"], line["since"]) for line in logs] == [(0, "1970-01-01T00:16:40.000+00:00")] * 3
    assert (world.dead, world.suspended) == ([], True)


def test_nothing_from_the_first_on_is_committed_and_a_restart_suspends_again() -> None:
    world = OfferWorld()
    world.read(*many(0, 5), *many(5, 10, at=LATE))
    for _ in range(3):
        again = OfferWorld(3, *world.committed())
        again.read(*many(0, 5), *many(5, 10, at=LATE))
        again.runner.drain_waiting(NOW)
        assert (again.dead, again.suspended) == ([], True)
        assert again.runner.task.next_offset(Side.OFFERS) == 5
        world = again


def test_they_are_dead_lettered_when_an_operator_says_so() -> None:
    world = OfferWorld()
    world.read(*many(0, 10, at=LATE))
    again = OfferWorld(0, *world.committed())
    again.read(*many(0, 10, at=LATE))
    assert again.dead == list(range(10))


def test_what_comes_slowly_suspends_too() -> None:
    world = OfferWorld(limit=3)
    for offset in range(3):
        world.read(late(offset))
        world.wait(HELD)
    assert world.dead == [0, 1, 2]
    world.read(late(3))
    assert world.suspended
    assert world.dead == [0, 1, 2]


def test_what_came_slowly_and_long_ago_does_not() -> None:
    world = OfferWorld(limit=3)
    for offset in (0, 1, 2, SPAN):
        world.read(late(offset))
        world.wait(HELD)
    assert world.dead == [0, 1, 2, SPAN]


def test_checkouts_are_read_on() -> None:
    world = OfferWorld()
    world.read(*many(0, 10, at=LATE))
    world.runner.on_message(Side.CHECKOUTS, checkout(0, W), NOW)
    assert world.runner.task.next_offset(Side.CHECKOUTS) == 1
    assert world.runner.pauses() == {Side.OFFERS}


def test_dates_ahead_of_a_clock_that_is_behind_are_believed_once_it_is_right() -> None:
    world = OfferWorld()
    world.now -= 10 + CLOCK_TOLERANCE
    with structlog.testing.capture_logs() as logs:
        world.read(*many(0, 10, at=AHEAD - 5))
        assert (world.dead, world.suspended) == ([], True)
        world.now += 10 + CLOCK_TOLERANCE
        world.wait(REMINDER)
    assert (world.dead, world.suspended, world.runner.task.undecided) == ([], False, 10)
    assert [line["event"][:25] for line in logs] == ["offers are kept back: too", "offers are no longer kept"]


def test_what_only_our_clock_finds_ahead_is_no_mass_and_waits_for_the_time() -> None:
    world = OfferWorld()
    world.now -= 10 + CLOCK_TOLERANCE
    world.clock_check.waits_beyond = world.now + RULES.max_skew  # nobody has told the time
    world.read(*many(0, 1, at=LATE), *many(1, 9, at=AHEAD - 5))
    assert not world.suspended
    world.wait(HELD)
    assert world.dead == [0]
    assert world.runner.waiting.sides == {Side.OFFERS}
    world.now += 10 + CLOCK_TOLERANCE
    world.clock_check.waits_beyond = MAX_TIME
    world.runner.drain_waiting(world.now)
    assert (world.dead, world.suspended, world.runner.task.undecided) == ([0], False, 9)


def test_in_the_loop_the_offers_are_paused_and_nothing_of_them_is_committed() -> None:
    world = LoopWorld(late_run=2)
    world.begin()
    world.turn([offer(0, 10_000, session="s0")])
    world.idle(20_000)
    world.delivery.answer()
    world.turn([late(offset, 10_000) for offset in range(1, 4)])
    assert world.consumer.paused == {"offers"}
    world.turn([checkout(0, 19_000)])
    world.skipped += 2 * REMINDER
    world.turn()
    world.commit()
    assert (world.committed, world.sink.dead, world.consumer.paused) == (1, [], {"offers"})
    world.turn(revoke)
    assert (world.committed, world.sink.dead) == (1, [])


def test_in_the_loop_a_straggler_is_let_go_without_any_record() -> None:
    world = LoopWorld(late_run=2)
    world.begin()
    world.idle(20_000)
    world.turn([late(0, 10_000)])
    world.skipped += HELD
    world.turn()
    assert world.sink.dead == [(0, "late")]


# --- a function of the log


class Drawn(NamedTuple):
    offset: int
    late: bool


@st.composite
def drawn_logs(draw: st.DrawFn) -> list[Drawn]:
    """Few records, over many spans: their offsets have gaps."""
    gaps, numbers = st.sampled_from((1, 1, 1, 2, 250, 400, SPAN)), st.sampled_from((1, 1, 9, BURST - 1, BURST))
    log: list[Drawn] = []
    for gap, is_late, number in draw(st.lists(st.tuples(gaps, st.booleans(), numbers), max_size=40)):
        begin = log[-1].offset + gap if log else 0
        log += (Drawn(begin + n, is_late) for n in range(number))
    return log


def judged(log: list[Drawn], limit: int) -> tuple[list[int], bool]:
    """What is dead-lettered of it, by the rule, before any time has passed; and whether it ends suspended."""
    dead: list[int] = []
    at = 0
    while (first := next((r.offset for r in log if r.late and r.offset >= at), None)) is not None:
        span = [r.offset for r in log if r.late and first <= r.offset < first + SPAN]
        in_burst = (sum(offset <= other < offset + BURST_SPAN for other in span) for offset in span)
        if len(span) > limit or max(in_burst) >= BURST:
            return dead, True
        if log[-1].offset < first + SPAN - 1:
            return dead, False
        dead += span
        at = first + SPAN
    return dead, False


def is_mass_anywhere(log: list[Drawn], limit: int) -> bool:
    """Whether so many are late somewhere, over the border of two spans too: a task counts what it has given up."""
    late_ones = [r.offset for r in log if r.late]
    return any(
        sum(offset <= other < offset + SPAN for other in late_ones) > limit
        or sum(offset <= other < offset + BURST_SPAN for other in late_ones) >= BURST
        for offset in late_ones
    )


LIMITS = st.sampled_from((1, 3, 100, 100))


@examples(300)
@given(drawn_logs(), LIMITS, st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=6))
def test_what_is_kept_back_depends_on_the_log_alone(
    log: list[Drawn], limit: int, batches: list[tuple[int, bool]]
) -> None:
    # What is a mass only over a border hangs on which task lives to see it.
    assume(judged(log, limit)[1] or not is_mass_anywhere(log, limit))
    world = OfferWorld(limit)
    dead: list[int] = []
    at = turn = 0
    while at < len(log):
        size, restarts = batches[turn % len(batches)]
        if restarts and turn < 40 and not world.runner.task.restoring:
            committed = world.committed()
            dead += world.dead
            world = OfferWorld(limit, *committed)
            at = next((n for n, r in enumerate(log) if r.offset >= committed[0].offset), len(log))
        world.read(*(late(r.offset, LATE if r.late else W) for r in log[at : at + size]))
        world.runner.drain_waiting(world.now)
        world.wait(0)
        at, turn = at + size, turn + 1
    # A dead letter may be written once more after a restart; none is lost.
    assert (list(dict.fromkeys(dead + world.dead)), world.suspended) == judged(log, limit)
