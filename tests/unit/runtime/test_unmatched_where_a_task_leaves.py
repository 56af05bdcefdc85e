"""The checkout producer writes booking ids, the service has found that and holds its decisions. A second instance joins
by the `consumer` protocol, and gets one of the two partitions: the other one is read on where it is."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from support.builders import checkout
from support.kept_logs import MINUTE, NOON, A, B, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy

IN_A_ROW = 30
"""Purchases in each of the partitions: more than join.unmatched_limit, which is 50, in both of them together."""


def test_the_partition_that_stays_is_not_let_go() -> None:
    kept = KeptLogs()
    shop = KeptShop(kept)
    for number in range(IN_A_ROW):
        for partition in (A, B):
            name = f"o{partition}-{number}"
            shop.show(partition, name)
            shop.go(kept.now + 2.0)
            at, offset = int(kept.now * 1000), len(kept.records["checkouts", partition])
            shop.read(partition, checkout(offset, at, f"booking of {name}", session=name, stamp=at))
    shop.go(NOON + 15 * MINUTE)
    assert shop.loop.suspension.by is SuspendedBy.UNMATCHED
    assert shop.called == []
    shop.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, B) for topic in ("offers", "checkouts")]))
    shop.go(kept.now + 5.0)
    assert list(shop.loop.tasks.runners) == [A]
    assert shop.called == [], "no id has matched since, and all of these were bought"
