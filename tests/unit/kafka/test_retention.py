"""What is known of the inputs' retention: asked once an hour, without waiting, and what is denied is said once."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.kafka.retention import INTERVAL, Kept, Retention

TOPICS = ("offers", "checkouts")


class DescribingAdmin:
    """Keeps the questions; the test answers them."""

    def __init__(self) -> None:
        self.asked: list[dict[Any, Future[Any]]] = []

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Future[Any]]:
        self.asked.append({resource: Future() for resource in resources})
        return self.asked[-1]

    def list_offsets(self, places: dict[TopicPartition, Any], request_timeout: float) -> dict[Any, Future[Any]]:
        self.asked.append({place: Future() for place in places})
        return self.asked[-1]

    def tell(self, ms: int, size: int) -> None:
        self.tell_of({"retention.ms": str(ms), "retention.bytes": str(size)})

    def tell_of(self, settings: dict[str, str | None]) -> None:
        for answer in self.asked[-1].values():
            answer.set_result({name: SimpleNamespace(value=value) for name, value in settings.items()})

    def refuse(self) -> None:
        for answer in self.asked[-1].values():
            answer.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))


class Asked:
    """The retention of the topics, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.admin = DescribingAdmin()
        self.retention = Retention(self.admin, TOPICS, lambda: self.now)  # type: ignore[arg-type]


def test_it_is_asked_once_an_hour_and_nobody_waits_for_the_answer() -> None:
    asked = Asked()
    assert asked.retention.kept("offers") is None
    assert asked.retention.kept("checkouts") is None
    assert len(asked.admin.asked) == 1
    asked.admin.tell(600_000, -1)
    assert asked.retention.kept("offers") == asked.retention.kept("checkouts") == Kept(600_000, None)
    asked.now = INTERVAL - 1
    asked.retention.kept("offers")
    assert len(asked.admin.asked) == 1
    asked.now = INTERVAL
    assert asked.retention.kept("offers") == Kept(600_000, None), "what was known holds until there is news"
    asked.admin.tell(-1, 10_000)
    assert asked.retention.kept("offers") == Kept(None, 10_000)
    asked.now = 2 * INTERVAL
    asked.retention.kept("offers")
    asked.admin.tell(2**63 - 1, -1)
    assert asked.retention.kept("offers") == Kept(None, None), "some write for ever so"


@pytest.mark.parametrize(
    ("listed", "kept"),
    [
        ({"retention.ms": "604800000"}, Kept(604_800_000, None)),
        ({"retention.bytes": "1000"}, Kept(None, 1_000)),
        ({"retention.ms": None, "retention.bytes": "1000"}, Kept(None, 1_000)),
        ({}, Kept(None, None)),
    ],
)
def test_what_is_not_listed_is_not_known_and_ends_no_run(listed: dict[str, str | None], kept: Kept) -> None:
    """What only speaks Kafka's protocol may list some of a topic's settings."""
    asked = Asked()
    asked.retention.kept("offers")
    asked.admin.tell_of(listed)
    assert asked.retention.kept("offers") == kept


def test_where_it_is_denied_that_is_said_once_and_is_no_trouble() -> None:
    asked = Asked()
    with structlog.testing.capture_logs() as lines:
        for hour in range(3):
            asked.now = hour * INTERVAL
            asked.retention.kept("offers")
            asked.admin.refuse()
            assert asked.retention.kept("offers") is None
    (line,) = lines
    assert (line["log_level"], line["topic"]) == ("info", "offers")
    assert "DescribeConfigs" in line["event"]


def test_bounds_are_those_of_which_both_ends_were_told() -> None:
    asked = Asked()
    places = [("offers", 0), ("offers", 1), ("checkouts", 0), ("checkouts", 1)]
    asked.retention.ask_bounds(places)
    first, end = asked.admin.asked
    assert asked.retention.bounds() == {}
    for answers, offsets in ((first, (5, 6, 7, 8)), (end, (50, 60, None, -1001))):
        for answer, offset in zip(answers.values(), offsets, strict=True):
            if offset is None:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            else:
                answer.set_result(SimpleNamespace(offset=offset))
    assert asked.retention.bounds() == {("offers", 0): (5, 50), ("offers", 1): (6, 60)}


def test_bounds_stay_known_while_the_next_question_is_under_way() -> None:
    asked = Asked()
    asked.retention.ask_bounds([])
    assert asked.admin.asked == [], "a client refuses an empty question"
    for number in range(2):
        asked.retention.ask_bounds([("offers", 0)])
        if number:
            assert asked.retention.bounds() == {("offers", 0): (5, 6)}
        for answers, offset in zip(asked.admin.asked[-2:], (5 + number, 6 + number), strict=True):
            for answer in answers.values():
                answer.set_result(SimpleNamespace(offset=offset))
    assert asked.retention.bounds() == {("offers", 0): (6, 7)}


def test_brokers_that_stop_answering_leave_nothing_known() -> None:
    asked = Asked()
    for offset in (5, -1001):
        asked.retention.ask_bounds([("offers", 0)])
        for answers in asked.admin.asked[-2:]:
            for answer in answers.values():
                answer.set_result(SimpleNamespace(offset=offset))
        found = asked.retention.bounds()
    assert found == {}
