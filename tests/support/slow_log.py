"""A topic whose brokers take their time, on a clock that only their answers move."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

STAMP = 1_800_000_000_000
"""Of the records of partition 0 (ms); those of each further one are stamped a millisecond later."""


class SlowLog:
    """What is asked of a consumer that joins no group, of a topic whose partitions hold offsets up to `end`.

    Args:
        partitions: how many there are.
        slow: partitions whose leader never answers.
        takes: seconds of an answer about another one.
        error: with which the brokers tell of the topic.
        committed: the group's offset in each partition; -1001: none.

    Attributes:
        now: the clock, in seconds.
    """

    def __init__(
        self,
        partitions: int,
        *slow: int,
        takes: float = 0.01,
        end: int = 1,
        error: int | None = None,
        committed: int = -1001,
    ) -> None:
        self.now = 0.0
        self.offset = committed
        self._slow, self._takes, self._end = slow, takes, end
        self._told = SimpleNamespace(partitions=range(partitions), error=None if error is None else KafkaError(error))
        self._assigned: list[TopicPartition] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: self._told} if self._told.partitions or self._told.error else {})

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, self.offset) for place in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        took = timeout if place.partition in self._slow else min(self._takes, timeout)
        self.now += took
        if took == timeout:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 0, self._end

    def assign(self, places: list[TopicPartition]) -> None:
        self._assigned = places

    def unassign(self) -> None:
        self._assigned = []

    def pause(self, places: list[TopicPartition]) -> None:
        paused = {place.partition for place in places}
        self._assigned = [place for place in self._assigned if place.partition not in paused]

    def resume(self, places: list[TopicPartition]) -> None:
        pass

    def consume(self, most: int, timeout: float) -> list[Any]:
        self.now += timeout
        return [_message(place) for place in self._assigned]


def _message(place: TopicPartition) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        topic=lambda: place.topic,
        partition=lambda: place.partition,
        offset=lambda: place.offset,
        timestamp=lambda: (1, STAMP + place.partition),
        key=lambda: b"s",
        value=lambda: b"v",
        headers=lambda: None,
    )
