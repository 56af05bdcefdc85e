"""Rule 2: a yes to a commit that is full, as after an outage, is taken by a broker, and a start goes on from it."""

from __future__ import annotations

import random
import uuid
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from brokers import Broker
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from support.deployment import now

from consumer.core.checkpoint import METADATA_LIMIT, CheckoutCheckpoint, OfferCheckpoint, rules_key
from consumer.core.provenance import Provenance
from consumer.core.rules import DecisionRules
from consumer.core.watermark import Side
from consumer.kafka.config import consumer_config, record_reader_config
from consumer.kafka.position_changes import PositionChanges
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

RULES = DecisionRules(1_800_000, 60_000, 7_200_000, 300_000, 300_000)
RECORDS = 100_000
HOUR = 3_600_000
COMMITTED = 10


def full(offers: OfferCheckpoint) -> OfferCheckpoint:
    """As the planner does it: as much is listed as there is room for."""
    order, offset, listed = random.Random(1), COMMITTED, [COMMITTED]
    while True:
        offset += order.randrange(1, 90)
        more = replace(offers, unsettled=frozenset([*listed, offset]))
        if len(more.encode(COMMITTED)) > METADATA_LIMIT:
            return replace(offers, unsettled=frozenset(listed))
        listed.append(offset)


def write(broker: Broker, topic: str, count: int, since: int, until: int) -> None:
    producer = ordered_producer(broker.bootstrap_servers)
    for n in range(count):
        producer.produce(topic, b"x", b"k", partition=0, timestamp=since + (until - since) * n // count)
        if n % 10_000 == 0:
            producer.flush(20)
    assert producer.flush(20) == 0


@pytest.mark.parametrize("hours", [1, 12])
@pytest.mark.parametrize(
    ("base_url", "checkouts_read"),
    [
        ("https://api.example/x", 500),
        ("https://api.a-longer-name.example/x", 400),
        ("https://api.b.example/x", 500),
    ],
    ids=["the checkouts' log lost its end", "another API", "another API and a log that lost its end"],
)
def test_a_yes_to_a_full_commit_is_taken(real_kafka: Broker, base_url: str, checkouts_read: int, hours: int) -> None:
    mark = uuid.uuid4().hex[:8]
    offers, checkouts, group = f"offers-{mark}", f"checkouts-{mark}", f"group-{mark}"
    servers = real_kafka.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_topics([NewTopic(offers, 1, 1), NewTopic(checkouts, 1, 1)]).values():
        future.result(20)
    at = now()
    write(real_kafka, offers, RECORDS, at - hours * HOUR, at)
    write(real_kafka, checkouts, 450, at - 24 * HOUR, at)
    settings = KafkaSettings(bootstrap_servers=servers, group_id=group, offer_topic=offers, checkout_topic=checkouts)
    old = Provenance("", "", "", offers, checkouts, "https://api.example/x")
    found = full(
        OfferCheckpoint(
            rules_key(RULES), 1, at - 600_000, RECORDS - 10, checkouts_read, provenance=old.at(at), trusted_since=at
        )
    )
    read = CheckoutCheckpoint(1, checkouts_read, at - 23 * HOUR, lookback=RULES.lookback)
    new = replace(old, base_url=base_url)
    starts = StartOffsets(settings, RULES, 1, new)
    nothing_since: Any = None
    with closing(Consumer(consumer_config(settings, on_error=lambda _: None))) as consumer:
        places = [
            TopicPartition(offers, 0, COMMITTED, metadata=found.encode(COMMITTED)),
            TopicPartition(checkouts, 0, 300, metadata=read.encode(300)),
        ]
        for place in consumer.commit(offsets=places, asynchronous=False) or []:
            assert place.error is None
        changes = PositionChanges(
            consumer,
            admin,
            lambda: Consumer(record_reader_config(settings)),
            starts,
            nothing_since,
            group=group,
            provenance=new,
            rules=RULES,
            partitions=1,
            unmatched_limit=50,
        )
        told = changes.accept(now())
        assert "are called again" in told[0].what
        left = starts.positions(consumer).by_place[Side.OFFERS, 0]
        assert isinstance(left.checkpoint, OfferCheckpoint)
        assert left.checkpoint.decided_to == found.decided_to
        assert left.checkpoint.unsettled > found.unsettled, "nothing leaves the list"
        assert (left.offset == COMMITTED) == (hours == 12), "a short backlog is read from further back"
        assert changes.accept(now()) == [], "nothing is in doubt any more"
        starts.begin_group(consumer, now())
        assert starts.of(consumer, [0])
