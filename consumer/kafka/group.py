"""What the coordinator knows of the group: what it has committed, and whether this member is spare.

A spare member is one in a group that has settled, with nothing for it. On the `consumer` protocol (KIP-848) such a
member is never told anything by its client, and could not tell itself from one that has not joined yet. So the
coordinator is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ..errors import StartError
from .end_offsets import TIMEOUT, bounds

log = structlog.get_logger(__name__)

INTERVAL = 2.0
"""Seconds between two questions."""

_TIMEOUT = 10.0

_COMING_UP = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        # The group moved on, of which the member hears with its next heartbeat.
        KafkaError.STALE_MEMBER_EPOCH,
    }
)


def committed_by(consumer: Consumer, places: list[TopicPartition], timeout: float = TIMEOUT) -> list[TopicPartition]:
    """What the group has committed, asked again for as long as its coordinator or our membership is coming up.

    Args:
        timeout: seconds.

    Raises:
        StartError: the broker did not tell within the time-out.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            committed: list[TopicPartition] = consumer.committed(places, timeout=timeout)
            wrong = [place.error for place in committed if place.error is not None]
            if wrong:
                raise KafkaException(wrong[0])
            return committed
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() not in _COMING_UP or time.monotonic() > deadline:
                raise StartError(
                    f"the broker does not tell what the group has committed: {cause.str()}. Check the broker and the "
                    "rights of the group, then start again; nothing was read."
                ) from error
        time.sleep(0.2)


def unread(consumer: Consumer, topics: Sequence[str], partitions: int) -> dict[tuple[str, int], tuple[int, int]]:
    """For each partition of the topics: where the group goes on, or the first offset still there; and the present end.

    Raises:
        StartError, KafkaException: the broker did not answer.
    """
    places = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
    spans = {}
    for place in committed_by(consumer, places):
        low, high = bounds(consumer, place)
        spans[place.topic, place.partition] = (max(low, place.offset), high)
    return spans


class Membership:
    """One question at a time, asked without waiting. Not thread-safe.

    Args:
        admin: asks.
        group: its name.
        monotonic: a clock in seconds.
    """

    def __init__(self, admin: AdminClient, group: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._group = group
        self._monotonic = monotonic
        self._next_question = 0.0
        self._answer: Future[Any] | None = None
        self._refused = False

    def is_spare(self, member_id: str) -> bool:
        """Whether the group is stable, counts this member, and has no partition for it; False while that is not known.

        To be called again and again.
        """
        if self._answer is None:
            now = self._monotonic()
            if now >= self._next_question:
                self._next_question = now + INTERVAL
                self._answer = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT)[
                    self._group
                ]
            return False
        if not self._answer.done():
            return False
        answer, self._answer = self._answer, None
        try:
            group = answer.result()
        except KafkaException as error:
            if not self._refused:
                self._refused = True
                log.warning("the broker does not tell who is in the group: no spare is ready", error=str(error.args[0]))
            return False
        if group.state is not ConsumerGroupState.STABLE:
            return False
        return any(
            member.member_id == member_id
            and not member.assignment.topic_partitions
            and not (member.target_assignment and member.target_assignment.topic_partitions)
            for member in group.members
        )
