"""A way back asks the outcomes what was settled since. Of one of their partitions retention has left no record."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from confluent_kafka import TopicPartition
from support.kafka import Consumer, Message, partition_end

from consumer.codecs.plain import PlainCodec
from consumer.errors import PositionsError
from consumer.kafka.settled_since import SettledSince
from consumer.kafka.topics import TopicConfig
from consumer.settings import KafkaSettings

KAFKA = KafkaSettings(group_id="g", offer_topic="offers", checkout_topic="checkouts", outcome_topic="outcomes")
NOW = 1_800_000_000_000


class ExpiredLog(Consumer):
    """One partition of outcomes: the last one was written long ago, and is deleted, as `retention.ms` says."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps = {"outcomes": [NOW - 400 * 86_400_000]}
        self.begins["outcomes"] = 1

    def assign(self, places: list[TopicPartition]) -> None: ...
    def consume(self, most: int, timeout: float) -> list[Message]:
        raise AssertionError("nothing stands there")

    def unassign(self) -> None: ...
    def close(self) -> None: ...


HOUR = 3_600_000
DAY = 24 * HOUR


def since(kept: TopicConfig | None, log: Callable[[], Consumer] = ExpiredLog) -> SettledSince:
    """With a clock that says NOW, and brokers that may be a second off."""
    decode = PlainCodec().decode_outcome
    return SettledSince(log, KAFKA, decode, 1_000, lambda: kept, lambda: NOW / 1000)  # type: ignore[arg-type]


def kept_for(days: int | None, most_bytes: int | None = None) -> TopicConfig:
    return TopicConfig("delete", None if days is None else timedelta(days=days), most_bytes=most_bytes)


@pytest.mark.parametrize("kept", [kept_for(365), kept_for(None), kept_for(2), kept_for(365, most_bytes=1_000_000)])
def test_a_quiet_partition_of_outcomes_does_not_refuse_every_way_back(kept: TopicConfig) -> None:
    """Not one outcome since an hour ago, and what is younger than retention.ms is not deleted."""
    assert since(kept).earliest_shown(NOW - HOUR) == {}


def test_where_outcomes_since_then_may_be_gone_the_error_says_which_time_can_be_chosen() -> None:
    """Two days are kept, and the way back is to lead three back: what was settled on the first of them is not known."""
    asked = since(kept_for(2))
    with pytest.raises(PositionsError, match=r"outcomes\[0\]: .* kept for 2 days.*Nothing was changed") as told:
        asked.earliest_shown(NOW - 3 * DAY)
    named = re.search(r"a time after (\S+)\.$", str(told.value))
    assert named is not None
    at = int(datetime.fromisoformat(named[1]).timestamp() * 1000)
    assert NOW - 2 * DAY < at < NOW - 2 * DAY + HOUR
    assert asked.earliest_shown(at) == {}
    for one_too_early in (NOW - 2 * DAY, NOW - 2 * DAY + 2_000):  # a broker may be a second ahead, and a stamp behind
        with pytest.raises(PositionsError):
            asked.earliest_shown(one_too_early)


def test_where_nobody_tells_how_long_outcomes_are_kept_nothing_is_guessed() -> None:
    with pytest.raises(PositionsError, match="Allow DescribeConfigs on the topic"):
        since(None).earliest_shown(NOW - HOUR)


class CutLog(ExpiredLog):
    """One outcome is left, of half an hour ago, and the one before it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps = {"outcomes": [NOW - 400 * DAY, NOW - HOUR // 2]}

    def consume(self, most: int, timeout: float) -> list[Message]:
        return [Message("outcomes", 0, 1, b"k", None), partition_end("outcomes", 0, 2)]

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...


def test_so_it_is_where_one_outcome_is_left_unless_the_topic_is_bounded_by_its_size() -> None:
    """A bound of bytes deletes what is young."""
    assert since(kept_for(365), CutLog).earliest_shown(NOW - HOUR) == {}
    with pytest.raises(PositionsError, match=r"retention\.bytes deletes them.*Choose a later time"):
        since(kept_for(365, most_bytes=1_000), CutLog).earliest_shown(NOW - HOUR)
