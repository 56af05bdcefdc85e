"""A silence ends while one of the tasks still reads again what it had read. It waits for what lands, as the others do,
and so does whoever has it next."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from support.guarded_instance import LATER, RULES, SILENCE, START, Instance

from consumer.core.checkpoint import CheckoutCheckpoint
from consumer.core.guards import SuspendedBy
from consumer.core.task import Task

A, B = 0, 1


def test_a_task_that_came_within_a_silence_and_was_restored_after_it_remembers_that_checkouts_land() -> None:
    instance = Instance(2)
    for task in (A, B):
        instance.checkout(0, task=task)
    instance.offer(10, "bought at 50", task=B)
    instance.turn()
    plan = instance.tasks[B].prepare_commit()
    assert plan is not None
    rules = replace(RULES, checkout_silence=SILENCE)
    came = instance.tasks[B] = Task(rules, partitions=2, offers=plan.offers, checkouts=plan.checkouts)
    assert came.restoring
    instance.offer(160, task=A)
    instance.tasks[A].watermarks.checkouts.complete_to = START + 160
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.SILENCE
    instance.checkout(100, task=A)  # what was kept back comes in order, and shows no gap
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    for checkout, stamp in instance.logs[B][1][plan.checkouts.offset :]:
        came.checkout(copy(checkout), stamp, LATER)
    for offer, stamp in instance.logs[B][0][plan.offers.offset :]:
        came.offer(offer, stamp, LATER)
    assert not came.restoring
    instance.turn()
    assert not instance.guards.lets_decide(came)
    again = came.prepare_commit()
    assert again is not None
    remembered = CheckoutCheckpoint.decode(again.checkouts.metadata, again.checkouts.offset).guard.resume_at
    assert remembered == instance.guards.resume_at == START + 160 + RULES.lateness
