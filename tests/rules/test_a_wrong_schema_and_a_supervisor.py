"""Rule 4: a wrong schema drains no topic, though a supervisor starts the service again each time that it stops."""

from __future__ import annotations

import pytest
from support.builders import offer, raw
from support.loop_world import LoopWorld, revoke

from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import QUIET


def unreadable(offset: int) -> object:
    return raw("offers", offset, f"s{offset}", b"\x00 another schema")


def test_nothing_of_a_row_of_unreadable_records_is_committed_before_it_stops_the_service() -> None:
    """They come one by one, as in a live topic, and a commit is made behind each of them."""
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    for offset in range(10):
        world.turn([unreadable(offset)])
        world.skipped += QUIET / 2
        world.turn()
        world.commit()
    assert len(world.sink.dead) == 10
    assert world.committed in (None, 0)
    with pytest.raises(TooManyDeadLettersError):
        world.turn([unreadable(10)])
    assert world.committed in (None, 0)


def test_a_row_that_ends_is_committed() -> None:
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn([unreadable(0), unreadable(1)])
    world.skipped += QUIET
    world.turn()
    world.commit()
    assert world.committed == 2


def test_a_hand_over_commits_nothing_of_a_row() -> None:
    """Where two instances stop for it by turns each stop is a rebalance of the other, and would drain a row."""
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn([unreadable(offset) for offset in range(9)])
    world.turn(revoke)
    assert world.committed in (None, 0)


def test_a_hand_over_commits_a_row_that_has_ended() -> None:
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn([unreadable(offset) for offset in range(9)])
    world.skipped += QUIET
    world.turn()
    world.turn(revoke)
    assert world.committed == 9


def test_a_stop_that_was_asked_for_commits_a_row() -> None:
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn([unreadable(offset) for offset in range(9)])
    world.loop.stop()
    world.loop.run()
    assert world.committed == 9


def read_on(world: LoopWorld) -> None:
    """Every second record is unreadable, and a commit is made behind each of them."""
    for offset in range(world.runner.task.next_offset(Side.OFFERS), 1_000):
        good = offer(offset, 10_000 + offset, session=f"s{offset}", offer_id=f"o{offset}")
        world.turn([good if offset % 2 else unreadable(offset)])
        world.commit()


def a_start(before: LoopWorld | None) -> LoopWorld:
    """One more start of the same group."""
    world = LoopWorld(max_run=100, max_ratio=0.01)
    world.begin() if before is None else world.begin_after(before)
    with pytest.raises(TooManyDeadLettersError):
        read_on(world)
    return world


def test_each_start_finds_again_what_is_bad_where_every_second_record_is() -> None:
    """The limit is ten of a thousand. However often it is started, the eleventh bad one is the last that it reads."""
    world, furthest = None, []
    for _ in range(4):
        world = a_start(world)
        furthest.append(max(offset for offset, _ in world.sink.dead))
    assert furthest == furthest[:1] * 4, f"the last dead letter of each start: {furthest}"
