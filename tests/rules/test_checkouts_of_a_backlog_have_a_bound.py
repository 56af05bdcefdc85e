"""While a silence of another task holds decisions, checkouts of a backlog are read no further than may be kept.

Two tasks of one instance. A is read to the end of its log, and nobody buys there: the silence is noticed. The other has
a backlog of days. Once as many of its offers are undecided as may be, they are read no further. Its checkouts are, for
one that ends the silence, but none of them does before they are all read, and none is forgotten while offers stand. So
they stop too. Those of A are read on, where a checkout ends the silence.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import TOPICS, LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side
from consumer.runtime import suspension

T = 1_800_000_000_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
BATCH, MOST = 500, 2_000
A, BEHIND = 0, 1


def of(partition: int, message: Message) -> Message:
    message._partition = partition
    return message


def test_they_are_read_no_further_than_may_be_kept_while_another_task_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suspension, "_LEAST_KEPT", MOST)
    monkeypatch.setattr(suspension, "_LEAST_STOPPED", BATCH)
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
    with capture_logs() as logs:
        kept = read_backlog(world, paused)
    assert kept < 2 * MOST, f"{kept} checkouts are kept, and more are read"
    assert ("checkouts", A) not in paused, "there a checkout ends the silence"
    (told,) = [line for line in logs if line["event"].startswith("checkouts are read no further either")]
    assert told["partitions"] == [BEHIND]


def read_backlog(world: LoopWorld, paused: set[tuple[str, int]]) -> int:
    """Until its checkouts are paused. Returns how many are kept."""
    kept = done = shown = 1
    task = world.loop.tasks.runners[BEHIND].task
    while ("checkouts", BEHIND) not in paused and kept < 10 * MOST:
        batch = range(done, done + BATCH)
        world.turn([of(BEHIND, checkout(n, T + SECOND * n, session=f"x{n}", stamp=T + SECOND * n)) for n in batch])
        done += BATCH
        while ("offers", BEHIND) not in paused and shown * MINUTE < done * SECOND:
            at = T + shown * MINUTE
            world.turn([of(BEHIND, offer(shown, at, session=f"s{shown}", offer_id=f"o{shown}", stamp=at))])
            shown += 1
        kept = task.kept_checkouts
    return kept
