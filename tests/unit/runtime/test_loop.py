"""The loop's order of things, and what a rebalance, a stop and an error do, with a broker that the test plays."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, TopicPartition
from unit.runtime.test_results import release_file
from unit.runtime.test_runner import CODEC, Message, Sink, checkout, offer

from consumer.calls import CallOwner, CallResult, OptOutCall
from consumer.core.task import Side
from consumer.errors import PartitionsChangedError, TooManyDeadLettersError
from consumer.events import Outcome, RecordRef
from consumer.kafka.record import Record
from consumer.runtime.edges import Clock, Edges, OnRecordFetched
from consumer.runtime.loop import Loop
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner
from consumer.server.health import Health
from consumer.settings import ApiSettings, DeadLetterSettings, JoinSettings, KafkaSettings, Settings

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
        self.most_metadata = 4_096
        self.metadata: dict[str, str] = {}
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

    def unassign(self) -> None:
        self.assigned = {}

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {place.topic for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {place.topic for place in places}

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.happened.append("commit")
        self.commits.append({place.topic: place.offset for place in offsets})
        self.metadata = {place.topic: place.metadata or "" for place in offsets}
        too_large = SimpleNamespace(code=lambda: KafkaError.OFFSET_METADATA_TOO_LARGE)
        return [
            SimpleNamespace(topic=p.topic, partition=p.partition, offset=p.offset, error=error)  # type: ignore[misc]
            for p in offsets
            for error in [too_large if len(p.metadata or "") > self.most_metadata else None]
        ]

    def close(self) -> None:
        if self.assigned:
            revoke(self)


def both() -> list[TopicPartition]:
    return [TopicPartition(topic, 0) for topic in TOPICS]


def assign(consumer: Consumer) -> None:
    consumer.on_assign(consumer, both())


def revoke(consumer: Consumer) -> None:
    consumer.on_revoke(consumer, both())


def lose(consumer: Consumer) -> None:
    consumer.on_lost(consumer, both())


class Delivery:
    """Keeps the calls; answers when the test says so."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[CallResult] = queue.SimpleQueue()
        self.calls: list[OptOutCall] = []
        self.share = 0.0
        self.released: list[dict[tuple[str, str], str]] = []
        self.retried: list[OptOutCall] = []
        self.withdrawn: list[int] = []

    def start(self) -> None: ...
    def stop(self, timeout: float) -> None: ...
    def check(self) -> None: ...

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        self.calls.extend(calls)

    def cancel(self, owners: Collection[CallOwner]) -> None: ...

    def withdraw(self, owner: CallOwner, chain_starts: Iterable[int]) -> None:
        self.withdrawn.extend(chain_starts)

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        self.released.append(dict(offers))

    def retry_refused(self, call: OptOutCall) -> None:
        self.retried.append(call)

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


class Rereader:
    """Keeps the questions; answers when the test says so."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[OnRecordFetched, Record | None]] = queue.SimpleQueue()
        self.asked: list[OnRecordFetched] = []

    def ask(self, source: RecordRef, token: OnRecordFetched) -> None:
        assert source == RecordRef("offers", 0, 0)
        self.asked.append(token)

    def check(self) -> None: ...
    def stop(self) -> None: ...


class Ends:
    waiting = False

    def ask(self, partitions: object) -> None: ...
    def answers(self) -> None:
        return None


class World:
    def __init__(
        self,
        releases: Releases | None = None,
        join: dict[str, Any] | None = None,
        *,
        health: Health | None = None,
        clock: Clock | None = None,
        kafka: dict[str, Any] | None = None,
        partitions: int = 1,
        **dead_letter: Any,
    ) -> None:
        self.consumer, self.delivery, self.rereader = Consumer(), Delivery(), Rereader()
        self.sink = FlushedSink(self.consumer)
        self.now, self.skipped = 1_000.0, 0.0
        settings = Settings(
            kafka=KafkaSettings(
                group_id="g", offer_topic="offers", checkout_topic="checkouts",
                commit_interval=timedelta(hours=1),
                **{"revoke_timeout": timedelta(milliseconds=300), **(kafka or {})},
            ),
            join=JoinSettings(
                window=timedelta(seconds=1), checkout_grace=timedelta(0), lookback=timedelta(seconds=2),
                lateness=timedelta(milliseconds=1), max_skew=timedelta(days=1), **join or {},
            ),
            api=ApiSettings(auth="none"),
            dead_letter=DeadLetterSettings(**dead_letter),
        )  # fmt: skip
        self.settings = settings
        self.edges = Edges(
            consumer=lambda _: self.consumer,  # type: ignore[arg-type,return-value]
            ends=lambda _: Ends(),  # type: ignore[arg-type,return-value]
            outputs=self.sink,  # type: ignore[arg-type]
            delivery=self.delivery,  # type: ignore[arg-type]
            codec=CODEC,
            record_reader=self.rereader,  # type: ignore[arg-type]
            releases=releases or Releases(None),
            clock=clock or Clock(wall=lambda: self.now, monotonic=lambda: time.monotonic() + self.skipped),
        )
        self.health = health or Health(95.0, self.edges.clock.monotonic)
        self.consumer.partitions = partitions
        self.loop = Loop(settings, self.edges, partitions=partitions, health=self.health)
        self.loop.tasks.consumer.subscribe(0)
        self.consumer.commits.clear()
        self.consumer.happened.clear()

    def turn(self, *polls: list[Message] | Happening) -> None:
        self.consumer.polls.extend(polls)
        self.loop.run_once()

    def begin(self) -> None:
        self.turn(assign)
        self.consumer.happened.clear()
        self.consumer.commits.clear()

    def idle(self, until: int) -> None:
        """Both topics are read to their end at this time (ms); then a turn."""
        for source in Side:
            self.runner.task.idle(source, until)
        self.loop.tasks.changed = True
        self.turn()

    def set_max_unsettled(self, most: int) -> None:
        self.loop._back_pressure._most = most
        self.loop.suspension._most = most

    def decide(self) -> None:
        """Read one offer, and let time pass until it is called."""
        self.turn([offer(0, 10_000)])
        self.idle(20_000)
        assert [call.offer_id for call in self.delivery.calls] == ["o1"]

    def commit(self) -> None:
        self.loop.tasks.commit([0], 0.1)

    @property
    def runner(self) -> TaskRunner:
        return self.loop.tasks.runners[0]

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
    assert world.loop.sessions == 0, "a record of the assignment before was applied to the new one"
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
        world.loop.run()
    assert all(commit["offers"] == 0 for commit in world.consumer.commits), "a restart loop would drain the topic"


def test_topics_that_grew_stop_the_service(world: World) -> None:
    world.consumer.partitions = 2
    with pytest.raises(PartitionsChangedError, match="had 1 partitions when this service started and has 2 now"):
        world.turn(assign)


def test_a_broker_that_does_not_know_a_topic_for_a_moment_stops_nothing(world: World) -> None:
    world.consumer.partitions = 0
    world.turn(assign)


def test_a_partition_that_was_not_there_at_the_start_stops_the_service_whatever_the_broker_tells(world: World) -> None:
    new = [TopicPartition(topic, 1) for topic in TOPICS]
    with pytest.raises(PartitionsChangedError, match="has more now"):
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
    world.set_max_unsettled(1)
    world.decide()
    world.turn()
    assert world.consumer.paused == set(TOPICS)
    world.delivery.answer()
    world.turn()
    assert world.consumer.paused == set()


def silent_world(**join: Any) -> World:
    """A checkout, then offers for longer than checkout_silence, with none of them due by then."""
    world = World(join={"checkout_silence": timedelta(seconds=5), **join})
    world.begin()
    world.turn(
        [checkout(0, 10_000), offer(0, 10_000), *(offer(n, 10_000 + 2_000 * n, session=f"s{n}") for n in range(1, 5))]
    )
    world.idle(18_000)
    return world


def test_while_decisions_are_held_nothing_is_called_and_nothing_committed() -> None:
    world = silent_world()
    assert world.delivery.calls == []
    world.commit()
    assert world.committed == 0


def test_decisions_go_on_by_themselves_after_a_silence() -> None:
    world = silent_world()
    world.turn([checkout(1, 18_500)])
    assert world.delivery.calls == []
    world.idle(18_502)
    assert world.delivery.calls == [], "lateness has not passed since"
    world.idle(18_503)
    assert len(world.delivery.calls) == 4


def test_while_decisions_are_held_so_many_offers_are_read_and_checkouts_without_end() -> None:
    world = silent_world()
    world.set_max_unsettled(3)
    world.turn([offer(5, 18_000, session="s5"), offer(6, 18_000, session="s6")])
    assert world.consumer.paused == set()
    world.turn([offer(7, 18_000, session="s7")])
    assert world.consumer.paused == {"offers"}
    world.turn([checkout(1, 18_500)])
    assert world.consumer.paused == {"offers"}
    world.idle(18_503)
    world.delivery.answer()
    world.turn()
    assert world.consumer.paused == set()
    assert world.runner.task.undecided == 4, "s4 and what came after are not due yet"


def test_a_hold_says_why_and_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    world = silent_world()
    world.turn([checkout(1, 18_500)])
    world.idle(18_503)
    told = capsys.readouterr().out
    held, landing = told.index("no checkout comes"), told.index("checkouts come again:")
    assert held < landing < told.rindex("decisions go on ")
    assert "newest_checkout=1970-01-01T00:00:10.000+00:00" in told


def test_a_hold_without_any_checkout_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(join={"checkout_silence": timedelta(seconds=5)})
    world.begin()
    world.turn([offer(0, 10_000), offer(1, 16_000)])
    world.loop.suspension.report([world.runner.task])
    world.idle(16_000)
    assert "newest_checkout=None" in capsys.readouterr().out


def test_a_change_of_the_release_file_lets_go_what_waits_and_what_is_decided_later(tmp_path: Path) -> None:
    path = release_file(tmp_path)
    world = World(Releases(path))
    world.begin()
    world.decide()
    release_file(tmp_path, "o1", "o2", "typo")
    world.skipped += 1
    with structlog.testing.capture_logs() as logs:
        world.turn([offer(1, 30_000, offer_id="o2")])
    assert [set(offers) for offers in world.delivery.released] == [{("P", "o1"), ("P", "o2"), ("P", "typo")}]
    (line,) = [line for line in logs if line["event"] == "release file read"]
    assert (line["entries"], line["waiting_here"], line["not_waiting_here"]) == (3, 1, ["P/o2", "P/typo"])
    world.idle(40_000)
    assert [call.offer_id for call in world.delivery.calls] == ["o1"], "an offer that was let go was called"
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.RELEASED]


def test_an_unchanged_release_file_lets_nothing_go_twice(tmp_path: Path) -> None:
    world = World(Releases(release_file(tmp_path, "o1")))
    world.begin()
    for _ in range(3):
        world.skipped += 1
        world.turn()
    assert world.delivery.released == []


def test_the_record_of_a_refused_call_is_read_again_and_a_revoke_waits_for_it(world: World) -> None:
    world.decide()
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn()
    (question,) = world.rereader.asked
    message = offer(0, 10_000)
    world.rereader.results.put((question, Record("offers", 0, 0, 0, message.key(), message.value())))
    world.turn(revoke)
    assert world.sink.dead == [(0, "rejected")]
    assert world.committed == 1


def test_a_refused_call_whose_record_is_gone_is_tried_again(world: World) -> None:
    world.decide()
    (call,) = world.delivery.calls
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn()
    (question,) = world.rereader.asked
    world.rereader.results.put((question, None))
    world.turn()
    assert world.delivery.retried == [call]
    world.commit()
    assert world.committed == 0


def test_a_revoke_does_not_wait_for_a_record_beyond_its_time_and_commits_nothing_of_it(world: World) -> None:
    world.decide()
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn(revoke)
    assert len(world.rereader.asked) == 1
    assert world.committed == 0
    assert world.sink.outcomes == []


def test_a_broker_that_takes_less_metadata_is_given_less(world: World) -> None:
    world.turn([offer(n, 10_000 + n, session=f"s{n}") for n in range(0, 2_000, 2)])
    world.idle(20_000)
    world.delivery.calls = world.delivery.calls[::2]
    world.delivery.answer()
    world.turn()
    world.consumer.most_metadata = 400
    lengths = []
    for _ in range(6):
        world.commit()
        lengths.append(len(world.consumer.metadata["offers"]))
    assert lengths[0] > 400
    assert lengths[-1] <= 400


def test_with_too_much_unsettled_a_silence_still_reads_the_checkouts_that_end_it() -> None:
    world = World(join={"checkout_silence": timedelta(seconds=5)})
    world.begin()
    world.set_max_unsettled(1)
    world.turn([checkout(0, 10_000), offer(0, 10_000)])
    world.idle(12_000)
    assert len(world.delivery.calls) == 1
    assert world.consumer.paused == set(TOPICS)
    world.turn([offer(1, 16_000, session="s1")])
    world.idle(16_000)
    assert world.consumer.paused == {"offers"}
