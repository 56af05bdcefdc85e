"""The loop among edges that the test plays: a broker, a delivery, and what it writes to."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from confluent_kafka import TopicPartition
from support.builders import CODEC, offer
from support.kafka import Consumer, Message
from support.runner_world import FakeRecordReader, Sink

from consumer.calls import CallOwner, CallResult, OptOutCall
from consumer.core.watermark import Side
from consumer.delivery.doing import NOTHING_YET, DeliverySnapshot
from consumer.events import Outcome
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock, Edges
from consumer.runtime.loop import Loop
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner
from consumer.server.health import Health
from consumer.server.latest import Latest
from consumer.settings import (
    ApiSettings,
    DeadLetterSettings,
    InputsSettings,
    JoinSettings,
    KafkaSettings,
    Settings,
)
from consumer.snapshot import Snapshot

TOPICS = ("offers", "checkouts")

Happening = Callable[["LoopConsumer"], None]


class LoopConsumer(Consumer):
    """A consumer whose polls give what the test has put there. It knows topics by name, whatever their partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[list[Message] | Happening] = []
        self.assigned: dict[str, int] = {}
        self.paused: set[str] = set()
        self.ends: dict[str, int] = {}
        self.happened: list[str] = []
        self.waited: list[float] = []

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def consume(self, most: int, timeout: float) -> list[Message]:
        self.waited.append(timeout)
        messages: list[Message] = []
        while self.polls:
            event = self.polls.pop(0)
            if isinstance(event, list):
                return messages + event
            # A rebalance happens within a poll, with what was read before it already in hand.
            messages = [offer(70, 10_000, offer_id="stale")]
            event(self)
        return messages

    def get_watermark_offsets(self, place: TopicPartition, **more: Any) -> tuple[int, int]:
        """Nothing stands behind what is committed, as a task begins, unless `ends` says otherwise of its topic."""
        end = self.ends.get(place.topic, self.committed_offsets[place.topic, place.partition])
        return self.begins.get(place.topic, self.low), max(0, end)

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = {place.topic: place.offset for place in places}

    def unassign(self) -> None:
        self.assigned = {}

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {place.topic for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {place.topic for place in places}

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        self.happened.append("commit")
        return super().commit(offsets, asynchronous)

    def forget_commits(self) -> None:
        """Nothing that was committed until now is of interest any more."""
        self.commits.clear()
        self.happened.clear()

    def close(self) -> None:
        if self.assigned:
            revoke(self)


def both() -> list[TopicPartition]:
    return [TopicPartition(topic, 0) for topic in TOPICS]


def assign(consumer: LoopConsumer) -> None:
    consumer.on_assign(consumer, both())


def revoke(consumer: LoopConsumer) -> None:
    consumer.on_revoke(consumer, both())


def lose(consumer: LoopConsumer) -> None:
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

    def snapshot(self) -> DeliverySnapshot:
        return NOTHING_YET

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

    def __init__(self, consumer: LoopConsumer) -> None:
        super().__init__()
        self.acknowledges = True
        self.consumer = consumer

    def flush(self, timeout: float) -> bool:
        self.consumer.happened.append("flush")
        return self.acknowledges

    def poll(self) -> None: ...
    def check(self) -> None: ...


class NoEnds:
    """Nobody knows where a partition ends: what is idle, the test says."""

    waiting = False

    def ask(self, partitions: object) -> None: ...
    def answers(self) -> None:
        return None


class EndsNow:
    """A broker that tells in the next turn where partitions ended when it was asked. `now` is in seconds."""

    def __init__(self, now: Callable[[], float], ends: Callable[[], dict[tuple[str, int], int]]) -> None:
        self._now, self._ends = now, ends
        self._asked_at: int | None = None

    @property
    def waiting(self) -> bool:
        return self._asked_at is not None

    def ask(self, partitions: Iterable[tuple[str, int]]) -> None:
        self._asked_at = int(self._now() * 1000)

    def answers(self) -> tuple[int, dict[tuple[str, int], int]] | None:
        asked_at, self._asked_at = self._asked_at, None
        return None if asked_at is None else (asked_at, self._ends())


class LoopWorld:
    def __init__(
        self,
        releases: Releases | None = None,
        join: dict[str, Any] | None = None,
        *,
        health: Health | None = None,
        clock: Clock | None = None,
        kafka: dict[str, Any] | None = None,
        partitions: int = 1,
        ends: object = None,
        clock_check: ClockCheck | None = None,
        delivery: Any = None,
        codec: Any = CODEC,
        inputs: dict[str, Any] | None = None,
        retention: Any = None,
        **dead_letter: Any,
    ) -> None:
        self.consumer, self.reader = LoopConsumer(), FakeRecordReader()
        self.delivery = delivery or Delivery()
        self.sink = FlushedSink(self.consumer)
        self.now, self.skipped = 1_000.0, 0.0
        settings = Settings(
            kafka=KafkaSettings(
                group_id="g", offer_topic="offers", checkout_topic="checkouts",
                **{
                    "commit_interval": timedelta(hours=1), "revoke_timeout": timedelta(milliseconds=300),
                    **(kafka or {}),
                },
            ),
            join=JoinSettings(
                **{
                    "window": timedelta(seconds=1), "checkout_grace": timedelta(0), "lookback": timedelta(seconds=2),
                    "lateness": timedelta(milliseconds=1), "max_skew": timedelta(days=1), **(join or {}),
                },
            ),
            api=ApiSettings(auth="none"),
            dead_letter=DeadLetterSettings(**dead_letter),
            input=InputsSettings(**(inputs or {})),
        )  # fmt: skip
        self.settings = settings
        self.edges = Edges(
            consumer=lambda _: self.consumer,  # type: ignore[arg-type,return-value]
            ends=lambda _: ends or NoEnds(),  # type: ignore[arg-type,return-value]
            outputs=self.sink,  # type: ignore[arg-type]
            delivery=self.delivery,  # type: ignore[arg-type]
            codec=codec,
            record_reader=self.reader,  # type: ignore[arg-type]
            releases=releases or Releases(None),
            retention=retention,
            clock=clock or Clock(wall=lambda: self.now, monotonic=lambda: time.monotonic() + self.skipped),
            **({} if clock_check is None else {"clock_check": clock_check}),
        )
        self.health = health or Health(95.0, self.edges.clock.monotonic)
        self.consumer.partitions = partitions
        self.latest = Latest()
        self.loop = Loop(settings, self.edges, partitions=partitions, health=self.health, latest=self.latest)
        self.loop.tasks.consumer.subscribe(0)
        self.consumer.forget_commits()

    def snapshot(self) -> Snapshot:
        """What the run says of itself now."""
        self.loop._snapshots.take(stopping=False)
        assert self.latest.snapshot is not None
        return self.latest.snapshot

    def turn(self, *polls: list[Message] | Happening) -> None:
        self.consumer.polls.extend(polls)
        self.loop.run_once()

    def begin(self) -> None:
        self.turn(assign)
        self.consumer.forget_commits()

    def begin_after(self, before: LoopWorld) -> None:
        """Begin as whoever starts after the other one has ended: what is committed is all that it knows."""
        for kept in ("committed_offsets", "texts", "epochs"):
            getattr(self.consumer, kept).update(getattr(before.consumer, kept))
        self.begin()

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
        return self.consumer.commits[-1]["offers", 0] if self.consumer.commits else None


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


class Waiting(LoopWorld):
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
