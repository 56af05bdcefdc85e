"""Where a task starts is asked again while a partition's leader moves, as in any restart of a broker."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.core.rules import DecisionRules
from consumer.kafka import end_offsets
from consumer.kafka.start_offsets import StartOffsets, TaskStart
from consumer.settings import KafkaSettings

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)


class Consumer:
    """One partition, 100 records; the first questions for its ends are answered by errors."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.asked = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = type("Topic", (), {"partitions": {0: None}})
        return type("Cluster", (), {"topics": {topic: partitions}})

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, 7) for place in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        self.asked += 1
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        return 0, 100


def start(consumer: Any) -> dict[int, TaskStart]:
    return StartOffsets(KafkaSettings(offer_topic="offers", checkout_topic="checkouts"), RULES, 1).of(consumer, [0])


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._TRANSPORT,
    ],
)
def test_a_leader_that_moves_is_waited_for(code: int) -> None:
    consumer = Consumer(code, code)
    assert start(consumer)[0].offers.offset == 7
    assert consumer.asked == 4


def test_another_error_is_none_to_wait_for() -> None:
    consumer = Consumer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        start(consumer)
    assert consumer.asked == 1


def test_a_leader_that_never_comes_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_offsets, "TIMEOUT", 0.3)
    with pytest.raises(KafkaException):
        start(Consumer(*[KafkaError.NOT_LEADER_FOR_PARTITION] * 100))
