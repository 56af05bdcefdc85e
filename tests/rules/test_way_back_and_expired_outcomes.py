"""A way back asks the outcomes what was settled since. Of one of their partitions retention has left no record."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from support.kafka import Consumer, Message

from consumer.codecs.plain import PlainCodec
from consumer.kafka.settled_since import SettledSince
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


def test_a_quiet_partition_of_outcomes_does_not_refuse_every_way_back() -> None:
    """Not one outcome since an hour ago: neither this time nor any later one can be chosen, as the error asks for."""
    since = SettledSince(ExpiredLog, KAFKA, PlainCodec().decode_outcome, 1_000)  # type: ignore[arg-type]
    assert since.earliest_shown(NOW - 3_600_000) == {}
