"""Writes generated events to Kafka, at the pace at which they happen or as fast as it takes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from ..kafka.config import in_order
from .formats import PlainFormat
from .generator import Event

Written = Callable[[Event, int], None]
"""Called with each event handed to the producer, and the time it was given (ms since the epoch)."""


Values = Callable[[Event, int], Sequence[bytes]]
"""The values of the records of an event, by the time it is given (ms since the epoch)."""


class FeedError(RuntimeError):
    """The broker did not take an event."""


def feed(
    events: Iterable[Event],
    *,
    bootstrap: str,
    offer_topic: str,
    checkout_topic: str,
    base_ms: int,
    paced: bool,
    on_written: Written | None = None,
    on_acknowledged: Callable[[Message], None] | None = None,
    stop: threading.Event | None = None,
    values: Values | None = None,
) -> int:
    """Write events in their order, keyed by session_id, with the event's time as the record's timestamp.

    Args:
        events: from `generate`.
        base_ms: wall clock (ms since the epoch) at which the plan begins.
        paced: write each event when it is due by the wall clock. If this process falls behind, the rest of the plan
            moves by as much, so that no event is written later after its time than the plan says.
        on_written: told of each event.
        on_acknowledged: told of each record that the broker has taken.
        stop: ends the feed early.
        values: the records of an event that happened at a time (ms); None: one, in plain Avro.

    Returns:
        How many were written; the broker has acknowledged them all.

    Raises:
        FeedError: the broker refused one, or did not acknowledge all within a minute.
    """
    values = values or PlainFormat().values
    failed: list[KafkaError] = []
    producer = Producer(
        # An event that stands behind a later one may be late, and would meet another fate than the plan says.
        in_order(
            {
                "bootstrap.servers": bootstrap,
                # The partitioner of Java's client; librdkafka's own default would put keys elsewhere.
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                # A broker that is back is found within a second: what was buffered must not come later than it need.
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )
    )

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        elif on_acknowledged is not None:
            on_acknowledged(message)

    stamped: dict[str, int] = {}
    count = 0
    for event in events:
        if stop is not None and stop.is_set():
            break
        if paced:
            base_ms += _wait_for(base_ms + event.time + event.delay, producer)
        # A duplicate repeats its first copy, time included.
        moment = stamped.setdefault(event.fields["event_id"], base_ms + event.time)
        topic = checkout_topic if event.is_checkout else offer_topic
        for value in values(event, moment):
            _produce(producer, topic, key=event.key, value=value, timestamp=moment, on_delivery=acknowledged)
        producer.poll(0)
        count += 1
        if on_written is not None:
            on_written(event, moment)
        if failed:
            break
    if producer.flush(60) or failed:
        raise FeedError(f"the broker did not take all events: {failed[0] if failed else 'no answer in 60 s'}")
    return count


def _produce(producer: Producer, topic: str, **record: Any) -> None:
    while True:
        try:
            producer.produce(topic, **record)
            return
        except BufferError:
            producer.poll(0.1)


def _wait_for(due_ms: int, producer: Producer) -> int:
    """Wait for a wall-clock time; returns by how many ms it had passed already."""
    while (left := due_ms - time.time_ns() // 1_000_000) > 0:
        producer.poll(min(left / 1000, 0.1))
    return -left if left < -20 else 0
