"""The auditor's own reading: topics to their ends, none of the service's code; Avro by fastavro alone."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import fastavro
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ..codecs.schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, load_schema, without_logical_types
from ..events import RecordIdentity, RecordRef


class Presentation(NamedTuple):
    """An offer was shown, at a time in ms."""

    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    offset: int = 0

    @property
    def record_offset(self) -> int:
        """Where its record stands in the partition."""
        return self.offset


class Checkout(NamedTuple):
    """A checkout was completed, at a time in ms; `purchased` are the ids of the offers it bought."""

    session_id: str
    completed_at: int
    purchased: tuple[str, ...]
    checkout_id: str = ""
    offset: int = 0


ReadFields: TypeAlias = Callable[[bool, bytes], Mapping[str, Any] | None]
"""Reads a checkout (True) or an offer: its fields, times as datetimes; None: of another kind. Raises if it is none."""

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

ChainKey = tuple[str, str, str, int]
"""Session, partner code, offer id, and when the chain was presented last (ms)."""


class OutcomeRecord(NamedTuple):
    """One record of `offer.outcome`; times in ms, `source` is the chain's last presentation.

    `partition` and `offset` are where the outcome itself stands.
    """

    session_id: str
    partner_code: str
    offer_id: str
    presented_at: int
    decided_at: int
    outcome: str
    reason: str
    status: int | None
    partition: int
    source: Place
    checkout_id: str | None = None
    note: str | None = None
    offset: int = 0
    settled_at: int = 0
    attempts: int = 0
    mode: str = "LIVE"

    @property
    def chain(self) -> ChainKey:
        """The chain that it tells the fate of."""
        return self.session_id, self.partner_code, self.offer_id, self.presented_at


def read_plain(is_checkout: bool, value: bytes) -> Mapping[str, Any] | None:
    """See `ReadFields`: plain Avro by the schemas in schemas/."""
    stream = io.BytesIO(value)
    fields: Any = fastavro.schemaless_reader(stream, _schema(is_checkout), None)
    if not isinstance(fields, dict) or stream.tell() != len(value):
        raise ValueError("it is longer than the record that it begins with")
    return fields


@cache
def _schema(is_checkout: bool) -> Any:
    return fastavro.parse_schema(load_schema(CHECKOUT_COMPLETED if is_checkout else OFFER_PRESENTED))


def read_events(
    bootstrap: str, topics: tuple[str, str], read: ReadFields = read_plain
) -> tuple[list[Presentation], list[Checkout], int]:
    """Every presentation and every checkout of the two topics, and how many records were none.

    Raises:
        RuntimeError: a topic could not be read to its end, or has lost its beginning.
    """
    presentations: list[Presentation] = []
    checkouts: list[Checkout] = []
    unreadable = 0
    for is_checkout, topic in enumerate(topics):
        for message in read_topic(bootstrap, topic):
            key, value = message.key(), message.value()
            try:
                fields = read(bool(is_checkout), value or b"")
            except Exception:  # whatever bytes make the reader raise, they are no event
                unreadable += 1
                continue
            if fields is None:
                continue
            if value is None or key != fields["session_id"].encode():
                unreadable += 1
            elif is_checkout:
                checkouts.append(_checkout(fields, message.offset() or 0))
            else:
                presentations.append(_presentation(fields, message.offset() or 0))
    return presentations, checkouts, unreadable


def read_outcomes(bootstrap: str, topic: str) -> list[OutcomeRecord]:
    """Every outcome. Raises RuntimeError: the topic cannot be read to its end."""
    return [
        decode_outcome(message.value() or b"", message.partition() or 0, message.offset() or 0)
        for message in read_topic(bootstrap, topic)
    ]


def read_dead_letters(bootstrap: str, topic: str) -> list[tuple[RecordIdentity, str]]:
    """Which record each dead letter is of, and the reason that its headers give."""
    found = []
    for message in read_topic(bootstrap, topic):
        told = message.headers() or []
        pairs = told.items() if isinstance(told, dict) else told
        headers = {name: value.decode() if isinstance(value, bytes) else value or "" for name, value in pairs}
        place = RecordRef(headers["source.topic"], int(headers["source.partition"]), int(headers["source.offset"]))
        found.append((RecordIdentity(place, int(headers["source.timestamp"])), headers["reason"]))
    return found


def _presentation(fields: Mapping[str, Any], offset: int) -> Presentation:
    at = to_ms(fields["presented_at"])
    return Presentation(fields["session_id"], fields["partner_code"], fields["offer_id"], at, offset)


def _checkout(fields: Mapping[str, Any], offset: int) -> Checkout:
    at, purchased = to_ms(fields["completed_at"]), tuple(fields["purchased_offer_ids"])
    return Checkout(fields["session_id"], at, purchased, fields["checkout_id"], offset)


def decode_outcome(value: bytes, partition: int, offset: int) -> OutcomeRecord:
    """An outcome by its record's value, which stands at that place of the topic.

    Raises:
        Exception: of any class: it is no outcome.
    """
    # A registry's id of four bytes, behind a 0; an outcome without one begins with the length of its offer's id.
    payload = value[5:] if value[:1] == b"\0" else value
    stream = io.BytesIO(payload)
    fields: Any = fastavro.schemaless_reader(stream, _outcome_schema(), None)
    if stream.tell() != len(payload):
        raise ValueError("it is longer than the outcome that it begins with")
    source = fields["source"]
    return OutcomeRecord(
        fields["session_id"],
        fields["partner_code"],
        fields["offer_id"],
        fields["presented_at"],
        fields["decided_at"],
        fields["outcome"],
        fields["reason"],
        fields["status_code"],
        partition,
        (source["topic"], source["partition"], source["offset"]),
        fields["checkout_id"],
        fields["note"],
        offset,
        fields["settled_at"],
        fields["attempts"],
        fields["mode"],
    )


@cache
def _outcome_schema() -> Any:
    # Times stay whole numbers: making a datetime of each would take longer than all else.
    return fastavro.parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))


def to_ms(moment: datetime) -> int:
    """Milliseconds of a datetime, exactly: float seconds could be off by one."""
    return round(moment.timestamp() * 1000)


def read_topic(bootstrap: str, topic: str, timeout_s: float = 60) -> Iterator[Message]:
    """Every record of a topic, from its first to its present end.

    Raises:
        RuntimeError: it could not be read to its end, or has lost its beginning.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "offer-opt-out-judge",  # never joined: partitions are assigned by hand, nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            # While its queue is full the client asks for nothing, and looks again after a second by default.
            "fetch.queue.backoff.ms": 10,
            "log_level": 0,
        }
    )
    try:
        partitions = [
            TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        for partition in partitions:
            first, _ = consumer.get_watermark_offsets(partition, timeout=10)
            if first != 0:
                raise RuntimeError(f"{topic} [{partition.partition}] begins at offset {first}: the rest is gone")
            partition.offset = 0
        consumer.assign(partitions)
        unfinished = {partition.partition for partition in partitions}
        until = time.monotonic() + timeout_s
        while unfinished:
            if time.monotonic() > until:
                raise RuntimeError(f"{topic} could not be read to its end in {timeout_s:g} s")
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                elif not error.retriable():
                    raise RuntimeError(f"{topic} cannot be read: {error}")
    finally:
        consumer.close()
