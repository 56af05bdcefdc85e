"""An instance that had tasks, had none for a while, and takes over some whose checkouts have come all the time.

What its guards saw last is older than that: no gap in the checkouts, but in what this instance was told of them.
"""

from __future__ import annotations

from dataclasses import replace

from support.guarded_instance import RULES, SILENCE, Instance

from consumer.core.guards import Guards
from consumer.core.rules import MAX_TIME
from consumer.core.task import Task


def test_what_a_spare_instance_was_not_told_is_no_gap() -> None:
    before, later = Instance(), Instance()
    guards = Guards(checkout_silence=SILENCE, unmatched_limit=3, lateness=RULES.lateness)
    before.checkout(0)
    guards.judge(before.tasks)
    guards.judge([])
    for time in range(600, 1_000, 20):
        later.checkout(time)
        later.offer(time)
    later.idle(1_200)
    later.turn()
    later.checkout(1_195)
    plan = later.tasks[0].prepare_commit()
    assert plan is not None
    rules = replace(RULES, checkout_silence=SILENCE)
    taken_over = Task(rules, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    guards.judge([taken_over])
    assert taken_over.guard.decides_to == MAX_TIME
