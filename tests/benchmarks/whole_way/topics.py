"""The topics of a comparison: the inputs that all contenders read, and outputs of their own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from brokers.producers import ordered_producer
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from consumer.codecs.plain import PlainCodec

from .sessions import Written

PARTITIONS = 4

STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""Of topics whose records the broker stamps when it takes them."""


class Topics:
    """Two inputs with the same events for everybody.

    Attributes:
        bootstrap: the broker's address.
        offers, checkouts: the inputs' names.
        dead_letters: where the service would put what it cannot use.
    """

    def __init__(self, bootstrap: str, *, stamped_by_broker: bool = False) -> None:
        """`stamped_by_broker`: a record's timestamp is when the broker took it, not when it happened."""
        self.bootstrap = bootstrap
        self._stem = f"whole-way-{uuid.uuid4().hex[:6]}"
        self.offers, self.checkouts = f"{self._stem}.offers", f"{self._stem}.checkouts"
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.dead_letters = f"{self._stem}.dead"
        self._make(self.offers, self.checkouts, **(STAMPED if stamped_by_broker else {}))
        self._make(self.dead_letters)

    def write(self, events: Iterable[Written]) -> int:
        """Write the events in their order, each dated as it happened; returns how many there are."""
        codec = PlainCodec()
        producer = ordered_producer(self.bootstrap, linger_ms=50, queue_buffering_max_messages=1_000_000)
        count = 0
        for event in events:
            topic = self.checkouts if event.is_checkout else self.offers
            encode = codec.encode_checkout if event.is_checkout else codec.encode_offer
            self._write(producer, topic, event, encode(event.fields))
            count += 1
        if producer.flush(120):
            raise SystemExit("the broker did not take the events within two minutes")
        return count

    def output(self, name: str) -> str:
        """A new topic for verdicts. The broker stamps what it takes: only its clock says when each verdict came."""
        topic = f"{self._stem}.{name}"
        self._make(topic, **STAMPED)
        return topic

    def taken(self, topic: str) -> int:
        """How many records the topic has taken so far; 0 if the broker does not say so just now."""
        places = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}
        try:
            return sum(future.result(20).offset for future in self._admin.list_offsets(places).values())
        except KafkaException as error:
            # A partition that was made a moment ago may have no leader yet.
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            return 0

    def remove(self, *topics: str) -> None:
        """Delete topics whose verdicts are judged."""
        for future in self._admin.delete_topics(list(topics)).values():
            future.result(20)

    def _make(self, *topics: str, **config: str) -> None:
        new = [NewTopic(name, PARTITIONS, 1, config=config) for name in topics]
        for future in self._admin.create_topics(new).values():
            future.result(30)
        until = time.monotonic() + 20
        while not set(topics) <= set(self._admin.list_topics(timeout=10).topics):
            if time.monotonic() > until:
                raise SystemExit(f"the broker did not make {', '.join(topics)} within 20 s")
            time.sleep(0.05)

    @staticmethod
    def _write(producer: Producer, topic: str, event: Written, value: bytes) -> None:
        while True:
            try:
                return producer.produce(topic, key=event.session_id, value=value, timestamp=event.at)
            except BufferError:
                producer.poll(0.1)
