"""The same two logs give the same outcomes in any interleaving: those of the oracle."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from support.strategies import Logs, Step, examples, logs, schedules
from support.task_world import TaskWorld

# The world checks with every decision that it is not early, and the oracle's to the last detail.


@examples(250)
@given(logs(), schedules())
def test_any_interleaving_gives_the_fates_of_the_oracle(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn)
    world.run(schedule, crashes=False)
    world.finish()
    assert Counter(d.fate for d in world.decisions) == Counter(world.expected)
    world.check_all_told()


@examples(100)
@given(logs(), schedules(), schedules())
def test_two_interleavings_of_the_same_logs_agree(drawn: Logs, one: list[Step], other: list[Step]) -> None:
    told = []
    for schedule in (one, other):
        world = TaskWorld(drawn)
        world.run(schedule, crashes=False)
        world.finish()
        told.append(Counter(d.fate for d in world.decisions))
    assert told[0] == told[1]


@examples(150)
@given(logs(garbage=True, tainted=True), schedules())
def test_an_unreadable_checkout_taints_what_it_could_have_bought_and_nothing_else(
    drawn: Logs, schedule: list[Step]
) -> None:
    world = TaskWorld(drawn)
    world.run(schedule, crashes=False)
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(late=True, garbage=True), schedules())
def test_a_late_presentation_is_dead_lettered_and_the_rest_is_decided_rightly(
    drawn: Logs, schedule: list[Step]
) -> None:
    world = TaskWorld(drawn, strict=False)
    world.run(schedule, crashes=False)
    world.finish()
    world.check_all_told()
    decided = [offset for d in world.decisions for offset in d.fate.offsets]
    assert len(decided) == len(set(decided))
    assert world.dead.isdisjoint(decided)


@examples(100)
@given(logs(), schedules())
def test_decisions_come_in_order_of_decide_at(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn)
    task, decide = world.task, world.task.decide

    def watched(**how: Any) -> list:
        chains = decide(**how)
        assert [c.decide_at for c in chains] == sorted(c.decide_at for c in chains)
        return chains

    task.decide = watched
    world.run(schedule, crashes=False)
    world.finish()
    assert len(world.decisions) == len(world.expected)
