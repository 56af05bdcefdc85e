"""The mapping of the inputs is changed between two starts: refused, until an operator says yes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.workload.kinds import Kind, source_of

if TYPE_CHECKING:
    from simulation.workload.faults import Happening
    from simulation.world.world import World

BEFORE, AFTER = "m00000000", "m0123abcd"
"""The hashes of both. By both a record reads the same, so that each fate stays what it is."""

MORE_TEXT = 12
"""Characters by which the text of each commit is longer then."""


def changes_of_mapping(world: World) -> list[Happening]:
    """When it is changed, if it is in this seed, and how."""
    random = source_of(Kind.CHANGED_MAPPING, world.scenario.seed)
    if Kind.CHANGED_MAPPING not in world.kinds or random.random() < 0.7:
        return []
    world.broker.mapping = BEFORE
    at, goes_back = random.uniform(0, world.scenario.span / 1000 + 20), random.random() < 0.3
    return [(at, lambda: change_mapping(world, goes_back=goes_back))]


def change_mapping(world: World, *, goes_back: bool) -> None:
    """All are stopped, and start again with another mapping.

    Not where a doubt is open already, or nothing is committed that could be of the mapping of before.
    """
    broker = world.broker
    if world.in_doubt or not all(text for _, text in broker.group.committed.values()):
        return
    for process in world.processes:
        process.kill()
    world.faults["the mapping is changed"] += 1
    world.tell("the mapping is changed")
    world.commits.on_loss()
    world.operator.goes_back = goes_back
    broker.mapping = AFTER
    broker.lost_at = world.clock.now
    broker.known_at.clear()
    world.in_doubt = bool(broker.group.committed)
    world.not_to_commit = set(broker.group.committed)
