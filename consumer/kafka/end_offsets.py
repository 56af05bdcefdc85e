"""Asks the broker where partitions begin and end: `bounds` at a start, `EndOffsets` while running.

While running it is asked so that an input without traffic can be told from one that is not read. The consumer's own
figure will not do: it freezes on a paused partition, and as read_committed it stops at an open transaction, which is
unread data. So the question goes through an admin client, as read_uncommitted, and its answer counts only if
everything below it has been read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

log = structlog.get_logger(__name__)

TIMEOUT = 30.0
"""Seconds to wait for an answer that a start cannot go on without."""

_TIMEOUT = 10.0
"""Seconds that a question while running may take before it counts as trouble."""

_MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        # A new leader does not tell its end until its followers have fetched from it.
        KafkaError.OFFSET_NOT_AVAILABLE,
        # The broker and the client do not agree yet on who leads.
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._TRANSPORT,
    }
)

_UNTOLD = _MOVING | {KafkaError._TIMED_OUT}


def bounds(consumer: Consumer, place: TopicPartition, timeout: float | None = None) -> tuple[int, int]:
    """The first offset and the end of a partition, asked again while its leader moves.

    A group shares anew in the very moments in which a broker goes: without this, that would end every instance.

    Args:
        timeout: seconds; None: `TIMEOUT`.

    Raises:
        KafkaException: the broker refused, or there was no leader within the time-out.
    """
    timeout = TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + timeout
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=timeout, cached=False)
            return low, high
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def bounds_within(
    consumer: Consumer,
    places: Collection[TopicPartition],
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[tuple[str, int], tuple[int, int]]:
    """The bounds of those partitions that are told within so many seconds for all, by topic and partition.

    A partition without a leader may take half of what is left at the most, so that the others are asked as well.

    Raises:
        KafkaException: a broker refused, or not one partition was told.
    """
    deadline = monotonic() + seconds
    found: dict[tuple[str, int], tuple[int, int]] = {}
    last: KafkaException | None = None
    for place in places:
        left = deadline - monotonic()
        if left <= 0:
            break
        try:
            found[place.topic, place.partition] = bounds(consumer, place, left / 2)
        except KafkaException as error:
            if error.args[0].code() not in _UNTOLD:
                raise
            last = error
    if places and not found:
        raise last or KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return found


class EndOffsets:
    """One question at a time, asked without waiting. Not thread-safe.

    Args:
        admin: asks.
        wall: the wall clock in seconds; it is read before the question, since producers may write after the answer.
        on_trouble: called with a reason when the broker does not answer or a partition's leader has changed.
    """

    def __init__(self, admin: AdminClient, wall: Callable[[], float], on_trouble: Callable[[str], None]) -> None:
        self._admin = admin
        self._wall = wall
        self._on_trouble = on_trouble
        self._asked_at = 0
        self._answers: dict[TopicPartition, Future[Any]] = {}
        self._epochs: dict[tuple[str, int], int] = {}

    @property
    def waiting(self) -> bool:
        """A question is under way."""
        return bool(self._answers)

    def ask(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Ask for the ends of these partitions."""
        self._asked_at = int(self._wall() * 1000)
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client is typed only in part
        question = {TopicPartition(topic, partition): latest for topic, partition in partitions}
        self._answers = self._admin.list_offsets(
            question, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT
        )

    def answers(self) -> tuple[int, dict[tuple[str, int], int]] | None:
        """(when it was asked in ms, the end of each partition that was told); None while the question is under way."""
        if not self._answers or not all(future.done() for future in self._answers.values()):
            return None
        answers, self._answers = self._answers, {}
        ends: dict[tuple[str, int], int] = {}
        for partition, future in answers.items():
            place = partition.topic, partition.partition
            try:
                told = future.result()
            except KafkaException as error:
                self._on_trouble(f"the broker does not tell where {place[0]}[{place[1]}] ends: {error}")
                continue
            if told.offset < 0:  # the client's own time-out, which it does not tell as one
                self._on_trouble(f"the leader of {place[0]}[{place[1]}] does not answer where it ends")
                continue
            epoch = -1 if told.leader_epoch is None else told.leader_epoch
            if self._epochs.setdefault(place, epoch) != epoch:
                self._epochs[place] = epoch
                self._on_trouble(f"{place[0]}[{place[1]}] has a new leader")
                continue
            ends[place] = told.offset
        return self._asked_at, ends
