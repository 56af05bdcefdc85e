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
from structlog.testing import capture_logs
from unit.runtime.test_runner import CODEC, NOW, Message, Sink, checkout, end, make, offer, pass_time, release_file

from consumer.calls import CallOwner, CallResult, OptOutCall
from consumer.core.task import Side, Task
from consumer.errors import TooManyDeadLettersError
from consumer.events import Outcome, RecordRef
from consumer.kafka.record import Record
from consumer.kafka.start_offsets import TaskStart
from consumer.runtime.edges import Clock, Edges, OnRecordFetched
from consumer.runtime.loop import PROGRESS, Loop
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


class Results:
    """The results of calls. Whoever waits for one has waited: nothing else moves the clock."""

    def __init__(self, world: Waiting) -> None:
        self.world = world
        self.waits: list[float] = []
        self.ready: list[CallResult] = []

    def get(self, timeout: float) -> CallResult:
        self.waits.append(timeout)
        self.world.skipped += timeout
        return self.get_nowait()

    def get_nowait(self) -> CallResult:
        if not self.ready:
            raise queue.Empty
        return self.ready.pop(0)


class Waiting(World):
    """A world whose clock stands still but for waiting, and which notes what it asks of its neighbours."""

    def __init__(self, *, partitions: int = 1, **kafka: Any) -> None:
        clock = Clock(wall=lambda: self.now, monotonic=lambda: self.skipped)
        super().__init__(clock=clock, partitions=partitions, kafka=kafka)
        self.results = Results(self)
        self.delivery.results = self.results  # type: ignore[assignment] # a queue for all that is asked of it
        self.cancelled: list[object] = []
        self.delivery.cancel = self.cancelled.extend  # type: ignore[method-assign]
        self.stops: list[float] = []
        self.delivery.stop = self._stop  # type: ignore[method-assign]
        self.flushes: list[float] = []
        self.sink.flush = self._flush  # type: ignore[method-assign]

    def _stop(self, timeout: float) -> None:
        self.stops.append(timeout)

    def _flush(self, timeout: float) -> bool:
        self.flushes.append(timeout)
        return True

    def decide(self) -> None:
        super().decide()
        self.flushes.clear()

    def answer(self) -> None:
        self.results.ready += [CallResult(call, Outcome.OPTED_OUT, 204, 1, None) for call in self.delivery.calls]
        self.delivery.calls = []


@pytest.fixture
def world() -> World:
    made = World()
    made.begin()
    return made


@pytest.fixture
def waiting() -> Waiting:
    made = Waiting()
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


def test_after_an_error_nothing_is_committed() -> None:
    world = World(max_run=2)
    bad: list[list[Message] | Happening] = [[Message("offers", n, "s", b"\xff") for n in range(5)]]
    world.consumer.polls = [assign, [], *bad]
    with pytest.raises(TooManyDeadLettersError):
        world.loop.run()
    assert all(commit["offers"] == 0 for commit in world.consumer.commits), "a restart loop would drain the topic"


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


def test_a_stop_waits_shutdown_timeout_once_and_then_leaves(waiting: Waiting) -> None:
    seen: list[tuple[int, Any]] = []
    waiting.loop.tasks.consumer.subscribe = lambda now, before: seen.append((now, before))  # type: ignore[method-assign,assignment]
    asked: list[object] = []
    waiting.loop._keys.at_start = asked.append  # type: ignore[method-assign,assignment]
    waiting.decide()
    waiting.loop.stop()
    waiting.loop.run()
    ((now, before),) = seen
    assert now == 1_000_000, "the wall clock in ms"
    before()
    assert asked == [waiting.edges.consumer], "the keys are looked at before anything is read"
    budget = waiting.settings.delivery.shutdown_timeout.total_seconds()
    assert sum(waiting.results.waits) == pytest.approx(budget), "not once more when the group is left"
    assert waiting.stops == [0]


def test_an_end_of_a_partition_is_not_heard_as_a_record(waiting: Waiting) -> None:
    heard: list[Side] = []
    waiting.loop._idleness.heard = lambda source, partition: heard.append(source)  # type: ignore[method-assign]
    waiting.turn([offer(0, 10_000), end("checkouts", 0)])
    assert heard == [Side.OFFERS]


def test_progress_is_reported_once_in_a_while_with_what_holds_the_commit(waiting: Waiting) -> None:
    waiting.decide()
    waiting.skipped = 10 * PROGRESS
    with capture_logs() as logs:
        for _ in range(3):
            waiting.turn()
    (line,) = [line for line in logs if line["event"] == "progress"]
    assert (line["partition"], line["unsettled"], line["oldest_unsettled"]) == (0, 1, "P/o1")


# --- a turn in which nothing changes


def judged(world: World) -> list[int]:
    """How many tasks the guards judge, each time they do."""
    asked: list[int] = []
    judge = world.loop.suspension.judge

    def spy(tasks: Collection[Task]) -> None:
        asked.append(len(tasks))
        judge(tasks)

    world.loop.suspension.judge = spy  # type: ignore[method-assign]
    return asked


def test_guards_are_asked_only_when_something_was_read_a_watermark_moved_or_a_task_came_or_went(world: World) -> None:
    asked = judged(world)
    world.turn()
    assert asked == []
    world.turn([offer(0, 10_000)])
    world.turn([end("checkouts", 0)])
    assert asked == [1, 1]
    world.loop._idleness.look = lambda tasks, topics: True  # type: ignore[method-assign]
    world.turn()
    world.loop._idleness.look = lambda tasks, topics: False  # type: ignore[method-assign]
    world.turn()
    assert asked == [1, 1, 1]
    world.turn(revoke)
    world.turn()
    world.turn(assign)
    world.turn()
    assert asked == [1, 1, 1, 0, 1]


def test_guards_are_asked_while_records_are_buffered(world: World) -> None:
    first, _ = make()
    first.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    first.on_message(Side.CHECKOUTS, checkout(0, 10_000), NOW)
    pass_time(first, 10_100)
    first.decide()
    plan = first.task.prepare_commit()
    assert plan is not None
    world.turn(revoke)
    world.loop.tasks.begin(0, TaskStart(plan.offers, plan.checkouts, None))
    world.turn([offer(0, 10_000), offer(1, 10_000, session="s2")])
    asked = judged(world)
    world.turn()
    assert (world.runner.buffering, asked) == (True, [1])
    world.turn([checkout(0, 10_000)])
    world.turn()
    assert (world.runner.buffering, asked) == (False, [1, 1])
    assert world.runner.task.next_offset(Side.OFFERS) == 2


def test_a_quiet_turn_still_settles_and_reads_on_when_enough_is_settled(world: World) -> None:
    world.set_max_unsettled(1)
    world.decide()
    assert world.consumer.paused == set(TOPICS)
    asked = judged(world)
    world.delivery.answer()
    world.turn()
    assert (asked, world.consumer.paused) == ([], set())
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]
