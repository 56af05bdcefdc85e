"""Whatever crashes, and wherever: no call is false, none is missed, and no offer meets two fates."""

from __future__ import annotations

from hypothesis import given
from strategies import Logs, Step, examples, logs, schedules
from task_world import World


@examples(300)
@given(logs(garbage=True), schedules())
def test_crashes_anywhere_lose_nothing_and_make_no_false_call(drawn: Logs, schedule: list[Step]) -> None:
    world = World(drawn)
    world.run(schedule)
    world.finish()
    world.check_all_told()
