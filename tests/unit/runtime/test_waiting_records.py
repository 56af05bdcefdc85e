"""Records that wait are applied in their order, and calls wait until they all are."""

from __future__ import annotations

import pytest
from support.builders import NOW, checkout, offer

from consumer.core.watermark import Side
from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.waiting_records import WaitingRecords

WHY = "schema id 7: the registry does not answer"


@pytest.fixture
def clock_check() -> ClockCheck:
    return ClockCheck(lambda: NOW / 1000, lambda: 0.0, max_skew=300.0)


@pytest.fixture
def waiting(clock_check: ClockCheck) -> WaitingRecords:
    return WaitingRecords(clock_check)


def test_nothing_waits_at_first(waiting: WaitingRecords) -> None:
    assert (bool(waiting), waiting.sides, list(waiting.drain())) == (False, set(), [])


def test_each_input_keeps_its_order(waiting: WaitingRecords) -> None:
    records = [(Side.CHECKOUTS, checkout(0, 1)), (Side.OFFERS, offer(5, 1)), (Side.CHECKOUTS, checkout(1, 1))]
    for side, message in records:
        waiting.add(side, message)
    assert (bool(waiting), waiting.sides) == (True, set(Side))
    drained = [(side, message.offset()) for side, message in waiting.drain()]
    assert drained == [(Side.OFFERS, 5), (Side.CHECKOUTS, 0), (Side.CHECKOUTS, 1)]
    assert not waiting


def test_what_is_added_anew_while_the_rest_is_drained_keeps_its_place(waiting: WaitingRecords) -> None:
    for offset in range(3):
        waiting.add_for_schema(Side.OFFERS, offer(offset, 1), WHY)
    for side, message in waiting.drain():
        waiting.add_for_schema(side, message, WHY)
    assert [message.offset() for message in waiting.records[Side.OFFERS]] == [0, 1, 2]
    assert waiting.schemas == {Side.OFFERS: WHY}


@pytest.mark.parametrize("side", Side)
def test_calls_are_withheld_while_checkouts_wait_for_a_schema_until_the_last_of_them_is_applied(
    waiting: WaitingRecords, side: Side
) -> None:
    is_withheld = side is Side.CHECKOUTS
    for offset in range(2):
        waiting.add_for_schema(side, checkout(offset, 1), WHY)
    assert waiting.withhold_calls is is_withheld
    assert [waiting.withhold_calls for _ in waiting.drain()] == [is_withheld] * 2
    assert (waiting.withhold_calls, waiting.schemas) == (False, {})


def test_calls_stay_withheld_where_a_schema_is_still_not_known(waiting: WaitingRecords) -> None:
    waiting.add_for_schema(Side.CHECKOUTS, checkout(0, 1), WHY)
    for side, message in waiting.drain():
        waiting.add_for_schema(side, message, WHY)
    assert waiting.withhold_calls


def test_no_call_of_any_task_leaves_while_checkouts_wait_for_our_clock(
    waiting: WaitingRecords, clock_check: ClockCheck
) -> None:
    waiting.add_for_clock(Side.OFFERS, offer(0, NOW))
    assert clock_check.gate().opening is Opening.OPEN
    waiting.add_for_clock(Side.CHECKOUTS, checkout(0, NOW))
    assert not waiting.withhold_calls, "that is said to all tasks, by the clock"
    assert [clock_check.gate().opening for _ in waiting.drain()] == [Opening.CLOSED] * 2
    assert clock_check.gate().opening is Opening.OPEN


def test_a_task_that_is_gone_holds_up_nobody(waiting: WaitingRecords, clock_check: ClockCheck) -> None:
    waiting.add_for_clock(Side.CHECKOUTS, checkout(0, NOW))
    waiting.close()
    assert clock_check.gate().opening is Opening.OPEN
