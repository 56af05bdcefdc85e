"""Where a task starts to read: what the group has committed, checked against what the broker still has.

A group that has committed nothing starts as `kafka.start_from` says. That is resolved to offsets and committed before
anything is read, so that a crash right after finds the same place again. The checkouts start earlier than the
offers, by lookback and lateness: an offer at the very start may have been bought before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, Position, UnreadableMetadata
from ..core.rules import MAX_TIME, MIN_TIME, DecisionRules
from ..errors import OffsetGoneError, PartitionsChangedError, StartError
from ..settings import KafkaSettings
from .end_offsets import TIMEOUT, bounds
from .group import committed_by

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TaskStart:
    """Where a task starts. `horizon` is as `core.task.Task` takes it."""

    offers: Position
    checkouts: Position
    horizon: int | None


class StartOffsets:
    """Finds the starts of tasks.

    Args:
        rules: as set now.
        partitions: how many partitions each of the two topics has.
    """

    def __init__(self, settings: KafkaSettings, rules: DecisionRules, partitions: int) -> None:
        self._settings = settings
        self._topics = settings.offer_topic, settings.checkout_topic
        self._rules = rules
        self._count = partitions

    def begin_group(self, consumer: Consumer, now: int) -> None:
        """If nothing is committed in the whole group, commit what `start_from` means. To be called before subscribing.

        `now` is the wall clock (ms).

        Raises:
            StartError: the broker refused, or did not answer.
        """
        try:
            self._begin_group(consumer, now)
        except KafkaException as error:
            raise StartError(
                f"group {self._settings.group_id}: the broker did not answer where to start: {error.args[0]}. Check "
                "the broker, then start again; nothing was read."
            ) from error

    def _begin_group(self, consumer: Consumer, now: int) -> None:
        if self._is_known(consumer):
            return
        start_from = self._settings.start_from
        if start_from == "earliest":
            places = [TopicPartition(topic, p) for topic in self._topics for p in range(self._count)]
            for place in places:
                place.offset, _ = bounds(consumer, place)
            self._commit(consumer, places)
            log.warning("a new group starts at the first record of both topics", records=self._records(consumer))
            return
        moment = now if isinstance(start_from, str) else int(start_from.timestamp() * 1000)
        # By its record's timestamp a checkout may be found as much as max_skew before its own time.
        since = moment - self._rules.lookback - self._rules.lateness - self._rules.max_skew
        offers = self._offsets_at(consumer, self._topics[0], moment if start_from != "latest" else MAX_TIME)
        checkouts = self._offsets_at(consumer, self._topics[1], since)
        places = [TopicPartition(self._topics[0], p, offset) for p, offset in enumerate(offers)]
        for partition, offset in enumerate(checkouts):
            metadata = ""
            low, _ = bounds(consumer, TopicPartition(self._topics[1], partition))
            # Where nothing older is left than what is wanted, older ones may be gone: the horizon is then learnt by
            # reading.
            if offset > low or low == 0:
                # An offer that is on time may be written after the start and dated before it.
                horizon = since + self._rules.max_skew
                found = CheckoutCheckpoint(self._count, offset, horizon, lookback=self._rules.lookback)
                metadata = found.encode(offset)
            places.append(TopicPartition(self._topics[1], partition, offset, metadata=metadata))
        self._commit(consumer, places)
        log.warning(
            "a new group starts in the middle of both topics: offers presented before are not looked at",
            offers_from=_readable(moment),
            checkouts_from=_readable(since),
            records=self._records(consumer, [*offers, *checkouts]),
        )

    def of(self, consumer: Consumer, partitions: Sequence[int]) -> dict[int, TaskStart]:
        """The starts of these tasks.

        Raises:
            PartitionsChangedError: there is one that was not there when the service started.
            OffsetGoneError: the broker no longer has a committed offset.
            KafkaException: it did not answer.
        """
        if partitions and max(partitions) >= self._count:
            raise self._changed(", ".join(self._topics), "more")
        places = [TopicPartition(topic, partition) for topic in self._topics for partition in partitions]
        if not places:
            return {}
        committed = {(p.topic, p.partition): p for p in committed_by(consumer, places)}
        starts: dict[int, TaskStart] = {}
        for partition in partitions:
            offers, _ = self._position(consumer, committed[self._topics[0], partition])
            checkouts, low = self._position(consumer, committed[self._topics[1], partition])
            checkouts = self._rewound(consumer, partition, offers, checkouts)
            complete = low == 0 and checkouts.offset == 0
            starts[partition] = TaskStart(offers, checkouts, None if complete else MAX_TIME)
        return starts

    def check_partitions(self, consumer: Consumer, timeout: float) -> None:
        """Ask how many partitions the topics have, waiting up to `timeout` seconds for each answer.

        Never within a callback of the consumer: unlike its other questions, this one makes the client end the whole
        process (SIGABRT) if another callback or a line of its log follows in the same poll.

        Raises:
            PartitionsChangedError: another number than when the service started.
            KafkaException: the broker did not answer, or does not know the topic.
        """
        for topic in self._topics:
            told = consumer.list_topics(topic, timeout=timeout).topics.get(topic)
            if told is None or not told.partitions:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            count = len(told.partitions)
            if count != self._count:
                raise self._changed(topic, str(count))

    def _changed(self, topic: str, now: str) -> PartitionsChangedError:
        return PartitionsChangedError(
            f"{topic} had {self._count} partitions when this service started and has {now} now: keys have moved, and "
            "an offer no longer meets the checkout that bought it. No offer is called any more. Settle what was "
            "written before with the old number, then go on with a new group."
        )

    def _position(self, consumer: Consumer, committed: TopicPartition) -> tuple[Position, int]:
        low, high = bounds(consumer, committed)
        if committed.offset < 0:
            return Position(low), low
        if not low <= committed.offset <= high:
            raise OffsetGoneError(
                f"group {self._settings.group_id} committed offset {committed.offset} of "
                f"{committed.topic}[{committed.partition}], but the broker holds {low} to {high}: "
                f"{'retention has deleted records' if committed.offset < low else 'the topic was re-created or cut'} "
                "that were not settled. To go on without them, set the group's offsets by hand "
                "(kafka-consumer-groups --reset-offsets), knowing that opt-outs may be missed."
            )
        return Position(committed.offset, committed.metadata or ""), low

    def _rewound(self, consumer: Consumer, partition: int, offers: Position, checkouts: Position) -> Position:
        """The checkouts' position, further back where lookback was raised since: more of them are needed now."""
        try:
            found = CheckoutCheckpoint.decode(checkouts.metadata, checkouts.offset)
            made_with = found.lookback
            if made_with is None:
                made_with = OfferCheckpoint.decode(offers.metadata, offers.offset).rules[2]
        except UnreadableMetadata:
            return checkouts
        raised = self._rules.lookback - made_with
        if raised <= 0 or found.horizon == MIN_TIME:
            return checkouts
        horizon = found.horizon - raised
        since = horizon - self._rules.lateness - self._rules.max_skew
        place = TopicPartition(self._topics[1], partition, since)
        (told,) = consumer.offsets_for_times([place], timeout=TIMEOUT)
        if told.error is not None:
            raise KafkaException(told.error)
        low, end = bounds(consumer, place)
        first = told.offset if told.offset >= 0 else end
        if low > 0 and first <= low:
            return checkouts  # those that are needed now may be gone
        start = min(first, checkouts.offset)
        log.warning("lookback was raised: checkouts are read again", partition=partition, from_offset=start)
        return Position(start, replace(found, horizon=horizon, lookback=self._rules.lookback).encode(start))

    def _is_known(self, consumer: Consumer) -> bool:
        places = [TopicPartition(topic, p) for topic in self._topics for p in range(self._count)]
        return any(place.offset >= 0 for place in committed_by(consumer, places))

    def _offsets_at(self, consumer: Consumer, topic: str, moment: int) -> list[int]:
        """For each partition the first offset whose record's timestamp is at or after `moment` (ms), else its end."""
        ends = [bounds(consumer, TopicPartition(topic, partition))[1] for partition in range(self._count)]
        if moment == MAX_TIME:
            return ends
        told = consumer.offsets_for_times(
            [TopicPartition(topic, p, max(moment, 0)) for p in range(self._count)], timeout=TIMEOUT
        )
        for place in told:
            if place.error is not None:
                raise StartError(f"{topic}[{place.partition}]: the broker does not tell offsets by time: {place.error}")
        offsets = {place.partition: place.offset for place in told}
        return [offsets[p] if 0 <= offsets[p] <= end else end for p, end in enumerate(ends)]

    def _records(self, consumer: Consumer, starts: Sequence[int] | None = None) -> int:
        """How many records are to be read from the starts (the first records, if None) to the present ends."""
        total = 0
        for place, topic in enumerate(self._topics):
            for partition in range(self._count):
                low, high = bounds(consumer, TopicPartition(topic, partition))
                total += high - (low if starts is None else starts[place * self._count + partition])
        return total

    def _commit(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        try:
            answers = consumer.commit(offsets=places, asynchronous=False) or []
        except KafkaException as error:
            if self._is_known(consumer):
                return  # another member of the new group was quicker
            raise StartError(
                f"group {self._settings.group_id}: where to start could not be committed: {error.args[0]}. Nothing was "
                "read. Stop the members of the group that run, then start again."
            ) from error
        for answer in answers:
            if answer.error is not None:
                raise StartError(
                    f"group {self._settings.group_id}: where to start was committed in part only, not for "
                    f"{answer.topic}[{answer.partition}]: {answer.error}. Nothing was read. Mend the cause, delete the "
                    "group (kafka-consumer-groups --delete), then start again: what is not committed would start at "
                    "its first record."
                )


def _readable(moment: int) -> str:
    """For people, and at most as far as years have four digits; a start before 1970 is one at the first record."""
    return datetime.fromtimestamp(min(max(moment, 0), 253_402_300_799_000) / 1000, UTC).isoformat(timespec="seconds")
