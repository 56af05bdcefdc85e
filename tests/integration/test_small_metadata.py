"""A broker that takes less of a commit's metadata than is committed: the next one is to be shorter.

The broker's limit is its default here, and the text is longer than that: to client and broker it is the same.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic
from support.deployment import committed_offsets

from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.rules import DecisionRules
from consumer.kafka.config import consumer_config
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.start_offsets import StartOffsets, TaskStart
from consumer.settings import KafkaSettings

S = 1_000
RULES = DecisionRules(1800 * S, 60 * S, 7200 * S, 300 * S, 300 * S)


class ToldTasks:
    def __init__(self) -> None:
        self.begun: set[int] = set()
        self.refused: list[int] = []

    def begin(self, partition: int, start: TaskStart) -> None:
        self.begun.add(partition)

    def revoked(self, partitions: list[int]) -> None: ...
    def lost(self, partitions: list[int]) -> None: ...

    def metadata_refused(self, partition: int) -> None:
        self.refused.append(partition)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_metadata_that_is_too_long_is_to_be_made_shorter_and_the_other_task_is_committed(
    kip_848: Any, protocol: str
) -> None:
    b, mark = kip_848.bootstrap_servers, uuid.uuid4().hex[:8]
    offers, checkouts = f"o-{mark}", f"c-{mark}"
    admin = AdminClient({"bootstrap.servers": b})
    for future in admin.create_topics([NewTopic(offers, 2, 1), NewTopic(checkouts, 2, 1)]).values():
        future.result(20)
    properties = {} if protocol == "consumer" else {"session.timeout.ms": 6000}
    settings = KafkaSettings(
        bootstrap_servers=b,
        group_id=f"g-{mark}",
        offer_topic=offers,
        checkout_topic=checkouts,
        group_protocol=protocol,
        properties=properties,
    )
    tasks = ToldTasks()
    source = GroupConsumer(
        lambda on_error: Consumer(consumer_config(settings, on_error=on_error)), settings,
        StartOffsets(settings, RULES, 2), tasks, lambda _: None,
    )  # fmt: skip
    source.subscribe(time.time_ns() // 1_000_000)
    try:
        deadline = time.monotonic() + 30
        while tasks.begun != {0, 1} and time.monotonic() < deadline:
            source.poll(100, 0.1)
        assert tasks.begun == {0, 1}
        plans = {
            0: CommitPlan(Position(0, "x" * 5_000), Position(0, "checkouts 0"), 0, 0),
            1: CommitPlan(Position(0, "offers 1"), Position(0, "checkouts 1"), 0, 0),
        }
        acknowledged = source.commit(plans)
        assert (tasks.refused, acknowledged) == ([0], {1})
        assert committed_offsets(b, settings.group_id, offers)[1] == (0, "offers 1")
    finally:
        source.close()
