"""While a silence of another task holds decisions, the checkouts of a task with a backlog are read on without a bound.

Two tasks of one instance. A is read to the end of its log, and nobody buys there: the silence is noticed. The other has
a backlog of days. Once as many of its offers are undecided as may be, they are read no further; its checkouts are,
since a checkout ends a silence. None of them does before they are all read, and none is forgotten while offers stand.
"""

from __future__ import annotations

from datetime import timedelta

from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import TOPICS, LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side
from consumer.runtime.suspension import _LEAST_KEPT

T = 1_800_000_000_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
BATCH = 5_000
A, BEHIND = 0, 1


def of(partition: int, message: Message) -> Message:
    message._partition = partition
    return message


def test_checkouts_of_a_backlog_are_read_no_further_than_may_be_kept_while_another_task_is_silent() -> None:
    join = {
        "window": timedelta(minutes=30), "lookback": timedelta(hours=2), "lateness": timedelta(minutes=5),
        "checkout_silence": timedelta(minutes=30), "checkout_grace": timedelta(minutes=1),
    }  # fmt: skip
    world = LoopWorld(join=join, partitions=2)
    paused: set[tuple[str, int]] = set()
    world.consumer.pause = lambda places: paused.update((p.topic, p.partition) for p in places)  # type: ignore[method-assign]
    world.consumer.resume = lambda places: paused.difference_update(  # type: ignore[method-assign]
        (p.topic, p.partition) for p in places
    )
    now = T + 72 * HOUR
    world.now = now / 1000
    world.set_max_unsettled(20)
    world.consumer.ends = dict.fromkeys(TOPICS, 0)
    world.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in (A, BEHIND)]))
    world.turn([of(A, checkout(0, now - 2 * HOUR, stamp=now - 2 * HOUR))])
    world.turn([of(A, offer(0, now - HOUR, stamp=now - HOUR))])
    world.turn([of(BEHIND, checkout(0, T, session="right", stamp=T)), of(BEHIND, offer(0, T, stamp=T))])
    for side in Side:
        world.loop.tasks.runners[A].task.idle(side, now)
    world.loop.tasks.changed = True
    world.turn()
    assert world.loop.suspension.by is SuspendedBy.SILENCE
    kept = done = shown = 1
    task = world.loop.tasks.runners[BEHIND].task
    while ("checkouts", BEHIND) not in paused and kept < 3 * _LEAST_KEPT:
        batch = range(done, done + BATCH)
        world.turn([of(BEHIND, checkout(n, T + SECOND * n, session=f"x{n}", stamp=T + SECOND * n)) for n in batch])
        done += BATCH
        while ("offers", BEHIND) not in paused and shown * MINUTE < done * SECOND:
            at = T + shown * MINUTE
            world.turn([of(BEHIND, offer(shown, at, session=f"s{shown}", offer_id=f"o{shown}", stamp=at))])
            shown += 1
        kept = task.kept_checkouts
    assert kept < 1.5 * _LEAST_KEPT, f"{kept} checkouts are kept, those of {done / 3600:.0f} hours, and more are read"
