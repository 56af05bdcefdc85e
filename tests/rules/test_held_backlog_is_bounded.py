"""A gap of the instance holds a task that lags behind it, over a restart, and nothing bounds what that reads meanwhile.

Two tasks, A and B. A is read to the end of its log, B has a backlog of ten hours. A has no checkout for two hours: a
gap of the instance. It holds nothing in B, which is not there yet. But it is remembered with B by one time, up to which
all of B is held after a restart.
"""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.kept_logs import MINUTE, NOON, A, B, KeptLogs, ProcessOnKeptLogs
from support.loop_world import TOPICS

MOST = 50
"""delivery.max_unsettled"""

HOUR = 60 * MINUTE


class BacklogShop(ProcessOnKeptLogs):
    """A process with both tasks."""

    def __init__(self, kept: KeptLogs, before: BacklogShop | None = None) -> None:
        super().__init__(kept, before)
        self.set_max_unsettled(MOST)
        self.consumer.ends = dict.fromkeys(TOPICS, 0)
        self.turn(lambda it: it.on_assign(it, [TopicPartition(topic, p) for topic in TOPICS for p in (A, B)]))
        if before is not None:
            for partition in (A, B):
                self.read_on(partition)

    def both(self, partition: int, at: float) -> None:
        """An offer and a checkout of that time are read."""
        ms, logs = int(at * 1000), self.logs.records
        number = len(logs["offers", partition])
        name = f"o{partition}-{number}"
        self.read(partition, offer(number, ms, session=name, offer_id=name, stamp=ms))
        number = len(logs["checkouts", partition])
        self.read(partition, checkout(number, ms, session=f"c{partition}-{number}", stamp=ms))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_backlog_behind_a_gap_of_another_task_is_bounded(restarted: bool) -> None:
    kept = KeptLogs()
    kept.now = NOON + 12 * HOUR
    process = BacklogShop(kept)
    for at in (0, 10 * MINUTE, 20 * MINUTE):
        process.both(B, NOON + at)
    for at in (10 * HOUR, 12 * HOUR):  # the gap
        process.both(A, NOON + at)
    process.delivery.answer()
    process.turn()
    process.loop.tasks.commit([A, B], 0.1)
    if restarted:
        process = BacklogShop(kept, process)
    task, most = process.loop.tasks.runners[B].task, 0
    for minute in range(21, 10 * 60):
        if process.loop._back_pressure.stops_offers:
            break
        process.both(B, NOON + minute * MINUTE)
        process.delivery.answer()
        process.turn()
        most = max(most, task.undecided)
    assert most <= 2 * MOST, f"{most} offers are undecided, and more are read"
