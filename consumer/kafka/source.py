"""Reading the two topics: subscription, assignment, start positions, pauses, commits.

One thread owns the source and everything in it: the poll thread. The consumer's callbacks run inside its polls.

The assignment is co-partitioned: `range` over two topics with equal partition counts gives partition p of both to
one member. A task begins when both are here and ends when either goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..core.task import Input, Plan
from ..errors import OffsetGoneError, OptOutError, StartError, StopError
from ..settings import KafkaSettings
from .starts import Start, Starts

log = structlog.get_logger(__name__)

_LOST_MEMBERSHIP = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
    }
)


class Tasks(Protocol):
    """Who runs the tasks. Called within `Source.poll` and `Source.close`, on the poll thread."""

    def begin(self, partition: int, start: Start) -> None:
        """Both inputs of the task are assigned; records follow from the start on."""

    def revoked(self, partitions: list[int]) -> None:
        """The tasks are about to go to another member: finish within the time budget and commit."""

    def lost(self, partitions: list[int]) -> None:
        """The tasks have gone already: commit nothing."""


def consumer_config(settings: KafkaSettings, *, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """The consumer's configuration: what promises rest on, over what the settings pass through."""
    config: dict[str, Any] = {
        # Brokers close connections that were idle for ten minutes; closing them ourselves before that keeps a quiet
        # night from looking like an outage.
        "connections.max.idle.ms": 540_000,
        # How soon a topic that grew is noticed, which stops the service; well within any window.
        "topic.metadata.refresh.interval.ms": 60_000,
        # Per member. Two topics are read at most a window apart, so a deep queue is thrown away at each pause.
        "queued.max.messages.kbytes": 32_768,
        **settings.properties,
        "bootstrap.servers": settings.bootstrap_servers,
        "group.id": settings.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "range",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "error_cb": on_error,
        # librdkafka's own words, as lines of the log like all others.
        "logger": logging.getLogger("librdkafka.consumer"),
    }
    if settings.group_instance_id:
        config["group.instance.id"] = settings.group_instance_id
    return config


class Source:
    """The consumer and what it is assigned.

    Args:
        consumer: makes the consumer, given the handler for its errors.
        starts: finds where tasks start.
        tasks: is told of tasks that begin and end.
        on_trouble: is told in words of errors after which producers may still be writing what they had buffered.
    """

    def __init__(
        self,
        consumer: Callable[[Callable[[KafkaError], None]], Consumer],
        settings: KafkaSettings,
        starts: Starts,
        tasks: Tasks,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._topics = (settings.offer_topic, settings.checkout_topic)
        self._group = settings.group_id
        self._starts = starts
        self._tasks = tasks
        self._on_trouble = on_trouble
        self._failure: OptOutError | None = None
        self._partitions: set[int] = set()
        self._paused: set[tuple[str, int]] = set()
        self._rebalanced = False
        self._assigned = False
        self._consumer = consumer(self._on_error)

    @property
    def partitions(self) -> frozenset[int]:
        """The tasks that run here."""
        return frozenset(self._partitions)

    def topic(self, source: Input) -> str:
        """The topic of an input."""
        return self._topics[source]

    def subscribe(self, now: int, before: Callable[[], None] | None = None) -> None:
        """Join the group; if it is new, settle first where it starts. `now` is the wall clock (ms).

        `before` is called once that is settled, before anything is read.
        """
        self._starts.begin_group(self._consumer, now)
        if before is not None:
            before()
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, most: int, timeout: float) -> list[Message]:
        """Read up to `most` records and partition ends, waiting up to `timeout` seconds.

        Raises:
            StopError, StartError: the consumer cannot go on; nothing of this poll was handed on.
        """
        self._rebalanced = False
        messages = self._consumer.consume(most, timeout)
        self._look_for_growth()
        if self._failure is not None:
            raise self._failure
        if self._rebalanced:
            # What was read before the rebalance may stand ahead of where the new assignment starts. The new one is
            # paused until the next poll, so none of these belong to it.
            return []
        return [message for message in messages if message.error() is None or self._is_end(message)]

    def pause(self, wanted: set[tuple[str, int]]) -> None:
        """Read nothing from exactly these partitions of those assigned."""
        if wanted == self._paused:
            return
        more, fewer = wanted - self._paused, self._paused - wanted
        if more:
            self._consumer.pause([TopicPartition(*place) for place in more])
        if fewer:
            self._consumer.resume([TopicPartition(*place) for place in fewer])
        self._paused = set(wanted)

    def commit(self, plans: Mapping[int, Plan]) -> set[int]:
        """Commit both partitions of each task in one request. Returns the tasks for which both were acknowledged.

        A failed commit is no loss: what it would have said is said again by the next one, or found out by a restart.
        """
        offsets = [
            TopicPartition(topic, partition, position.offset, metadata=position.metadata)
            for partition, plan in plans.items()
            for topic, position in zip(self._topics, (plan.offers, plan.checkouts), strict=True)
        ]
        if not offsets:
            return set()
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as error:
            cause = error.args[0]
            level = log.info if cause.code() in _LOST_MEMBERSHIP else log.warning
            level("commit failed", error=str(cause), partitions=sorted(plans))
            return set()
        failed = {answer.partition for answer in answers if answer.error is not None}
        for answer in answers:
            if answer.error is not None:
                log.warning("commit failed", topic=answer.topic, partition=answer.partition, error=str(answer.error))
        return set(plans) - failed

    def close(self) -> None:
        """Leave the group. Tasks that still run are revoked first."""
        self._consumer.close()

    # --- the consumer's callbacks

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._rebalanced = self._assigned = True
        try:
            both = self._pairs(assigned)
            starts = self._starts.of(consumer, both)
        except OptOutError as error:
            self._failure = error
            consumer.assign([])
            return
        except KafkaException as error:
            self._failure = self._unanswered(error)
            consumer.assign([])
            return
        places = [
            TopicPartition(topic, partition, position.offset)
            for partition, start in starts.items()
            for topic, position in zip(self._topics, (start.offers, start.checkouts), strict=True)
        ]
        consumer.assign(places)
        consumer.pause(places)
        self._paused = {(place.topic, place.partition) for place in places}
        self._partitions = set(starts)
        log.info("assigned", partitions=sorted(starts))
        for partition, start in sorted(starts.items()):
            try:
                self._tasks.begin(partition, start)
            except OptOutError as error:
                self._failure = error

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        self._end(revoked, self._tasks.revoked, "revoked")

    def _on_lost(self, _: Consumer, lost: list[TopicPartition]) -> None:
        self._on_trouble("the group gave the partitions away")
        self._end(lost, self._tasks.lost, "lost")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = StopError(f"the Kafka client cannot go on: {error.str()}. Start again.")
        else:
            log.warning("kafka", error=error.str(), code=error.name())
            self._on_trouble(error.str())

    # --- inside

    def _look_for_growth(self) -> None:
        """After each assignment: a topic that grows makes the whole group share anew, so every instance comes by here.

        Not within the callback: the question would take from the client what it needs for the next callback of the
        same poll, be it a line for the log, and that ends the process (confluent-kafka 2.16). Before any other failure:
        where one topic grew, the pairs are uneven, and that is nobody's fault.
        """
        if not self._assigned:
            return
        self._assigned = False
        try:
            self._starts.check_partitions(self._consumer)
        except KafkaException as error:
            self._failure = self._failure or self._unanswered(error)

    def _unanswered(self, error: KafkaException) -> StartError:
        return StartError(
            f"group {self._group}: the broker did not answer where to start: {error.args[0]}. "
            "Check the broker, then start again; nothing was committed."
        )

    def _end(self, gone: list[TopicPartition], how: Callable[[list[int]], None], word: str) -> None:
        self._rebalanced = True
        partitions = sorted({place.partition for place in gone} & self._partitions)
        try:
            how(partitions)
        except OptOutError as error:
            self._failure = error
        self._partitions.difference_update(partitions)
        self._paused = {place for place in self._paused if place[1] in self._partitions}
        log.info(word, partitions=partitions)

    def _pairs(self, assigned: Iterable[TopicPartition]) -> list[int]:
        by_topic: list[set[int]] = [set(), set()]
        for place in assigned:
            by_topic[self._topics.index(place.topic)].add(place.partition)
        if by_topic[0] != by_topic[1]:
            raise StopError(
                f"the group's leader gave partitions {sorted(by_topic[0])} of {self._topics[0]} but "
                f"{sorted(by_topic[1])} of {self._topics[1]}: every member of group {self._group} must subscribe to "
                "both topics with the "
                "'range' assignor, and both topics must have as many partitions. Look for a foreign member."
            )
        return sorted(by_topic[0])

    def _is_end(self, message: Message) -> bool:
        error = message.error()
        assert error is not None  # noqa: S101 - the caller has looked
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise OffsetGoneError(
                f"{message.topic()}[{message.partition()}]: the broker no longer has the offset to be read next "
                f"({error.str()}): retention has deleted records that were not read. To go on without them, set the "
                f"offsets of group {self._group} by hand, knowing that opt-outs may be missed."
            )
        if error.fatal() or error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            raise StopError(f"{message.topic()}: {error.str()}. Check that the topic exists and may be read.")
        log.warning("kafka", topic=message.topic(), partition=message.partition(), error=error.str())
        self._on_trouble(error.str())
        return False
