"""Where a task starts is asked again while a partition's leader moves, as in any restart of a broker."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from support.kafka import Consumer

from consumer.core.rules import DecisionRules
from consumer.kafka import end_offsets
from consumer.kafka.start_offsets import StartOffsets, TaskStart
from consumer.settings import KafkaSettings

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)


def broker(*errors: int) -> Consumer:
    """One partition, 100 records; the first questions for its ends are answered by errors."""
    consumer = Consumer(committed=7)
    consumer.errors["get_watermark_offsets"] = [*errors]
    return consumer


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
    consumer = broker(code, code)
    assert start(consumer)[0].offers.offset == 7
    assert consumer.asked.count("get_watermark_offsets") == 4


def test_another_error_is_none_to_wait_for() -> None:
    consumer = broker(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        start(consumer)
    assert consumer.asked.count("get_watermark_offsets") == 1


def test_a_leader_that_never_comes_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_offsets, "TIMEOUT", 0.3)
    with pytest.raises(KafkaException):
        start(broker(*[KafkaError.NOT_LEADER_FOR_PARTITION] * 100))


def test_of_several_partitions_those_without_a_leader_are_left_out_and_a_refusal_is_an_error() -> None:
    places = [TopicPartition("offers", number) for number in range(3)]
    silent = broker(KafkaError._TIMED_OUT)
    assert end_offsets.bounds_within(silent, places, 5) == {("offers", 1): (0, 100), ("offers", 2): (0, 100)}  # type: ignore[arg-type]
    refusing = broker(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        end_offsets.bounds_within(refusing, places, 5)  # type: ignore[arg-type]
    assert refusing.asked.count("get_watermark_offsets") == 1
    assert end_offsets.bounds_within(broker(), [], 5) == {}  # type: ignore[arg-type]
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        end_offsets.bounds_within(broker(), places, 0)  # type: ignore[arg-type]
