"""A task that has gone is not kept in memory by what it had read that could not be read."""

from __future__ import annotations

import gc
import weakref

from support.builders import lone_offer, raw
from support.loop_world import Waiting, assign, revoke


def test_tasks_that_have_gone_are_not_kept_for_their_bad_records() -> None:
    """The group rebalances every few seconds, as where an instance is started again and again, and of ten offers a
    second one cannot be read: of the last hundred seconds each task is kept, with all its sessions and checkouts."""
    world = Waiting()
    world.begin()
    gone = []
    for _ in range(10):
        begin = world.consumer.assigned["offers"]
        for offset in range(begin, begin + 5):
            bad = offset == begin + 4
            world.turn([raw("offers", offset, "s", b"\x00 bad") if bad else lone_offer(offset, 10_000 + offset)])
        gone.append(weakref.ref(world.runner.task))
        world.skipped += 1.0
        world.turn(revoke)
        world.turn(assign)
    world.cancelled.clear()  # the test's own
    world.loop._report()  # as each minute: until then they are kept by the stamps that were read of them
    gc.collect()
    kept = sum(task() is not None for task in gone)
    assert kept <= 1, f"of {len(gone)} tasks that have gone {kept} are kept"
