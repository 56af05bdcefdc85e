"""Records that cannot be read, before and after their task has gone and come back: they are there but once."""

from __future__ import annotations

from support.builders import raw
from support.loop_world import LoopWorld, assign, revoke

UNREADABLE = [raw("checkouts", offset, f"s{offset}", b"\x00 another schema") for offset in range(6)]


def test_checkouts_that_are_read_again_are_no_longer_row() -> None:
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn(UNREADABLE)
    world.turn(revoke)
    world.turn(assign)
    assert world.consumer.committed_offsets["checkouts", 0] == 0
    world.turn(UNREADABLE)
