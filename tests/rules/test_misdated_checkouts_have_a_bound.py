"""A backlog of checkouts that are all dated in seconds: decisions are suspended, and what is kept has a bound.

They move no watermark, so that the offers of the same time are soon a window ahead, and are paused for that: few are
undecided. The checkouts are read on, to the end of the log, though hundreds of thousands are kept already.
"""

from __future__ import annotations

from datetime import timedelta

from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.loop_world import TOPICS, LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.runtime.suspension import _LEAST_KEPT

T = 1_800_000_000_000
BATCH = 5_000


def test_misdated_checkouts_are_read_no_further_than_may_be_kept_though_offers_are_only_paused_as_ahead() -> None:
    world = LoopWorld(join={"window": timedelta(minutes=30), "lookback": timedelta(hours=2), "unmatched_limit": 50})
    world.now = T / 1000 + 86_400  # a day behind
    world.set_max_unsettled(1_000)
    world.begin()
    world.turn([checkout(0, T, session="right", stamp=T)])
    world.turn([offer(n, T + 60_000 * n, session=f"s{n}", offer_id=f"o{n}", stamp=T + 60_000 * n) for n in range(60)])
    assert "offers" in world.consumer.paused, "they are a window ahead"
    kept = offset = 0
    while "checkouts" not in world.consumer.paused and kept < 2 * _LEAST_KEPT:
        at = T + 100 * offset
        batch = range(offset + 1, offset + 1 + BATCH)
        world.turn([checkout(n, at // 1000, session=f"x{n}", stamp=at) for n in batch])
        offset += BATCH
        kept = world.runner.task.kept_checkouts
        assert world.loop.suspension.by is SuspendedBy.MISDATED
    assert kept < 1.5 * _LEAST_KEPT, f"{kept} checkouts are kept, and more are read"


def test_checkouts_by_a_clock_that_stands_still_and_stamps_too_are_read_no_further_than_may_be_kept() -> None:
    world = LoopWorld(join={"window": timedelta(minutes=30), "lookback": timedelta(hours=2), "unmatched_limit": 50})
    world.now = T / 1000 + 86_400
    world.set_max_unsettled(1_000)
    world.begin()
    world.turn([checkout(0, T, session="right", stamp=T)])
    world.turn([offer(n, T + 60_000 * n, session=f"s{n}", offer_id=f"o{n}", stamp=T + 60_000 * n) for n in range(60)])
    kept = offset = 0
    while "checkouts" not in world.consumer.paused and kept < 2 * _LEAST_KEPT:
        world.turn([checkout(n, T, session=f"x{n}", stamp=T) for n in range(offset + 1, offset + 1 + BATCH)])
        offset += BATCH
        kept = world.runner.task.kept_checkouts
    assert kept < 1.5 * _LEAST_KEPT, f"{kept} checkouts are kept, and more are read"


def test_where_too_many_misdated_ones_are_kept_the_partition_is_read_on_whose_checkouts_are_dated_right() -> None:
    """Partition 0 is full of misdated ones. The next one of partition 1 would end the suspension by itself."""
    world = LoopWorld(
        join={"window": timedelta(minutes=30), "lookback": timedelta(hours=2), "unmatched_limit": 50}, partitions=2
    )
    paused: set[tuple[str, int]] = set()
    world.consumer.pause = lambda places: paused.update((p.topic, p.partition) for p in places)  # type: ignore[method-assign]
    world.consumer.resume = lambda places: paused.difference_update(  # type: ignore[method-assign]
        (p.topic, p.partition) for p in places
    )
    world.now = T / 1000 + 86_400
    world.set_max_unsettled(1_000)
    world.consumer.ends = dict.fromkeys(TOPICS, 0)
    world.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in (0, 1)]))
    world.turn([checkout(0, T, session="right", stamp=T)])
    world.turn([checkout(n, T // 1000, session=f"x{n}", stamp=T) for n in range(1, 101)])
    assert world.loop.suspension.by is SuspendedBy.MISDATED
    world.turn([offer(n, T + n, session=f"s{n}", offer_id=f"o{n}", stamp=T + n) for n in range(2_000)])
    offset = 100
    while ("checkouts", 0) not in paused and offset < 2 * _LEAST_KEPT:
        at = T + offset
        world.turn([checkout(n, at // 1000, session=f"x{n}", stamp=at) for n in range(offset + 1, offset + 1 + BATCH)])
        offset += BATCH
    assert world.loop.suspension.by is SuspendedBy.MISDATED
    assert ("checkouts", 0) in paused
    assert ("checkouts", 1) not in paused, "what ends the suspension by itself is not read"
