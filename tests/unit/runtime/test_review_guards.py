"""Guards and the gate: what passes them all the same."""

from __future__ import annotations

from support.builders import NOW, checkout, offer, raw
from support.builders import end
from support.kafka import Message
from support.loop_world import LoopWorld
from support.runner_world import AT, RULES, RunnerWorld, Sink, edges, limits, pass_time, show

from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.gate import Opening
from consumer.events import OfferOutcome
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock
from consumer.runtime.late_run import HELD
from consumer.runtime.runner import TaskRunner

from unit.runtime.test_late_run import LATE, W, OfferWorld, late, on_time  # noqa: I001
_end = end


def test_a_call_waits_and_an_unreadable_checkout_of_its_session_may_be_the_purchase() -> None:
    """Read before the decision it quarantines the session; read while the call waits, nothing of it is heard."""
    world = RunnerWorld()
    (call,) = show(world)
    world.runner.on_message(Side.CHECKOUTS, raw("checkouts", 0, "s1", b"no checkout"), NOW)
    assert world.sink.records[0][1] == "undecodable"
    assert world.runner.withholds(call) is not None, "may have been bought by what cannot be read"


def test_an_outage_of_two_hours_over_64_partitions_is_a_mass_too() -> None:
    """7,200 late offers in 64 partitions: 112 a partition are kept back; 5,040 as in the two-hour outage are 79."""
    dead = 0
    for _ in range(64):
        world = OfferWorld(limit=100)
        world.read(*(late(n) for n in range(5_040 // 64)), _end("offers", 5_040 // 64))
        world.wait(HELD)
        dead += len(world.dead)
    assert dead <= 100, f"{dead} of {64 * (5_040 // 64)} opt-outs are given up as late, and nothing is kept back"


def test_frequent_rebalances_take_the_stragglers_of_before_into_account() -> None:
    """One offer dated too late each eleven seconds, every one of its partition, and a rebalance every four minutes."""
    given_up, offset, offers, checkouts = 0, 0, Position(0), Position(0)
    horizon = None
    for _ in range(25):
        world = OfferWorld(limit=100, offers=offers, checkouts=checkouts, horizon=horizon)
        pass_time(world.runner, W + 1)
        world.runner.decide()
        for _ in range(22):
            world.read(late(offset), _end("offers", offset + 1))
            world.wait(HELD + 1)
            offset += 1
            if world.suspended:
                break
        given_up += len(world.dead)
        if world.suspended:
            break
        offers, checkouts = world.committed()
        horizon = None
    assert given_up <= 100, f"{given_up} in a row, and nothing is kept back"


def test_one_checkout_dated_2099_does_not_stop_all_calls_where_our_clock_is_three_seconds_ahead() -> None:
    """A clock that is ahead is no reason to believe a date that is ahead even of it."""
    wall, mono = NOW / 1000 + 4.0, 50.0
    clock = ClockCheck(lambda: wall, lambda: mono, max_skew=300.0, ask=lambda: None)
    clock.api_told(NOW / 1000, mono, mono)
    clock.look()
    assert clock.finding.state.name == "DIFFERS" and clock.finding.ahead > 0
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=Sink(), clock_check=clock, clock=Clock(lambda: wall, lambda: mono)),
        bad_records=limits(100),
        late_limit=100,
    )
    runner.on_message(Side.CHECKOUTS, checkout(0, 4_070_908_800_000, session="s9"), int(wall * 1000))
    assert clock.gate().opening is Opening.OPEN
    _ = (AT, Message, end, offer, OfferOutcome, on_time)


def test_once_the_run_ends_by_an_error_the_gate_is_told_at_once_and_not_by_the_inbox() -> None:
    world = LoopWorld()
    world.begin()
    world.decide()
    (call,) = world.delivery.calls
    world.loop.tasks.abandon()
    assert world.runner.withholds(call) is not None


def test_a_call_waits_and_a_checkout_under_a_foreign_key_names_its_offer() -> None:
    world = RunnerWorld()
    (call,) = show(world)
    world.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 5_000, "o1", session="s1", key="another"), NOW)
    assert world.sink.records[0][1] == "key_mismatch"
    assert world.runner.withholds(call) is not None, "it says that o1 of this session is bought"
