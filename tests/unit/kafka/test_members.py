"""What the group has not put behind it: read within one bound, whatever a broker takes for an answer."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException
from support.slow_log import STAMP, SlowLog

from consumer.checks.examine import BOUND
from consumer.errors import StartError
from consumer.kafka.members import FirstHeld, first_held


def group(partitions: int, *slow: int, **more: float) -> SlowLog:
    """Has committed offset 5 of 10 of each partition."""
    return SlowLog(partitions, *slow, end=10, committed=5, **more)  # type: ignore[arg-type]


def held(log: SlowLog, partitions: int) -> FirstHeld:
    return first_held(log, {"offers": partitions}, lambda: log.now)  # type: ignore[arg-type]


def test_the_oldest_of_a_topic_is_told() -> None:
    log = group(3)
    assert held(log, 3) == FirstHeld({"offers": STAMP})
    log.offset = 10
    assert held(log, 3) == FirstHeld({}), "all is behind it"
    log.offset = -1001
    assert held(log, 3) == FirstHeld({}), "nothing is committed"


@pytest.mark.parametrize("slow", [(0,), (0, 1, 2), (7,)])
def test_a_leader_that_does_not_answer_leaves_the_others_their_time(slow: tuple[int, ...]) -> None:
    log = group(8, *slow)
    found = held(log, 8)
    first = next(n for n in range(8) if n not in slow)
    assert found == FirstHeld({"offers": STAMP + first}, unknown=len(slow))
    assert log.now < BOUND - 1


def test_many_slow_answers_end_within_the_bound_and_what_was_told_counts() -> None:
    log = group(500, takes=0.1)
    found = held(log, 500)
    assert found.stamps == {"offers": STAMP}
    assert found.unknown > 400
    assert log.now < BOUND - 1


def test_where_no_partition_is_told_it_is_an_error() -> None:
    log = group(8, *range(8))
    with pytest.raises((StartError, KafkaException)):
        held(log, 8)
    assert log.now < BOUND - 1
