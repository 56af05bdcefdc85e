"""Asking for the ends of partitions: what an answer means, and what is trouble."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition

from consumer.kafka.end_offsets import EndOffsets

PLACE = ("offers", 0)


class Admin:
    """Keeps the question; its futures are answered by the test."""

    def __init__(self) -> None:
        self.questions: list[dict[TopicPartition, Any]] = []
        self.isolation: Any = None
        self.timeout: float | None = None
        self.futures: dict[TopicPartition, Future[Any]] = {}

    def list_offsets(self, question: dict[TopicPartition, Any], isolation_level: Any, request_timeout: float) -> Any:
        self.questions.append(question)
        self.isolation, self.timeout = isolation_level, request_timeout
        self.futures = {place: Future() for place in question}
        return self.futures

    def tell(self, end: int, epoch: int | None = 1, partition: int = 0) -> None:
        (future,) = (f for place, f in self.futures.items() if place.partition == partition)
        future.set_result(SimpleNamespace(offset=end, leader_epoch=epoch))

    def fail(self, partition: int = 0) -> None:
        (future,) = (f for place, f in self.futures.items() if place.partition == partition)
        future.set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))


class EndOffsetsWorld:
    def __init__(self) -> None:
        self.admin, self.wall, self.trouble = Admin(), 1_000.0, list[str]()
        self.ends = EndOffsets(self.admin, lambda: self.wall, self.trouble.append)  # type: ignore[arg-type]

    def told(self, end: int, epoch: int | None) -> dict[tuple[str, int], int]:
        self.ends.ask([PLACE])
        self.admin.tell(end, epoch)
        answer = self.ends.answers()
        assert answer is not None
        return answer[1]


@pytest.fixture
def world() -> EndOffsetsWorld:
    return EndOffsetsWorld()


def test_the_question_is_asked_as_read_uncommitted_and_dated_before_it_is_asked(world: EndOffsetsWorld) -> None:
    world.ends.ask([PLACE])
    world.wall += 10.0
    assert world.ends.waiting
    assert world.ends.answers() is None
    world.admin.tell(7)
    assert world.ends.answers() == (1_000_000, {PLACE: 7})
    assert world.admin.isolation is IsolationLevel.READ_UNCOMMITTED, "an open transaction is unread data"
    assert world.admin.timeout == 10.0, "a broker that never answers is trouble, and no question that lasts"
    assert not world.ends.waiting


def test_an_answer_counts_when_all_partitions_have_been_told(world: EndOffsetsWorld) -> None:
    world.ends.ask([PLACE, ("offers", 1)])
    world.admin.tell(7)
    assert world.ends.answers() is None
    world.admin.tell(8, partition=1)
    assert world.ends.answers() == (1_000_000, {PLACE: 7, ("offers", 1): 8})


def test_a_new_leader_is_trouble_once_and_its_first_answer_does_not_count(world: EndOffsetsWorld) -> None:
    assert world.told(7, epoch=3) == {PLACE: 7}
    assert world.told(7, epoch=3) == {PLACE: 7}
    assert world.trouble == []
    assert world.told(7, epoch=4) == {}
    assert world.trouble == ["offers[0] has a new leader"]
    assert world.told(7, epoch=4) == {PLACE: 7}
    assert len(world.trouble) == 1


def test_brokers_that_tell_no_epoch_are_no_trouble(world: EndOffsetsWorld) -> None:
    assert world.told(7, epoch=None) == {PLACE: 7}
    assert world.told(7, epoch=None) == {PLACE: 7}
    assert world.trouble == []
    for epoch in (1, None, -2):
        assert world.told(7, epoch=epoch) == {}, "it has an epoch now, or another"


def test_a_new_leader_of_one_partition_or_its_silence_takes_nothing_from_the_others(world: EndOffsetsWorld) -> None:
    places = [("offers", partition) for partition in range(3)]
    world.ends.ask(places)
    for partition in range(3):
        world.admin.tell(7, epoch=1, partition=partition)
    world.ends.answers()
    world.ends.ask(places)
    world.admin.tell(7, epoch=2, partition=0)
    world.admin.fail(partition=1)
    world.admin.tell(8, epoch=1, partition=2)
    assert world.ends.answers() == (1_000_000, {("offers", 2): 8})
    assert len(world.trouble) == 2


def test_no_offset_is_no_end_however_often_it_is_told(world: EndOffsetsWorld) -> None:
    """As the client tells of a question that the partition's leader did not answer in time."""
    for times in range(1, 4):
        assert world.told(-1001, epoch=None) == {}
        assert len(world.trouble) == times
        assert "offers[0]" in world.trouble[-1]
    assert world.told(7, epoch=3) == {PLACE: 7}, "no leader was known before"


def test_a_broker_that_does_not_answer_is_trouble_and_tells_no_end(world: EndOffsetsWorld) -> None:
    world.ends.ask([PLACE])
    world.admin.fail()
    assert world.ends.answers() == (1_000_000, {})
    (trouble,) = world.trouble
    assert "offers[0]" in trouble
