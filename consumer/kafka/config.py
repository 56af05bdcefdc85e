"""What a client is given: which of `kafka.properties` goes to which, and what keeps a producer's records in order.

librdkafka warns of each property that is none of the client's, at each start, in lines that look like a mistake of the
operator's; and it tells only by those lines whose a property is. So those that belong to one kind of client stand here.
A name that is missing here costs such a line, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

CONSUMER_ONLY = frozenset(
    {
        "auto.commit.interval.ms",
        "check.crcs",
        "consume.callback.max.messages",
        "coordinator.query.interval.ms",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.protocol.type",
        "heartbeat.interval.ms",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
    }
)
PRODUCER_ONLY = frozenset(
    {
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.timeout.ms",
        "linger.ms",
        "message.send.max.retries",
        "message.timeout.ms",
        "partitioner",
        "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "request.timeout.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
    }
)


def for_consumer(properties: Mapping[str, T]) -> dict[str, T]:
    """The properties without those that only a producer knows."""
    return {name: value for name, value in properties.items() if name not in PRODUCER_ONLY}


def for_producer(properties: Mapping[str, T]) -> dict[str, T]:
    """The properties without those that only a consumer knows. An admin client is a producer to librdkafka."""
    return {name: value for name, value in properties.items() if name not in CONSUMER_ONLY}


_IN_ORDER: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "max.in.flight.requests.per.connection": 1,
}


def in_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """A producer's configuration with which each partition gets every record once, in the order of the calls.

    It takes both idempotence and one request at a time. Say that the broker refuses a producer's first batch, since the
    topic is new and has no leader yet, and that the second batch is under way already. A broker takes any sequence
    number from a producer that it does not know, so it takes the second batch. Then

    - a plain producer sends the first one again, behind the second;
    - an idempotent one takes the first for written, since a later number was acknowledged: it reports success, and the
      records are lost. Kafka 4.1 and librdkafka's mock cluster are alike in this;
    - one request at a time without idempotence may still let the second batch pass while the first waits to be
      sent again.

    Args:
        config: librdkafka settings. What order rests on goes over them.
    """
    return {**config, **_IN_ORDER}
