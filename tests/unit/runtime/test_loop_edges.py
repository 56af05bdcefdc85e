"""Where the loop ends, waits, pauses and reports: the bounds of it, with a clock that moves only by waiting."""

from __future__ import annotations

import queue
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from unit.runtime.test_loop import World, assign, lose, revoke
from unit.runtime.test_runner import Message, end, offer

from consumer.calls import CallResult
from consumer.core.rules import MAX_TIME, DecisionRules
from consumer.core.task import Position, Side
from consumer.events import Outcome
from consumer.kafka.start_offsets import TaskStart
from consumer.runtime.edges import Clock
from consumer.runtime.loop import PROGRESS
from consumer.runtime.tasks import rules_of
from consumer.settings import JoinSettings


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
def world() -> Waiting:
    made = Waiting()
    made.begin()
    return made


def test_the_rules_are_those_of_the_settings_in_ms() -> None:
    join = JoinSettings(
        window=timedelta(seconds=2),
        checkout_grace=timedelta(seconds=1),
        lookback=timedelta(seconds=3),
        lateness=timedelta(seconds=4),
        max_skew=timedelta(seconds=5),
        abandoned="ignore",
    )
    assert rules_of(join) == DecisionRules(2_000, 1_000, 3_000, 4_000, 5_000, call_abandoned=False)


# --- the end


def test_revoked_waits_for_calls_in_flight_within_its_budget_and_leaves_time_to_flush(world: Waiting) -> None:
    world.decide()
    runner = world.runner
    with capture_logs() as logs:
        world.turn(revoke)
    assert sum(world.results.waits) == pytest.approx(0.3), "kafka.revoke_timeout of this world"
    assert max(world.results.waits) <= 0.1, "an error of the delivery is to be seen meanwhile"
    assert min(world.results.waits) > 0
    assert world.flushes == [0.5]
    assert world.cancelled == [runner]
    assert runner.draining
    assert [line["calls"] for line in logs if "in flight" in line["event"]] == [1]


def test_revoked_waits_no_longer_than_for_the_last_call_and_flushes_with_what_is_left(world: Waiting) -> None:
    world.decide()
    world.answer()
    with capture_logs() as logs:
        world.loop.tasks.revoked([0])
    assert world.results.waits == []
    assert world.flushes == [pytest.approx(0.5)]
    assert [line for line in logs if "in flight" in line["event"]] == []
    assert world.committed == 1
    world = Waiting(revoke_timeout=timedelta(seconds=7))
    world.begin()
    world.flushes.clear()
    world.loop.tasks.revoked([0])
    assert world.flushes == [pytest.approx(7)]


def test_lost_takes_back_the_calls_that_wait_and_waits_for_none(world: Waiting) -> None:
    world.decide()
    runner = world.runner
    world.turn(lose)
    assert world.cancelled == [runner]
    assert (world.results.waits, world.flushes, world.stops) == ([], [], [])
    world.loop.tasks.lost([0])
    assert world.cancelled == [runner], "it is gone already"


def test_a_stop_waits_shutdown_timeout_once_and_then_leaves(world: Waiting) -> None:
    seen: list[tuple[int, Any]] = []
    world.loop.tasks.consumer.subscribe = lambda now, before: seen.append((now, before))  # type: ignore[method-assign,assignment]
    asked: list[object] = []
    world.loop._keys.at_start = asked.append  # type: ignore[method-assign,assignment]
    world.decide()
    world.loop.stop()
    world.loop.run()
    ((now, before),) = seen
    assert now == 1_000_000, "the wall clock in ms"
    before()
    assert asked == [world.edges.consumer], "the keys are looked at before anything is read"
    budget = world.settings.delivery.shutdown_timeout.total_seconds()
    assert sum(world.results.waits) == pytest.approx(budget), "not once more when the group is left"
    assert world.stops == [0]


def test_partitions_that_never_began_are_dropped_without_ado(world: Waiting) -> None:
    world.loop.tasks.lost([5, 0])
    assert world.loop.tasks.runners == {}


# --- a turn


def test_an_end_of_a_partition_is_not_heard_as_a_record(world: Waiting) -> None:
    heard: list[Side] = []
    world.loop._idleness.heard = lambda source, partition: heard.append(source)  # type: ignore[method-assign]
    world.turn([offer(0, 10_000), end("checkouts", 0)])
    assert heard == [Side.OFFERS]


def test_progress_is_reported_once_in_a_while_with_what_holds_the_commit(world: Waiting) -> None:
    world.decide()
    world.skipped = 10 * PROGRESS
    with capture_logs() as logs:
        for _ in range(3):
            world.turn()
    (line,) = [line for line in logs if line["event"] == "progress"]
    assert (line["partition"], line["unsettled"], line["oldest_unsettled"]) == (0, 1, "P/o1")


def test_a_task_begins_with_the_h_of_its_start(world: Waiting) -> None:
    world.loop.tasks.begin(1, TaskStart(Position(5), Position(5), MAX_TIME))
    task = world.loop.tasks.runners[1].task
    assert task.restoring
    assert task.restore_until(Side.CHECKOUTS) is None, "H is to be learnt from the first checkout"


def test_the_share_of_the_rate_is_tasks_here_of_all_tasks() -> None:
    world = Waiting(partitions=4)
    world.begin()
    world.loop.tasks.begin(1, TaskStart(Position(0), Position(0), None))
    assert world.delivery.share == 0.5
    world.loop.tasks.lost([0])
    assert world.delivery.share == 0.25


def test_reading_goes_on_when_a_tenth_of_max_unsettled_is_settled(world: Waiting) -> None:
    world.set_max_unsettled(10)
    world.turn([offer(n, 10_000, session=f"s{n}") for n in range(9)])
    world.idle(20_000)
    assert world.consumer.paused == set(), "nine are not ten"
    world.turn([offer(9, 20_000)])
    world.idle(30_000)
    calls = world.delivery.calls
    with capture_logs() as logs:
        world.turn()
        assert len(world.consumer.paused) == 2
        for left, paused in ((9, 2), (8, 0)):
            world.results.ready.append(CallResult(calls[left], Outcome.OPTED_OUT, 204, 1, None))
            world.turn()
            assert len(world.consumer.paused) == paused
    assert [line["unsettled"] for line in logs if "reading" in line["event"]] == [8]


# --- commits that are put off


def test_only_a_task_that_could_commit_and_may_not_is_reported(world: Waiting) -> None:
    def reported() -> list[list[int]]:
        world.commit()
        world.skipped += PROGRESS
        with capture_logs() as logs:
            world.turn()
        return [line["partitions"] for line in logs if "put off" in line["event"]]

    assert reported() == []
    world.sink.dead_letter = lambda *_, **__: None  # type: ignore[method-assign] # it is not acknowledged
    world.turn([Message("checkouts", 0, "s", b"\\xff")])
    assert reported() == [[0]]
    world.runner.task._found = object()  # type: ignore[assignment] # as while rebuilding
    assert reported() == []


def test_an_assignment_after_a_revoke_begins_anew(world: Waiting) -> None:
    world.turn(revoke)
    world.turn(assign)
    assert set(world.loop.tasks.runners) == {0}
