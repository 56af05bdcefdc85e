"""The watermark: how far event time has come, and who may move it."""

from __future__ import annotations

import pytest
from support.strategies import START

from consumer.core.checkpoint import Position
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
LATER = START + 10**6


@pytest.fixture
def task() -> Task:
    return Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), horizon=None)


def offer(task: Task, offset: int, time: int, stamp: int | None = None) -> None:
    at = START + (time if stamp is None else stamp)
    task.offer(OfferPresented("s1", "ada", f"o{offset}", START + time, offset), at, LATER)


def checkout(task: Task, offset: int, time: int) -> None:
    task.checkout(CheckoutCompleted("s1", f"c{offset}", START + time, offset, ()), START + time, LATER)


def test_an_input_without_records_holds_the_watermark(task: Task) -> None:
    offer(task, 0, 1000)
    assert task.watermark == MIN_TIME
    assert task.decide() == []


def test_the_watermark_is_that_of_the_input_that_is_behind(task: Task) -> None:
    offer(task, 0, 1000)
    checkout(task, 0, 400)
    assert task.watermark == START + 400 - 5 - 1
    checkout(task, 1, 2000)
    assert task.watermark == START + 1000 - 5 - 1


def test_the_watermark_stays_below_every_event_that_is_still_on_time(task: Task) -> None:
    checkout(task, 0, 5000)
    offer(task, 0, 100)
    assert START + 100 - RULES.lateness > task.watermark


def test_an_older_event_does_not_take_the_watermark_back(task: Task) -> None:
    checkout(task, 0, 1000)
    offer(task, 0, 1000)
    offer(task, 1, 996)
    assert task.watermark == START + 1000 - 5 - 1


def test_the_lower_of_event_time_and_record_timestamp_counts(task: Task) -> None:
    checkout(task, 0, 5000)
    offer(task, 0, 1000, stamp=960)
    assert task.watermark == START + 960 - 5 - 1
    offer(task, 1, 1000, stamp=1300)
    assert task.watermark == START + 1000 - 5 - 1


def test_an_idle_input_reaches_the_clock_that_was_read_before_the_question(task: Task) -> None:
    checkout(task, 0, 5000)
    offer(task, 0, 1000)
    task.idle(Side.OFFERS, START + 2000)
    assert task.watermark == START + 2000 - 5 - 1
    task.idle(Side.OFFERS, START + 1500)
    assert task.watermark == START + 2000 - 5 - 1


def test_a_chain_is_decided_at_decide_at_and_not_a_millisecond_before(task: Task) -> None:
    offer(task, 0, 0)
    task.idle(Side.CHECKOUTS, LATER)
    task.idle(Side.OFFERS, START + 100 + 5)
    assert task.watermark == START + 99
    assert task.decide() == []
    task.idle(Side.OFFERS, START + 100 + 6)
    assert [chain.decide_at for chain in task.decide()] == [START + 100]


def test_a_presentation_in_time_defers_the_decision(task: Task) -> None:
    offer(task, 0, 0)
    task.offer(OfferPresented("s1", "ada", "o0", START + 100, 1), START + 100, LATER)
    for side in Side:
        task.idle(side, START + 199 + 6)
    assert task.decide() == []
    for side in Side:
        task.idle(side, START + 200 + 6)
    assert [len(chain.presentations) for chain in task.decide()] == [2]


def test_the_input_that_is_ahead_is_to_be_paused_and_never_the_one_that_holds_the_watermark(task: Task) -> None:
    offer(task, 0, 0)
    checkout(task, 0, 0)
    assert task.watermarks.input_to_pause() is None
    offer(task, 1, 1000)
    assert task.watermarks.input_to_pause() is Side.OFFERS
    checkout(task, 1, 990)
    assert task.watermarks.input_to_pause() is None
    checkout(task, 2, 3000)
    assert task.watermarks.input_to_pause() is Side.CHECKOUTS


def test_the_watermark_after_a_restart_is_the_one_whose_decisions_were_committed(task: Task) -> None:
    offer(task, 0, 0)
    checkout(task, 0, 0)
    for side in Side:
        task.idle(side, START + 50)
    task.decide()
    plan = task.prepare_commit()
    assert plan is not None
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    offer(again, 0, 0)
    assert again.restoring
    checkout(again, 0, 0)
    assert not again.restoring
    assert again.watermark == START + 44
