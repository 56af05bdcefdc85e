"""What the group has given to this member, and which of it makes tasks.

A task needs both its inputs. On the classic protocol the group stops and shares anew: the two partitions p come
together and go together. On the `consumer` protocol (KIP-848) a member is told only what comes and what goes, and of
two partitions p one may come before the other, for as long as another member still has that. Such a half is no task:
the client is not given it to read, so nothing is decided by it and nothing committed for it. When its pair has come,
both are read from what is committed by then: only then have the former owners committed for the last time.
When either goes, both are taken from the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import structlog
from confluent_kafka import Consumer, TopicPartition

from ..errors import StopError

log = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds that a half may wait for its pair before that is said, and said again."""


class Assignment:
    """The partitions assigned, and how the client is told which to read.

    Args:
        topics: of the offers and of the checkouts.
        group: its name, for messages.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        topics: tuple[str, str],
        group: str,
        protocol: Literal["classic", "consumer"],
        monotonic: Callable[[], float],
    ) -> None:
        self._topics = topics
        self._group = group
        self._incremental = protocol == "consumer"
        self._monotonic = monotonic
        self._assigned: tuple[set[int], set[int]] = (set(), set())
        self._say_at: dict[int, float] = {}

    def add(self, places: Iterable[TopicPartition]) -> list[int]:
        """Take note of what the group gives: more, or on the classic protocol all. Returns the pairs whole by that.

        Raises:
            StopError: a half on the classic protocol, on which its pair would never come.
        """
        if not self._incremental:
            self._assigned = (set(), set())
        before = self._whole()
        for place in places:
            self._assigned[self._topics.index(place.topic)].add(place.partition)
        offers, checkouts = self._assigned
        if offers != checkouts and not self._incremental:
            raise StopError(
                f"the group's leader gave partitions {sorted(offers)} of {self._topics[0]} but {sorted(checkouts)} of "
                f"{self._topics[1]}: every member of group {self._group} must subscribe to both topics with the "
                "'range' assignor, and both topics must have as many partitions. Look for a foreign member."
            )
        self._watch_halves()
        return sorted(self._whole() - before)

    def remove(self, places: Iterable[TopicPartition]) -> list[int]:
        """Take note of what the group takes away. Returns the pairs that were whole until then."""
        before = self._whole()
        for place in places:
            self._assigned[self._topics.index(place.topic)].discard(place.partition)
        self._watch_halves()
        return sorted(before - self._whole())

    def read(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Have the client read these from their offsets on: besides what it reads, or on the classic protocol alone."""
        if self._incremental:
            consumer.incremental_assign(places)
        else:
            consumer.assign(places)

    def stop_reading(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Take these from the client; on the classic protocol it is always all."""
        if self._incremental:
            consumer.incremental_unassign(places)
        else:
            consumer.unassign()

    @property
    def halves(self) -> tuple[int, ...]:
        """The partitions of which one topic's is here and the other's is not."""
        return tuple(sorted(self._say_at))

    def report_halves(self) -> None:
        """Say which halves have waited long for their pair: no call is made for their sessions."""
        now = self._monotonic()
        overdue = {partition for partition, at in self._say_at.items() if now >= at}
        if not overdue:
            return
        self._say_at.update(dict.fromkeys(overdue, now + PATIENCE))
        for topic, assigned, missing in zip(self._topics, self._assigned, reversed(self._topics), strict=True):
            if partitions := sorted(assigned & overdue):
                log.warning(
                    "partitions wait for their pair: nothing of theirs is decided here. Every member of the group must "
                    "subscribe to both topics with the 'range' assignor, and both must have as many partitions",
                    topic=topic,
                    partitions=partitions,
                    missing=missing,
                    seconds=PATIENCE,
                )

    def _whole(self) -> set[int]:
        return self._assigned[0] & self._assigned[1]

    def _watch_halves(self) -> None:
        first = self._monotonic() + PATIENCE
        self._say_at = {
            partition: self._say_at.get(partition, first) for partition in self._assigned[0] ^ self._assigned[1]
        }
