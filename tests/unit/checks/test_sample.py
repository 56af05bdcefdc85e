"""The newest records of a topic: within one bound, and an error in words where the brokers tell of none."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from support.slow_log import SlowLog

from consumer.checks.examine import BOUND
from consumer.checks.sample import newest
from consumer.errors import StartError


def partitions_of_newest(log: SlowLog, count: int = 1_000) -> list[int]:
    found = newest(log, "offers", count, lambda: log.now)  # type: ignore[arg-type]
    return [record.partition for record in found]


def test_the_newest_are_those_of_the_latest_stamps_the_newest_last() -> None:
    assert partitions_of_newest(SlowLog(5), 3) == [2, 3, 4]


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_topic_that_is_not_there_or_may_not_be_described_is_an_error(code: int) -> None:
    """As Apache Kafka answers: without partitions, and with an error in their place. It is no topic without records."""
    with pytest.raises(StartError, match="offers: the brokers tell no partition of it") as caught:
        partitions_of_newest(SlowLog(0, error=code))
    assert KafkaError(code).str() in str(caught.value)
    assert "the right to describe it" in str(caught.value)


def test_a_topic_of_which_nothing_is_told_is_an_error() -> None:
    with pytest.raises(StartError, match="the brokers tell no partition of it"):
        partitions_of_newest(SlowLog(0))


@pytest.mark.parametrize("slow", [(0,), (0, 1, 2), (7,)])
def test_a_leader_that_does_not_answer_leaves_the_other_partitions_their_time(slow: tuple[int, ...]) -> None:
    topic = SlowLog(8, *slow)
    assert partitions_of_newest(topic) == [n for n in range(8) if n not in slow]
    assert topic.now < BOUND - 1


def test_many_slow_answers_end_within_the_bound_of_a_check() -> None:
    topic = SlowLog(500, takes=0.1)
    assert 10 < len(partitions_of_newest(topic)) < 100
    assert topic.now < BOUND - 1


def test_where_no_partition_is_told_it_is_an_error_in_words() -> None:
    topic = SlowLog(8, *range(8))
    with pytest.raises(StartError, match="offers: the brokers did not tell what it holds"):
        partitions_of_newest(topic)
    assert topic.now < BOUND - 1
