"""The same two logs give the same outcomes in any interleaving: those of the oracle."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from strategies import Logs, Step, examples, logs, schedules
from task_world import World


@examples(300)
@given(logs(), schedules())
def test_any_interleaving_gives_the_fates_of_the_oracle(drawn: Logs, schedule: list[Step]) -> None:
    world = World(drawn)
    world.run(schedule, crashes=False)
    world.finish()
    assert Counter(d.fate for d in world.decisions) == Counter(world.expected)
    world.check_all_told()
