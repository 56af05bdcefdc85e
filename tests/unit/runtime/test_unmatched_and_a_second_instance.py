"""The checkout producer writes booking ids, the service has found that and holds its decisions.

A second instance joins, in peace and with a last commit of the first: each of them has one of the two partitions from
then on.
"""

from __future__ import annotations

from confluent_kafka import TopicPartition
from support.builders import checkout
from support.kept_logs import MINUTE, NOON, A, B, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy

IN_A_ROW = 30
"""Purchases in each of the partitions: more than join.unmatched_limit, which is 50, in both of them together."""


class BookingShop(KeptShop):
    """Each offer that is shown is bought half a minute later, under the id of the booking."""

    def sell(self, partition: int, number: int) -> None:
        name = f"o{partition}-{number}"
        self.show(partition, name)
        self.go(self.logs.now + 2.0)
        at = int(self.logs.now * 1000)
        offset = len(self.logs.records["checkouts", partition])
        self.read(partition, checkout(offset, at, f"booking of {name}", session=name, stamp=at))


def test_a_second_instance_does_not_let_the_decisions_go() -> None:
    kept = KeptLogs()
    first = BookingShop(kept)
    for number in range(IN_A_ROW):
        for partition in (A, B):
            first.sell(partition, number)
    first.go(NOON + 15 * MINUTE)
    assert first.loop.suspension.by is SuspendedBy.UNMATCHED
    assert first.called == []
    first.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, p) for topic, p in kept.records]))
    both = [BookingShop(kept, first, partitions=(partition,)) for partition in (A, B)]
    kept.now += 1.0
    for _ in range(5):
        for process in both:
            process.go(kept.now + 1.0)
    assert [len(process.called) for process in both] == [0, 0], "no id has matched since, and all of these were bought"
