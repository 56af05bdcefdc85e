"""A shop with few checkouts, months of which are read in a turn or two, as by a backfill: nearly each of them follows
on a gap. What a task of the instance is told of them must not grow with their number: each is looked through with each
further one, for each task."""

from __future__ import annotations

from support.guarded_instance import SILENCE, Instance

from consumer.core.rules import MAX_TIME

MANY = 200


def test_gaps_that_are_found_in_the_same_turn_are_one_to_the_other_tasks() -> None:
    instance = Instance(2)
    for task in (0, 1):
        instance.checkout(0, task=task)
    instance.turn()
    instance.offer(10, "o", task=1)
    for number in range(1, MANY):
        instance.checkout(number * (SILENCE + 1), session=f"c{number}", task=0)
    instance.turn()
    guard = instance.tasks[1].guard
    assert guard.decides_to < MAX_TIME, "a purchase may still land"
    assert len({gap.lands_at for gap in guard._gaps}) <= 2, "that of before the first checkout, and those of the turn"
    assert len(guard._gaps) <= 4
