"""Where a task starts is asked again while a partition's leader moves, as in any restart of a broker."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
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
