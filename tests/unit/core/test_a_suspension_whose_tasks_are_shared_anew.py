"""A suspension lasts when the tasks of the instance are shared among more instances, as by a rolling restart.

The checkout producer writes booking ids where offer ids belong. The instance has found that, and decides nothing. Then
a second instance joins, and each has one of the two tasks. Nothing has matched since, so neither may decide.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from support.guarded_instance import LATER, RULES, SILENCE, START, Instance

from consumer.core.guards import Guards, SuspendedBy
from consumer.core.task import Task
from consumer.core.watermark import Side

LIMIT = 4

SOLD = {f"o{number}" for number in range(LIMIT)}


class SharedInstance(Instance):
    """An instance of two tasks, each of which may begin anew on an instance of its own."""

    def alone(self, number: int) -> tuple[Guards, Task]:
        """What this task is, once it has been committed, on an instance that has no other; with its guards."""
        plan = self.tasks[number].prepare_commit()
        assert plan is not None
        rules = replace(RULES, checkout_silence=SILENCE)
        task = Task(rules, partitions=2, offers=plan.offers, checkouts=plan.checkouts)
        offers, checkouts = self.logs[number]
        for checkout, stamp in checkouts[plan.checkouts.offset :]:
            task.checkout(copy(checkout), stamp, LATER)
        for offer, stamp in offers[plan.offers.offset :]:
            task.offer(offer, stamp, LATER)
        assert not task.restoring
        for side in Side:
            task.idle(side, START + 60)
        return Guards(checkout_silence=SILENCE, unmatched_limit=LIMIT, lateness=RULES.lateness), task


def sell_under_booking_ids(instance: Instance) -> None:
    """In each of the two tasks fewer than the limit."""
    for number in range(LIMIT):
        session, task = f"s{number}", number % 2
        instance.offer(10 * number, f"o{number}", session=session, task=task)
        instance.checkout(10 * number + 5, f"booking of o{number}", session=session, task=task)


def misdate_checkouts(instance: Instance) -> None:
    """The same of checkouts that are dated too early; before them there is one of each task that is dated right."""
    for task in (0, 1):
        instance.offer(0, f"early{task}", session=f"e{task}", task=task)
        instance.checkout(2, session=f"other{task}", task=task)
    for number in range(LIMIT):
        session, task = f"s{number}", number % 2
        instance.offer(10 * number, f"o{number}", session=session, task=task)
        at = 10 * number + 5
        instance.checkout(at - RULES.lookback - 1, session=session, task=task, stamp=at)


def test_purchased_ids_that_match_nothing_hold_each_instance_that_takes_over_a_part_of_the_tasks() -> None:
    instance = SharedInstance(2, limit=LIMIT)
    sell_under_booking_ids(instance)
    instance.idle(55)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    decided = []
    for number in (0, 1):
        guards, task = instance.alone(number)
        guards.judge([task])
        if guards.lets_decide(task):
            decided += [chain.offer_id for chain in task.decide()]
    assert decided == [], "these were bought, under other ids, and nothing has matched since that was found"


def test_misdated_checkouts_hold_each_instance_that_takes_over_a_part_of_the_tasks() -> None:
    instance = SharedInstance(2, limit=LIMIT)
    misdate_checkouts(instance)
    instance.idle(55)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.MISDATED

    held = []
    for number in (0, 1):
        guards, task = instance.alone(number)
        guards.judge([task])
        held.append(guards.suspended_by)
    assert held == [SuspendedBy.SILENCE] * 2, "none has been dated right since; each has too few to say by what"


# --- a task goes to another instance, and the other one stays: by the `consumer` protocol a member keeps what it is not
# to give away, with what it has counted itself


def test_purchased_ids_that_match_nothing_hold_the_task_that_stays() -> None:
    instance = Instance(2, limit=LIMIT)
    sell_under_booking_ids(instance)
    instance.idle(55)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    instance.tasks.pop()
    assert not SOLD & set(instance.turn()), "bought, under other ids"


def test_misdated_checkouts_hold_the_task_that_stays() -> None:
    instance = Instance(2, limit=LIMIT)
    misdate_checkouts(instance)
    instance.idle(105)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.MISDATED

    instance.tasks.pop()
    instance.turn()
    assert instance.guards.suspended_by is not SuspendedBy.NONE, "none has been dated right since"


def test_a_silence_holds_the_task_that_stays_though_it_is_behind_the_one_that_showed_it() -> None:
    instance = Instance(2)
    stays, goes = 0, 1
    instance.checkout(0, task=stays)
    instance.checkout(0, task=goes, session="t")
    instance.offer(3, "bought at 10", task=stays)
    instance.offer(200, task=goes, session="t")
    for side in Side:
        instance.tasks[goes].idle(side, START + 200)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.SILENCE

    instance.tasks.pop()
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.SILENCE, "no checkout has come since"
