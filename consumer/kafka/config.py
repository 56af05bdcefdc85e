"""Which of `kafka.properties` goes to which client.

librdkafka warns of each property that is none of the client's, at each start, in lines that look like a mistake of the
operator's; and it tells only by those lines whose a property is. So those that belong to one kind of client stand here.
A name that is missing here costs such a line, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

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
