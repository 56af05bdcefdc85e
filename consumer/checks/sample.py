"""The newest records of an input, read as the service would read them: nothing is joined, called or committed."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ..codecs.codec import Codec, Shown, presentations
from ..core.watermark import Side
from ..errors import DecodeError, SchemaWaitError, StartError
from ..events import CheckoutCompleted, OfferPresented
from ..kafka.end_offsets import bounds_within
from ..kafka.reader import LogReader, error_text
from ..kafka.record import Record

READ = 7.0
"""Seconds that asking for one topic's records and reading them may take together: less than a check may, so that what
was read is judged."""


@dataclass(frozen=True, slots=True)
class SampledRecord:
    """A record and what becomes of it: an event, or several, or nothing since it is of another kind, or an error.

    Attributes:
        event: a list where the record may hold several; None where it is of another kind, cannot be read, or has no
            value.
        error: why it cannot be read; None where it can.
        waits: why its schema is not known, for which a running service waits; None where it is.
    """

    record: Record
    event: Shown | CheckoutCompleted
    error: DecodeError | None = None
    waits: str | None = None

    @property
    def events(self) -> Sequence[OfferPresented | CheckoutCompleted]:
        """All events that it holds."""
        return [self.event] if isinstance(self.event, CheckoutCompleted) else presentations(self.event)

    @property
    def fate(self) -> str:
        """What becomes of it, in a word."""
        if self.error is not None:
            return self.error.reason
        if self.waits is not None:
            return "waits"
        if self.events:
            return "read"
        return "tombstone" if self.record.value is None else "left out"


def newest_judged(consumer: Consumer, topic: str, side: Side, codec: Codec, count: int) -> list[SampledRecord]:
    """The newest `count` records of a topic by their timestamps, the newest last, and what becomes of each.

    Args:
        consumer: see `LogReader`. It joins no group.

    Raises:
        StartError: the brokers did not answer.
    """
    return [judged(record, side, codec) for record in newest(consumer, topic, count)]


def newest(consumer: Consumer, topic: str, count: int, monotonic: Callable[[], float] = time.monotonic) -> list[Record]:
    """The newest `count` records of a topic by their timestamps, the newest last; fewer where there are fewer.

    Raises:
        StartError: the brokers did not answer, do not tell of the topic, or gave none of the records that are there.
    """
    deadline = monotonic() + READ
    try:
        told = consumer.list_topics(topic, timeout=READ / 2).topics.get(topic)
        if told is None or told.error is not None or not told.partitions:
            why = "nothing of it" if told is None or told.error is None else told.error.str()
            raise StartError(
                f"{topic}: the brokers tell no partition of it: {why}. See that a topic of this name exists "
                "(kafka.offer_topic, kafka.checkout_topic), and that we have the right to describe it, then ask again."
            )
        # Half of what is left: the other half is for the records.
        places = [TopicPartition(topic, partition) for partition in told.partitions]
        known = bounds_within(consumer, places, (deadline - monotonic()) / 2, monotonic)
    except KafkaException as error:
        raise StartError(
            f"{topic}: the brokers did not tell what it holds: {error.args[0].str()}. Check the topic's name, the "
            "rights and the brokers, then ask again."
        ) from error
    # Any of the partitions may hold all of the newest.
    ranges = {place: (max(low, high - count), high) for place, (low, high) in known.items() if low < high}
    if not ranges:
        return []
    errors: list[str] = []
    reader = LogReader(consumer, lambda message: errors.append(error_text(message)))
    found = _newest_of(map(Record.of, reader.read(ranges, lambda: monotonic() < deadline, round_s=0.2)), count)
    if not found and reader.unread:
        raise StartError(
            f"{topic}: none of its records was read within {READ:g} s{f' ({errors[-1]})' if errors else ''}. Check the "
            "right to read it and the brokers, then ask again."
        )
    return found


def judged(record: Record, side: Side, codec: Codec) -> SampledRecord:
    """What becomes of a record."""
    if record.value is None:
        return SampledRecord(record, None)
    decode = codec.decode_offer if side is Side.OFFERS else codec.decode_checkout
    try:
        return SampledRecord(record, decode(record.key, record.value, record.offset, lambda: record.headers))
    except DecodeError as error:
        return SampledRecord(record, None, error)
    except SchemaWaitError as error:
        return SampledRecord(record, None, waits=str(error))


def _newest_of(records: Iterable[Record], count: int) -> list[Record]:
    return heapq.nlargest(count, records, key=lambda record: (record.timestamp, record.partition, record.offset))[::-1]
