"""No client is given a property that it does not know: librdkafka itself is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from consumer.kafka.config import CONSUMER_ONLY, PRODUCER_ONLY, for_consumer, for_producer
from consumer.kafka.consumer import consumer_config
from consumer.kafka.producer import producer_config
from consumer.settings import KafkaSettings
from consumer.settings.kafka import REFUSED_PROPERTIES

VALUES: dict[str, Any] = {
    "check.crcs": True,
    "compression.codec": "lz4",
    "compression.level": 1,
    "compression.type": "lz4",
    "group.protocol.type": "consumer",
    "max.poll.interval.ms": 300_000,
    "fetch.max.bytes": 10_000_000,
    "partitioner": "murmur2",
    "queue.buffering.backpressure.threshold": 1,
    "session.timeout.ms": 6_000,
    "transaction.timeout.ms": 10_000,
}
"""A value that the property may have, for those that may not be 1000."""
PROPERTIES = {name: VALUES.get(name, 1_000) for name in CONSUMER_ONLY | PRODUCER_ONLY}
ANYBODYS = {"client.id": "me", "socket.keepalive.enable": True, "retry.backoff.ms": 100}


def warnings_of(make: Callable[[dict[str, Any]], Any], config: dict[str, Any]) -> str:
    """What librdkafka says of the configuration when such a client is made."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.Logger("librdkafka")
    logger.addHandler(handler)
    client = make({"bootstrap.servers": "127.0.0.1:1", **config, "logger": logger})
    client.poll(0.05)
    if isinstance(client, Consumer):
        client.close()
    return "\n".join(line for line in lines if "CONFWARN" in line)


def make_consumer(config: dict[str, Any]) -> Consumer:
    return Consumer({"group.id": "g", **config})


@pytest.mark.parametrize("name", sorted(CONSUMER_ONLY))
def test_a_property_kept_from_producers_is_one_that_they_warn_of(name: str) -> None:
    alone = {name: PROPERTIES[name]}
    assert "is a consumer property" in warnings_of(Producer, alone)
    assert for_consumer(alone) == alone


@pytest.mark.parametrize("name", sorted(PRODUCER_ONLY))
def test_a_property_kept_from_consumers_is_one_that_they_warn_of(name: str) -> None:
    alone = {name: PROPERTIES[name]}
    assert "is a producer property" in warnings_of(make_consumer, alone)
    assert for_producer(alone) == alone


def test_each_client_gets_its_own_properties_and_everybodys_and_warns_of_none() -> None:
    given = {**PROPERTIES, **ANYBODYS}
    for name in ("delivery.timeout.ms", "message.timeout.ms", "batch.num.messages", "compression.codec"):
        given.pop(name)  # another name of one that is there, or one that must fit with others
    settings = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1", "properties": given})
    consumer = consumer_config(settings, on_error=lambda _: None)
    producer = producer_config(settings)
    assert consumer.items() >= {**ANYBODYS, "session.timeout.ms": 6_000}.items()
    assert producer.items() >= {**ANYBODYS, "linger.ms": 1_000}.items()
    assert warnings_of(Consumer, consumer) == ""
    assert warnings_of(Producer, producer) == ""
    assert warnings_of(AdminClient, for_producer(settings.properties)) == ""


def test_no_refused_property_stands_in_the_tables() -> None:
    assert (CONSUMER_ONLY | PRODUCER_ONLY).isdisjoint(REFUSED_PROPERTIES)
