"""A suspension lasts on the instance that stays when a task of it goes to another one.

By the `consumer` protocol a member keeps what it is not to give away: its other task runs on, with what it has counted
itself. Nothing has matched since, and no checkout has been dated right.
"""

from __future__ import annotations

from support.guarded_instance import RULES, START, Instance

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side

LIMIT = 4

SOLD = {f"o{number}" for number in range(LIMIT)}


def test_purchased_ids_that_match_nothing_hold_the_task_that_stays() -> None:
    instance = Instance(2, limit=LIMIT)
    for number in range(LIMIT):
        session, task = f"s{number}", number % 2
        instance.offer(10 * number, f"o{number}", session=session, task=task)
        instance.checkout(10 * number + 5, f"booking of o{number}", session=session, task=task)
    instance.idle(55)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    instance.tasks.pop()
    assert not SOLD & set(instance.turn()), "bought, under other ids"


def test_misdated_checkouts_hold_the_task_that_stays() -> None:
    instance = Instance(2, limit=LIMIT)
    for task in (0, 1):
        instance.offer(0, f"early{task}", session=f"e{task}", task=task)
        instance.checkout(2, session=f"other{task}", task=task)
    for number in range(LIMIT):
        session, task = f"s{number}", number % 2
        instance.offer(10 * number, f"o{number}", session=session, task=task)
        at = 10 * number + 5
        instance.checkout(at - RULES.lookback - 1, session=session, task=task, stamp=at)
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
