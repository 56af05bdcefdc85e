"""Reads the dead-letter topic from end to end, without a group and without committing, a record at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ..errors import OptOutError
from ..events import RecordIdentity
from ..kafka.end_offsets import TIMEOUT, bounds
from ..kafka.letter import DeadLetter, Entry, ResubmissionNote, entry_of
from ..kafka.reader import NotAllReadError, read_all
from ..kafka.record import Record
from .records import RecordSet

Ranges: TypeAlias = dict[int, tuple[int, int]]
"""By partition, the first offset and the one behind the last."""

_SETTLES = 15.0
"""Seconds within which a transaction that has just ended has ended for whoever reads."""


class DeadLetterTopic:
    """The topic, as one command reads it.

    Args:
        consumer: made with `config.log_reader_config`.
        admin: asks for the ends of the partitions.
        name: of the topic.
    """

    def __init__(self, consumer: Consumer, admin: AdminClient, name: str) -> None:
        self.name = name
        self._consumer = consumer
        self._admin = admin

    def ranges(self, partitions: Collection[int] = (), since: int | None = None) -> Ranges:
        """What there is to read now, of these partitions or of all; with `since` (ms), what was written then or later.

        Raises:
            OptOutError: there is no such topic or partition, or the broker does not tell.
        """
        try:
            told = self._consumer.list_topics(self.name, timeout=TIMEOUT).topics[self.name]
            if told.error is not None:
                raise KafkaException(told.error)
            if wrong := sorted(set(partitions) - set(told.partitions)):
                raise OptOutError(f"{self.name} has {len(told.partitions)} partitions, and no partition {wrong[0]}")
            wanted = sorted(partitions or told.partitions)
            found = {p: bounds(self._consumer, TopicPartition(self.name, p)) for p in wanted}
            return found if since is None else self._since(found, since)
        except KafkaException as error:
            raise self._unread(error.args[0].str()) from error

    def entries(self, ranges: Ranges) -> Iterator[Entry]:
        """The records of these ranges, those of each partition in their order.

        Raises:
            OptOutError: they could not be read to their end.
        """
        wanted = {(self.name, partition): span for partition, span in ranges.items()}
        try:
            for message in read_all(self._consumer, wanted):
                yield entry_of(Record.of(message))
        except NotAllReadError as error:
            raise self._unread(str(error)) from error

    def see_to_the_end(self, ranges: Ranges) -> None:
        """Wait until nothing is hidden below the ends of these partitions by a transaction that is still open.

        Raises:
            OptOutError: one stays open.
        """
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client is typed only in part
        places = [TopicPartition(self.name, partition) for partition in ranges]
        try:
            told = self._admin.list_offsets(
                dict.fromkeys(places, latest), isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT
            )
            ends = {place.partition: future.result().offset for place, future in told.items()}
            deadline = time.monotonic() + _SETTLES
            for place in places:
                while bounds(self._consumer, place)[1] < ends[place.partition]:
                    if time.monotonic() > deadline:
                        raise OptOutError(
                            f"a transaction is open in {self.name}[{place.partition}]: what was re-submitted already "
                            "may stand behind it. Nothing was written. Wait until it has ended, then do this again."
                        )
                    time.sleep(0.1)
        except KafkaException as error:
            raise self._unread(error.args[0].str()) from error

    # --- inside

    def _since(self, found: Mapping[int, tuple[int, int]], since: int) -> Ranges:
        asked = [TopicPartition(self.name, partition, max(since, 0)) for partition in found]
        ranges: Ranges = {}
        for place in self._consumer.offsets_for_times(asked, timeout=TIMEOUT) if asked else ():
            if place.error is not None:
                raise KafkaException(place.error)
            low, end = found[place.partition]
            ranges[place.partition] = (max(low, place.offset) if 0 <= place.offset <= end else end, end)
        return ranges

    def _unread(self, why: str) -> OptOutError:
        return OptOutError(
            f"{self.name} could not be read: {why}. Check its name (kafka.dead_letter_topic), the right to read it, "
            "and the brokers; then do this again."
        )


def partitions_of(consumer: Consumer, topic: str) -> int:
    """How many partitions an input topic has now.

    Raises:
        OptOutError: the broker does not tell.
    """
    try:
        told = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
        if told.error is not None:
            raise KafkaException(told.error)
    except KafkaException as error:
        raise OptOutError(
            f"how many partitions {topic} has could not be asked: {error.args[0].str()}. Check its name, the right to "
            "describe it, and the brokers; then do this again."
        ) from error
    return len(told.partitions)


class Resubmitted:
    """Which records were re-submitted, by the notes in the dead-letter topic.

    It reads on from where it ended: a note stands behind its dead letter, and in the
    same partition. But it may be older than a second dead letter of the same record, and be deleted before that.

    Args:
        topic: has the notes.
        partitions: to look at; none: all.
    """

    def __init__(self, topic: DeadLetterTopic, partitions: Collection[int] = ()) -> None:
        self._topic = topic
        self._partitions = partitions
        self._records = RecordSet()
        self._read_to: dict[int, int] = {}
        self._begins: dict[int, int] = {}

    def read_on(self) -> Ranges:
        """Read to the present end. Returns what has been read by now: all that there is.

        Raises:
            OptOutError: see `DeadLetterTopic`.
        """
        there = self._topic.ranges(self._partitions)
        new = {p: (max(low, self._read_to.get(p, low)), end) for p, (low, end) in there.items()}
        shortened = {partition for partition, (low, _) in there.items() if low > 0 and partition not in self._read_to}
        for entry in self._topic.entries(new):
            if (partition := entry.place.partition) in shortened:
                shortened.discard(partition)
                self._begins[partition] = entry.written_at
            if isinstance(entry, ResubmissionNote):
                self._records.add(entry)
        self._read_to = {partition: end for partition, (_, end) in there.items()}
        return there

    def __contains__(self, record: RecordIdentity | None) -> bool:
        return record in self._records

    def begin_after(self, letter: DeadLetter) -> int | None:
        """When the oldest entry of its partition was written (ms), if a note of its record may have stood before that.

        None: it has not, since nothing was deleted there, or since the record is younger than that entry. A note is
        younger than its record, whichever dead letter it names.
        """
        begin = self._begins.get(letter.place.partition)
        return begin if begin is not None and letter.timestamp <= begin else None
