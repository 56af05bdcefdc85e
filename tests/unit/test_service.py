"""The loop's order of things, and what a rebalance, a stop and an error do, with a broker that the test plays."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from test_runner import CODEC, Message, Sink, offer

from consumer.errors import PartitionsChangedError, TooManyDeadLettersError
from consumer.events import Outcome
from consumer.runtime.service import Clock, Service
from consumer.settings import ApiSettings, DeadLetterSettings, JoinSettings, KafkaSettings, Settings
from consumer.xcover.call import CallResult, OptOutCall

TOPICS = ("offers", "checkouts")
Happening = Callable[["Consumer"], None]


class Consumer:
    """A Kafka consumer whose polls give what the test has put there."""

    def __init__(self) -> None:
        self.polls: list[list[Message] | Happening] = []
        self.commits: list[dict[str, int]] = []
        self.assigned: dict[str, int] = {}
        self.paused: set[str] = set()
        self.partitions = 1
        self.happened: list[str] = []

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def consume(self, most: int, timeout: float) -> list[Message]:
        messages: list[Message] = []
        while self.polls:
            event = self.polls.pop(0)
            if isinstance(event, list):
                return messages + event
            # A rebalance happens within a poll, with what was read before it already in hand.
            messages = [offer(70, 10_000, offer_id="stale")]
            event(self)
        return messages

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        last = self.commits[-1] if self.commits else {}
        return [TopicPartition(p.topic, p.partition, last.get(p.topic, -1001)) for p in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, 100

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=range(self.partitions))})

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = {place.topic: place.offset for place in places}

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {place.topic for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {place.topic for place in places}

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.happened.append("commit")
        self.commits.append({place.topic: place.offset for place in offsets})
        return offsets

    def close(self) -> None:
        if self.assigned:
            revoke(self)


def both() -> list[TopicPartition]:
    return [TopicPartition(topic, 0) for topic in TOPICS]


def assign(consumer: Consumer) -> None:
    consumer.on_assign(consumer, both())


def revoke(consumer: Consumer) -> None:
    consumer.on_revoke(consumer, both())
    consumer.assigned = {}


def lose(consumer: Consumer) -> None:
    consumer.on_lost(consumer, both())
    consumer.assigned = {}


class Delivery:
    """Keeps the calls; answers when the test says so."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[CallResult] = queue.SimpleQueue()
        self.calls: list[OptOutCall] = []
        self.share = 0.0

    def start(self) -> None: ...
    def stop(self, timeout: float) -> None: ...
    def check(self) -> None: ...

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        self.calls.extend(calls)

    def cancel(self, owner: object) -> None: ...

    def set_share(self, fraction: float) -> None:
        self.share = fraction

    def answer(self, outcome: Outcome | None = Outcome.OPTED_OUT) -> None:
        for call in self.calls:
            self.results.put(CallResult(call, outcome, 204, 1, None))
        self.calls = []


class FlushedSink(Sink):
    """A sink whose flush the test lets fail."""

    def __init__(self, consumer: Consumer) -> None:
        super().__init__()
        self.acknowledges = True
        self.consumer = consumer

    def flush(self, timeout: float) -> bool:
        self.consumer.happened.append("flush")
        return self.acknowledges

    def poll(self) -> None: ...
    def check(self) -> None: ...


class Ends:
    waiting = False

    def ask(self, partitions: object) -> None: ...
    def answers(self) -> None:
        return None


class World:
    def __init__(self, **dead_letter: Any) -> None:
        self.consumer, self.delivery = Consumer(), Delivery()
        self.sink = FlushedSink(self.consumer)
        self.now = 1_000.0
        settings = Settings(
            kafka=KafkaSettings(
                group_id="g", offer_topic="offers", checkout_topic="checkouts",
                commit_interval=timedelta(hours=1), revoke_timeout=timedelta(milliseconds=300),
            ),
            join=JoinSettings(
                window=timedelta(seconds=1), checkout_grace=timedelta(0), lookback=timedelta(seconds=2),
                lateness=timedelta(milliseconds=1), max_skew=timedelta(days=1),
            ),
            api=ApiSettings(auth="none"),
            dead_letter=DeadLetterSettings(**dead_letter),
        )  # fmt: skip
        self.service = Service(
            settings,
            partitions=1,
            consumer=lambda _: self.consumer,  # type: ignore[arg-type,return-value]
            ends=lambda _: Ends(),  # type: ignore[arg-type,return-value]
            sink=self.sink,  # type: ignore[arg-type]
            delivery=self.delivery,  # type: ignore[arg-type]
            codec=CODEC,
            clock=Clock(wall=lambda: self.now),
        )
        self.service._source.subscribe(0)
        self.consumer.commits.clear()
        self.consumer.happened.clear()

    def turn(self, *polls: list[Message] | Happening) -> None:
        self.consumer.polls.extend(polls)
        self.service.turn()

    def begin(self) -> None:
        self.turn(assign)
        self.consumer.happened.clear()
        self.consumer.commits.clear()

    def decide(self) -> None:
        """Read one offer, and let time pass until it is called."""
        self.turn([offer(0, 10_000)])
        task = self.service._runners[0].task
        for source in (0, 1):
            task._inputs[source].idle(20_000)
        self.turn()
        assert [call.offer_id for call in self.delivery.calls] == ["o1"]

    def commit(self) -> None:
        self.service._commit([0], 0.1)

    @property
    def committed(self) -> int | None:
        return self.consumer.commits[-1]["offers"] if self.consumer.commits else None


@pytest.fixture
def world() -> World:
    made = World()
    made.begin()
    return made


def test_outcomes_are_flushed_before_the_commit_that_relies_on_them(world: World) -> None:
    world.decide()
    world.delivery.answer()
    world.turn()
    world.consumer.happened.clear()
    world.commit()
    assert world.consumer.happened == ["flush", "commit"]
    assert world.committed == 1


def test_nothing_is_committed_while_an_outcome_is_not_acknowledged(world: World) -> None:
    world.decide()
    world.delivery.answer()
    world.turn()
    world.sink.acknowledges = False
    world.commit()
    assert world.committed is None


def test_what_was_read_before_a_rebalance_in_the_same_poll_is_dropped(world: World) -> None:
    world.turn(assign)
    assert world.service.sessions == 0, "a record of the assignment before was applied to the new one"
    assert world.consumer.paused == set(), "the new assignment is not read"


def test_both_partitions_start_paused_so_that_no_record_of_them_is_in_the_poll_that_assigns_them() -> None:
    world = World()
    seen: list[set[str]] = []
    world.turn(assign, lambda consumer: seen.append(set(consumer.paused)))
    assert seen == [set(TOPICS)]


def test_revoked_waits_for_calls_in_flight_and_commits(world: World) -> None:
    world.decide()
    world.delivery.answer()
    world.turn(revoke)
    assert world.committed == 1
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


def test_revoked_commits_no_call_that_is_still_in_flight(world: World) -> None:
    world.decide()
    world.turn(revoke)
    assert world.committed == 0


def test_lost_commits_nothing_and_a_late_result_is_written_all_the_same(world: World) -> None:
    world.decide()
    world.turn(lose)
    world.delivery.answer()
    world.turn()
    assert world.committed is None
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


def test_after_an_error_nothing_is_committed() -> None:
    world = World(max_run=2)
    bad: list[list[Message] | Happening] = [[Message("offers", n, "s", b"\xff") for n in range(5)]]
    world.consumer.polls = [assign, [], *bad]
    with pytest.raises(TooManyDeadLettersError):
        world.service.run()
    assert all(commit["offers"] == 0 for commit in world.consumer.commits), "a restart loop would drain the topic"


def test_topics_that_grew_stop_the_service(world: World) -> None:
    world.consumer.partitions = 2
    with pytest.raises(PartitionsChangedError, match="had 1 partitions when this service started and has 2 now"):
        world.turn(assign)


def test_a_topic_that_is_gone_stops_the_service(world: World) -> None:
    world.consumer.partitions = 0
    with pytest.raises(PartitionsChangedError, match="offers is gone"):
        world.turn(assign)


def test_a_partition_that_was_not_there_at_the_start_stops_the_service_whatever_the_broker_tells(world: World) -> None:
    new = [TopicPartition(topic, 1) for topic in TOPICS]
    with pytest.raises(PartitionsChangedError, match="partition 1 was assigned"):
        world.turn(lambda consumer: consumer.on_assign(consumer, new))


def test_partitions_are_counted_at_an_assignment_and_not_at_each_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    asked: list[str] = []
    count = world.consumer.list_topics
    monkeypatch.setattr(
        world.consumer, "list_topics", lambda topic, timeout: asked.append(topic) or count(topic, timeout)
    )
    world.turn(assign)
    world.turn()
    assert asked == list(TOPICS)


def test_an_instance_takes_the_share_of_the_rate_that_its_tasks_are(world: World) -> None:
    assert world.delivery.share == 1.0
    world.turn(revoke)
    assert world.delivery.share == 0.0


def test_reading_pauses_when_too_much_is_unsettled(world: World) -> None:
    world.service._settings = world.service._settings.model_copy(
        update={"delivery": world.service._settings.delivery.model_copy(update={"max_unsettled": 1})}
    )
    world.decide()
    world.turn()
    assert world.consumer.paused == set(TOPICS)
    world.delivery.answer()
    world.turn()
    assert world.consumer.paused == set()
