"""Which input is paused while calls wait, and what leaves meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import checkout, offer
from support.runner_world import AT, Sink, edges, limits
from support.runner_world import RULES as RUNNER_RULES

from consumer.core.checkpoint import Position
from consumer.core.rules import MIN_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side, Watermarks
from consumer.runtime.runner import TaskRunner

RULES = replace(RUNNER_RULES, max_skew=10_000_000)  # window 1,000, lookback 5,000, no lateness
NOW = 100_000_000


def read(watermarks: Watermarks, side: Side, at: int) -> None:
    watermarks.of(side).observe(at, at, NOW)


@pytest.mark.parametrize("calls_wait", [False, True])
def test_the_input_that_holds_the_watermark_is_never_paused(calls_wait: bool) -> None:
    """In a quiet partition: checkouts are ahead, and the next offer comes an hour after the one before."""
    watermarks = Watermarks(RULES, MIN_TIME, MIN_TIME)
    ahead = 5_100 if calls_wait else 1_100
    read(watermarks, Side.OFFERS, AT)
    read(watermarks, Side.CHECKOUTS, AT + ahead)
    assert watermarks.input_to_pause(calls_wait=calls_wait) is Side.CHECKOUTS
    read(watermarks, Side.OFFERS, AT + ahead + 700)  # by less than a window, and more than half of one
    assert watermarks.input_to_pause(calls_wait=calls_wait) is not Side.CHECKOUTS


def begun(end: int) -> TaskRunner:
    """One offer is shown at AT, and nothing after it; the checkouts' log ended there as the task began."""
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=None),  # type: ignore[arg-type]
        bad_records=limits(100),
        late_limit=0,
        checkouts_end=end,
    )
    runner.on_message(Side.OFFERS, offer(0, AT), AT)
    runner.task.idle(Side.OFFERS, AT + 2_000)
    return runner


def test_first_calls_that_wait_let_checkouts_be_read_as_far_as_those_that_were_handed_over() -> None:
    """The offers are read no further (`at_once`: so many are unsettled). The purchase stands 1.6 windows ahead, was
    there as the task began, and is to be read before the call is handed over: calls wait, so up to lookback ahead."""
    runner = begun(end=2)
    runner.on_message(Side.CHECKOUTS, checkout(0, AT + 3_500, session="another"), AT + 3_500)
    calls = runner.decide(at_once=True)
    told = [call.offer_id for call in calls]
    assert Side.CHECKOUTS not in runner.pauses() or told == [], "given out, though not read as far as calls let read"
    assert told == [], "the next record, which is read now, is its purchase"


@pytest.mark.parametrize(("lookback", "ahead"), [(1_500, 1_100), (5_000, 2_600)], ids=["a short lookback", "a batch"])
def test_checkouts_that_are_paused_a_window_ahead_are_read_on_once_a_call_waits(lookback: int, ahead: int) -> None:
    """Paused before the call was there, and less than lookback ahead: also with a lookback of less than two windows,
    and where one batch led further than half of lookback."""
    watermarks = Watermarks(replace(RULES, lookback=lookback), MIN_TIME, MIN_TIME)
    read(watermarks, Side.OFFERS, AT)
    read(watermarks, Side.CHECKOUTS, AT + ahead)
    assert watermarks.input_to_pause() is Side.CHECKOUTS
    assert watermarks.input_to_pause(calls_wait=True) is None


def test_checkouts_are_read_on_while_offers_are_kept_back() -> None:
    """One offer, checkouts paused 1.1 windows ahead; the next offer comes 1.8 windows after the first one. Behind it
    come late ones, a mass of them, which stand until an operator acts. The checkouts, which hold W now, are read on."""
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=Sink()),
        bad_records=limits(100),
        late_limit=2,
        checkouts_end=0,
    )
    now = AT + 100_000
    runner.on_message(Side.OFFERS, offer(0, AT, stamp=AT), now)
    runner.on_message(Side.CHECKOUTS, checkout(0, AT + 1_100, session="x", stamp=AT + 1_100), now)
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, offer(1, AT + 1_800, offer_id="o2", stamp=AT + 1_800), now)
    for n in range(2, 8):
        runner.on_message(Side.OFFERS, offer(n, AT - 5_000, offer_id=f"l{n}", stamp=AT - 5_000), now)
    assert runner.late_run.suspended
    assert runner.task.watermarks.checkouts.value < runner.task.watermarks.offers.value
    assert runner.pauses() == {Side.OFFERS}
