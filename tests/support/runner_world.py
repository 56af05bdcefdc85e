"""A task's runner among edges that the test plays."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from support.builders import CODEC, NOW, offer
from support.kafka import Message

from consumer.calls import CallResult, OptOutCall
from consumer.codecs.codec import Codec
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferOutcome, Outcome, RecordRef
from consumer.kafka.record import Record
from consumer.runtime.bad_record_limit import BadRecordLimit
from consumer.runtime.edges import Clock, Edges, OnRecordFetched
from consumer.runtime.releases import Releases
from consumer.runtime.runner import TaskRunner

RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=0, max_skew=1_000_000)

NOTE = "released by on call: gone at the insurer"

AT = 10_000


class Sink:
    """Keeps what is written; acknowledges at once."""

    def __init__(self) -> None:
        self.outcomes: list[OfferOutcome] = []
        self.dead: list[tuple[int, str]] = []

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        self.outcomes.append(outcome)

    def dead_letter(self, record: Any, *, reason: str, error: str, on_ack: Any) -> None:
        self.dead.append((record.offset, reason))
        on_ack()


BEGIN = Position(0)


def edges(**made: Any) -> Edges:
    """The edges of a runner. Those that it does not touch are not there."""
    unused = dict.fromkeys(("consumer", "ends", "delivery", "record_reader"))
    return Edges(**{**unused, "codec": CODEC, "clock": Clock(wall=lambda: NOW / 1000), **made})


class LimitWithoutRows(BadRecordLimit):
    """Settles each bad record as soon as its dead letter is acknowledged, as once none was bad for a while."""

    def acknowledged(self, number: int, partition: int, settle: Callable[[], None]) -> None:
        settle()


def limits(max_run: int) -> tuple[BadRecordLimit, BadRecordLimit]:
    return LimitWithoutRows("offers", max_run, 1.0), LimitWithoutRows("checkouts", max_run, 1.0)


def make(offers: Position = BEGIN, checkouts: Position = BEGIN, max_run: int = 100) -> tuple[TaskRunner, Sink]:
    sink = Sink()
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=offers, checkouts=checkouts),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink),
        bad_records=limits(max_run),
        late_limit=0,
    )
    return runner, sink


def pass_time(runner: TaskRunner, until: int) -> None:
    for side in Side:
        runner.task.idle(side, until)


def committed_after(offsets: list[int]) -> tuple[Position, Position]:
    """What is committed once these offers were read and none was due."""
    runner, _ = make()
    for offset in offsets:
        runner.on_message(Side.OFFERS, offer(offset, 10_000 + offset, session=f"s{offset}"), NOW)
    pass_time(runner, 10_500)
    runner.decide()
    plan = runner.task.prepare_commit()
    assert plan is not None
    return plan.offers, plan.checkouts


class SlowSink(Sink):
    """Acknowledges a dead letter when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[Record, str, str]] = []
        self.acks: list[Callable[[], None]] = []

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        self.records.append((record, reason, error))
        self.acks.append(on_ack)


class FakeRecordReader:
    """Keeps what it is asked for; answers when the test says so, by `results` or by calling `on_fetched`."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[OnRecordFetched, Record | None]] = queue.SimpleQueue()
        self.asked: list[RecordRef] = []
        self.on_fetched: list[OnRecordFetched] = []

    def ask(self, source: RecordRef, on_fetched: OnRecordFetched) -> None:
        self.asked.append(source)
        self.on_fetched.append(on_fetched)

    def check(self) -> None: ...
    def stop(self) -> None: ...


class RunnerWorld:
    def __init__(
        self,
        releases: Releases | None = None,
        task: Task | None = None,
        *,
        late_limit: int = 0,
        codec: Codec = CODEC,
    ) -> None:
        self.sink, self.reader = SlowSink(), FakeRecordReader()
        self.runner = TaskRunner(
            0,
            task or Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
            topics=("offers", "checkouts"),
            edges=edges(outputs=self.sink, record_reader=self.reader, releases=releases or Releases(None), codec=codec),
            bad_records=limits(100),
            late_limit=late_limit,
        )

    def call(self) -> OptOutCall:
        """One offer, presented at offset 0, is decided and to be called."""
        self.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
        pass_time(self.runner, 12_000)
        (call,) = self.runner.decide()
        return call

    def refused(self, status: int | None = 422, note: str | None = "Unexpected field") -> CallResult:
        result = CallResult(self.call(), Outcome.DEAD_LETTERED, status, 1, note)
        self.runner.on_result(result)
        return result

    @property
    def committed(self) -> int:
        plan = self.runner.task.prepare_commit()
        assert plan is not None
        return plan.offers.offset


def record(at: int = 10_000, offer_id: str = "o1", value: bytes | None = None) -> Record:
    message = offer(0, at, offer_id=offer_id)
    return Record("offers", 0, 0, NOW, message.key(), message.value() if value is None else value, (("trace", b"7"),))


def show(world: RunnerWorld, *more: Message, until: int = 12_000) -> list[OptOutCall]:
    """One offer, presented at offset 3, and what else there is; the calls to be made."""
    world.runner.on_message(Side.OFFERS, offer(3, AT), NOW)
    for message in more:
        world.runner.on_message(Side(("offers", "checkouts").index(message.topic())), message, NOW)
    pass_time(world.runner, until)
    return world.runner.decide()
