"""Rule 1: after a start no call leaves before the checkouts are read that were there when the task began."""

from __future__ import annotations

import pytest
from support.builders import checkout, end, offer
from support.loop_world import LoopWorld
from support.runner_world import AT, Sink, edges, limits, make, pass_time
from support.runner_world import RULES as RUNNER_RULES

from consumer.calls import OptOutCall
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import TruncatedLogError
from consumer.events import Outcome
from consumer.runtime.runner import TaskRunner


def begun(end: int) -> tuple[TaskRunner, Sink]:
    """A runner whose checkouts' log ended there as it began. One offer is shown, and due."""
    sink = Sink()
    runner = TaskRunner(
        0,
        Task(RUNNER_RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink),
        bad_records=limits(100),
        late_limit=0,
        checkouts_end=end,
    )
    runner.on_message(Side.OFFERS, offer(0, AT), AT)
    pass_time(runner, AT + 10_000)
    return runner, sink


def decide(runner: TaskRunner, *, at_once: bool = False) -> list[str]:
    calls: list[OptOutCall] = runner.decide(at_once=at_once)
    return [call.offer_id for call in calls]


def test_a_call_waits_until_the_checkouts_are_read_that_were_there_and_is_made_once() -> None:
    runner, _ = begun(end=2)
    assert decide(runner) == []
    assert (runner.outstanding, runner.task.unsettled) == (0, 1)
    runner.on_message(Side.CHECKOUTS, checkout(0, AT + 9_000, session="another"), AT)
    assert decide(runner) == []
    runner.on_message(Side.CHECKOUTS, checkout(1, AT + 9_000, session="another"), AT)
    assert decide(runner) == ["o1"]
    assert decide(runner) == []
    assert runner.outstanding == 1


def test_a_log_that_ends_below_where_it_ended_stops_the_run_and_leaves_no_call_waiting_for_what_is_gone() -> None:
    runner, _ = begun(end=2)
    runner.on_message(Side.CHECKOUTS, checkout(0, AT + 9_000, session="another"), AT)
    with pytest.raises(TruncatedLogError, match=r"checkouts\[0\] ends at 1, and ended at 2 when the task began"):
        runner.on_message(Side.CHECKOUTS, end("checkouts", 1), AT)


def test_the_end_of_the_offers_says_nothing_of_the_checkouts() -> None:
    runner, _ = begun(end=2)
    runner.on_message(Side.OFFERS, end("offers", 1), AT)
    runner.on_message(Side.CHECKOUTS, end("checkouts", 2), AT)
    assert decide(runner) == ["o1"]


def test_an_offer_whose_purchase_was_there_is_not_called() -> None:
    runner, sink = begun(end=1)
    assert decide(runner) == []
    runner.on_message(Side.CHECKOUTS, checkout(0, AT + 9_000, "o1", session="s1"), AT)
    assert decide(runner) == []
    assert [outcome.outcome for outcome in sink.outcomes] == [Outcome.PURCHASED]
    assert runner.task.unsettled == 0


def test_calls_wait_for_no_checkout_that_is_not_read_before_they_are_made() -> None:
    runner, _ = begun(end=1)
    assert decide(runner, at_once=True) == [], "it can be read"
    runner.task.idle(Side.CHECKOUTS, AT + 12_000)
    assert decide(runner, at_once=True) == [], "a window ahead it still can"
    runner.task.idle(Side.CHECKOUTS, AT + 10_000 + RUNNER_RULES.lookback + 1)
    assert runner.pauses() == {Side.CHECKOUTS}, "the offers, which are read no further, are behind by lookback"
    assert decide(runner) == []
    assert decide(runner, at_once=True) == ["o1"]


def test_what_comes_after_the_task_began_is_waited_for_no_longer() -> None:
    runner, _ = make()
    runner.on_message(Side.OFFERS, offer(0, AT), AT)
    pass_time(runner, AT + 10_000)
    assert decide(runner) == ["o1"]


def test_a_task_that_is_full_of_what_waits_for_checkouts_makes_its_calls_once_these_are_not_read_on() -> None:
    world = LoopWorld()
    world.consumer.ends["checkouts"] = 5
    world.set_max_unsettled(1)
    world.begin()
    world.turn([offer(0, AT)])
    world.idle(AT + 10_000)
    world.turn()
    assert world.delivery.calls == []
    assert world.consumer.paused == {"offers"}
    world.turn([checkout(0, AT + 12_000)])
    world.turn()
    assert world.delivery.calls == []
    world.turn([checkout(1, AT + 12_000 + RUNNER_RULES.lookback)])
    world.turn()
    assert [call.offer_id for call in world.delivery.calls] == ["o1"]
