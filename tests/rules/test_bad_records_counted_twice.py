"""What cannot be read, before and after its task has gone and come back: the last 1,000 count it twice."""

from __future__ import annotations

import pytest
from support.builders import lone_checkout, lone_offer, raw
from support.loop_world import LoopWorld, assign, revoke

BAD = b"\x00 another schema"


def bad_of(topic: str, count: int) -> list:
    return [raw(topic, offset, f"s{offset}", BAD) for offset in range(count)]


def test_checkouts_that_are_read_again_are_no_longer_row() -> None:
    world = LoopWorld(max_run=10, max_ratio=1.0)
    world.begin()
    world.turn(bad_of("checkouts", 6))
    world.turn(revoke)
    world.turn(assign)
    assert world.consumer.committed_offsets["checkouts", 0] == 0
    world.turn(bad_of("checkouts", 6))


@pytest.mark.parametrize("topic", ["offers", "checkouts"])
def test_bad_records_that_are_read_again_after_a_rebalance_count_once_by_their_share_too(topic: str) -> None:
    """60 of 60 are bad: 40 more might be. Within two seconds the group rebalances, and they are read again."""
    world = LoopWorld()  # max_run 100, max_ratio 0.1: as shipped
    world.begin()
    world.turn(bad_of(topic, 60))
    world.turn(revoke)
    world.turn(assign)
    assert world.consumer.committed_offsets[topic, 0] == 0
    world.turn(bad_of(topic, 60))


def test_checkouts_that_are_settled_and_read_again_by_each_rebalance_count_once() -> None:
    """They are long settled: what stands behind them is read, and committed. But the checkouts of two lookbacks are
    read again by each new owner of the task, and an instance that keeps running counts them each time."""
    world = LoopWorld()
    world.begin()
    log = bad_of("checkouts", 40) + [lone_checkout(40 + n, 10_000 + n) for n in range(100)]
    world.turn(log)
    world.turn([lone_offer(n, 10_000 + n) for n in range(10)])
    for _ in range(3):
        world.commit()
        world.turn(revoke)
        world.turn(assign)
        assert world.consumer.committed_offsets["checkouts", 0] == 0
        world.turn(log)
