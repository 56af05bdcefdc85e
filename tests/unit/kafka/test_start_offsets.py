"""Where a new group starts by time, with a broker that the test plays."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from consumer.core.checkpoint import CheckoutCheckpoint, Position
from consumer.core.restore import Admission
from consumer.core.rules import MAX_TIME, DecisionRules
from consumer.core.task import Task
from consumer.errors import StartError
from consumer.events import OfferPresented
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
SINCE = 1_800_000_000_000


class Consumer:
    """Both topics have one partition; its checkouts begin at `low`, and the first at or after any time is `at`."""

    def __init__(self, low: int, at: int) -> None:
        self.low, self.at = low, at
        self.refuses: dict[str, str] = {}
        self.commits: dict[str, tuple[int, str]] = {}

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(p.topic, p.partition, -1001) for p in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        return (self.low if place.topic == "checkouts" else 0), 100

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(p.topic, p.partition, self.at) for p in places]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        self.commits = {place.topic: (place.offset, place.metadata or "") for place in offsets}
        return [SimpleNamespace(topic=p.topic, partition=0, error=self.refuses.get(p.topic)) for p in offsets]


def begin(consumer: Any, moment: str | None = None) -> dict[str, tuple[int, str]]:
    since = moment or datetime.fromtimestamp(SINCE / 1000, UTC)
    settings = KafkaSettings.model_validate(
        {"offer_topic": "offers", "checkout_topic": "checkouts", "start_from": since}
    )
    StartOffsets(settings, RULES, 1).begin_group(consumer, SINCE + 10**6)
    commits: dict[str, tuple[int, str]] = consumer.commits
    return commits


def test_a_start_by_time_knows_its_horizon_where_older_checkouts_are_still_there() -> None:
    offset, metadata = begin(Consumer(low=3, at=7))["checkouts"]
    assert offset == 7
    assert CheckoutCheckpoint.decode(metadata, offset).horizon == SINCE - RULES.lookback - RULES.lateness


def test_a_start_by_time_at_the_very_first_record_ever_knows_its_horizon() -> None:
    offset, metadata = begin(Consumer(low=0, at=0))["checkouts"]
    assert CheckoutCheckpoint.decode(metadata, offset).horizon == SINCE - RULES.lookback - RULES.lateness


@pytest.mark.parametrize("at", [3, -1])
def test_a_start_by_time_learns_its_horizon_where_retention_may_have_cut_what_it_needs(at: int) -> None:
    commits = begin(Consumer(low=3, at=at) if at > 0 else _Emptied())
    assert commits["checkouts"][1] == "", "older checkouts may be gone, and nobody would know"


@pytest.mark.parametrize(
    ("before", "verdict"),
    [(0, Admission.ACCEPTED), (RULES.lateness, Admission.ACCEPTED), (RULES.lateness + 1, Admission.LATE)],
)
def test_an_offer_on_time_whose_record_is_the_first_after_the_start_is_no_late_one(
    before: int, verdict: Admission
) -> None:
    commits = begin(Consumer(low=3, at=7))
    offers, checkouts = (Position(*commits[topic]) for topic in ("offers", "checkouts"))
    task = Task(RULES, partitions=1, offers=offers, checkouts=checkouts, horizon=MAX_TIME)
    shown = OfferPresented("s", "ada", "o1", SINCE - before, offers.offset)
    assert task.offer(shown, SINCE, SINCE + 10) is verdict


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T00:00:00Z"])
def test_a_start_by_any_time_that_can_be_set_can_be_logged(moment: str) -> None:
    assert begin(Consumer(low=0, at=7), moment)["offers"][0] == 7


class _Emptied(Consumer):
    """Retention has deleted every checkout."""

    def __init__(self) -> None:
        super().__init__(low=100, at=-1)


def test_a_start_of_which_only_a_part_was_committed_stops() -> None:
    consumer = Consumer(low=0, at=7)
    consumer.refuses = {"offers": "too large"}
    with pytest.raises(StartError, match=r"offers\[0\]: too large"):
        begin(consumer)
