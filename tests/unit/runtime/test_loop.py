"""The loop's order of things, and what a rebalance, a stop and an error do, with a broker that the test plays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs
from support.builders import NOW, checkout, end, lone_offer, offer, raw, release_file
from support.kafka import Message
from support.loop_world import (
    TOPICS,
    Happening,
    LoopWorld,
    Waiting,
    assign,
    revoke,
)
from support.runner_world import make, pass_time

from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import TooManyDeadLettersError, TopicMadeAnewError
from consumer.events import OfferPresented, Outcome, RecordRef
from consumer.kafka.record import Record
from consumer.kafka.start_offsets import TaskStart
from consumer.runtime.clock_check import ClockFinding
from consumer.runtime.loop import BUSY, BUSY_TURN, FLUSH, FOR_CALLS, PORTION, PROGRESS, TURN
from consumer.runtime.releases import Releases


def test_outcomes_are_flushed_before_the_commit_that_relies_on_them(world: LoopWorld) -> None:
    world.decide()
    world.delivery.answer()
    world.turn()
    world.consumer.happened.clear()
    world.commit()
    assert world.consumer.happened == ["flush", "commit"]
    assert world.committed == 1


def test_while_records_come_a_turn_waits_less_for_the_next_ones(
    world: LoopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    waits, consume = list[float](), world.consumer.consume

    def noting(most: int, timeout: float) -> list[Message]:
        waits.append(timeout)
        return consume(most, timeout)

    monkeypatch.setattr(world.consumer, "consume", noting)
    world.skipped += BUSY
    world.turn()
    world.turn([offer(0, 10_000)])
    world.turn()
    world.skipped += BUSY
    world.turn()
    assert waits == [TURN, TURN, BUSY_TURN, TURN]


def test_nothing_is_committed_while_an_outcome_is_not_acknowledged(world: LoopWorld) -> None:
    world.decide()
    world.delivery.answer()
    world.turn()
    world.sink.acknowledges = False
    world.commit()
    assert world.committed is None


def test_what_was_read_before_a_rebalance_in_the_same_poll_is_dropped(world: LoopWorld) -> None:
    world.turn(assign)
    assert world.loop.sessions == 0, "a record of the assignment before was applied to the new one"
    assert world.consumer.paused == set(), "the new assignment is not read"


def test_both_partitions_start_paused_so_that_no_record_of_them_is_in_the_poll_that_assigns_them() -> None:
    world = LoopWorld()
    seen: list[set[str]] = []
    world.turn(assign, lambda consumer: seen.append(set(consumer.paused)))
    assert seen == [set(TOPICS)]


def test_after_an_error_nothing_is_committed() -> None:
    world = LoopWorld(max_run=2)
    bad: list[list[Message] | Happening] = [[raw("offers", n, "s", b"\xff") for n in range(5)]]
    world.consumer.polls = [assign, [], *bad]
    with pytest.raises(TooManyDeadLettersError):
        world.loop.run()
    assert all(commit["offers", 0] == 0 for commit in world.consumer.commits), "a restart loop would drain the topic"


def test_a_change_of_the_release_file_lets_go_what_waits_and_what_is_decided_later(tmp_path: Path) -> None:
    path = release_file(tmp_path)
    world = LoopWorld(Releases(path))
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
    world = LoopWorld(Releases(release_file(tmp_path, "o1")))
    world.begin()
    for _ in range(3):
        world.skipped += 1
        world.turn()
    assert world.delivery.released == []


def test_the_record_of_a_refused_call_is_read_again_and_a_revoke_waits_for_it(world: LoopWorld) -> None:
    world.decide()
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn()
    assert world.reader.asked == [RecordRef("offers", 0, 0)]
    (question,) = world.reader.on_fetched
    message = offer(0, 10_000)
    world.reader.results.put((question, Record("offers", 0, 0, 0, message.key(), message.value())))
    world.turn(revoke)
    assert world.sink.dead == [(0, "rejected")]
    assert world.committed == 1


def test_a_refused_call_whose_record_is_gone_is_tried_again(world: LoopWorld) -> None:
    world.decide()
    (call,) = world.delivery.calls
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn()
    assert world.reader.asked == [RecordRef("offers", 0, 0)]
    (question,) = world.reader.on_fetched
    world.reader.results.put((question, None))
    world.turn()
    assert world.delivery.retried == [call]
    world.commit()
    assert world.committed == 0


def test_a_stop_waits_for_calls_once_and_leaves_time_for_a_commit(waiting: Waiting) -> None:
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
    budget = FOR_CALLS * waiting.settings.delivery.shutdown_timeout.total_seconds()
    assert sum(waiting.results.waits) == pytest.approx(budget), "not once more when the group is left"
    assert waiting.stops == [0]


def test_a_run_that_ends_by_an_error_takes_its_calls_back_before_it_leaves_the_group(waiting: Waiting) -> None:
    waiting.decide()
    leaves = waiting.loop.tasks.consumer.close
    seen: list[list[object]] = []
    waiting.loop.tasks.consumer.close = lambda: (seen.append(list(waiting.cancelled)), leaves())[0]  # type: ignore[method-assign,assignment]
    waiting.loop.tasks.consumer.subscribe = lambda now, before: None  # type: ignore[method-assign,assignment]

    def made_anew(*_: object) -> None:
        raise TopicMadeAnewError("offers was deleted")

    waiting.loop.tasks.consumer.poll = made_anew  # type: ignore[method-assign,assignment]
    runner = waiting.runner
    commits = len(waiting.consumer.commits)
    with pytest.raises(TopicMadeAnewError):
        waiting.loop.run()
    assert seen == [[runner]], "no further try leaves"
    assert len(waiting.consumer.commits) == commits


def test_a_group_that_cannot_be_left_keeps_nothing_else_from_being_ended(waiting: Waiting) -> None:
    def refuses() -> None:
        raise RuntimeError("the client refuses")

    waiting.loop.tasks.consumer.subscribe = lambda now, before: None  # type: ignore[method-assign,assignment]
    waiting.loop.tasks.consumer.close = refuses  # type: ignore[method-assign]
    waiting.loop.stop()
    waiting.flushes.clear()
    with pytest.raises(RuntimeError, match="the client refuses"):
        waiting.loop.run()
    assert waiting.stops == [0], "the delivery is stopped"
    assert waiting.flushes[-1] == FLUSH, "what was written is waited for"


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


def judged(world: LoopWorld) -> list[int]:
    """How many tasks the guards judge, each time they do."""
    asked: list[int] = []
    judge = world.loop.suspension.judge

    def spy(tasks: Collection[Task], clock: ClockFinding) -> None:
        asked.append(len(tasks))
        judge(tasks, clock)

    world.loop.suspension.judge = spy  # type: ignore[method-assign]
    return asked


def test_guards_are_asked_only_when_something_was_read_a_watermark_moved_or_a_task_came_or_went(
    world: LoopWorld,
) -> None:
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


def test_guards_are_asked_while_records_are_buffered(world: LoopWorld) -> None:
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
    assert (bool(world.runner.waiting), asked) == (True, [1])
    world.turn([checkout(0, 10_000)])
    world.turn()
    assert (bool(world.runner.waiting), asked) == (False, [1, 1])
    assert world.runner.task.next_offset(Side.OFFERS) == 2


def test_a_quiet_turn_still_settles_and_reads_on_when_enough_is_settled(world: LoopWorld) -> None:
    world.set_max_unsettled(1)
    world.decide()
    assert world.consumer.paused == {"offers"}
    world.turn()  # in which first calls that waited for checkouts would be made
    asked = judged(world)
    world.delivery.answer()
    world.turn()
    assert (asked, world.consumer.paused) == ([], set())
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


def test_a_login_that_clients_cannot_take_over_stops_the_loop(world: LoopWorld) -> None:
    outdated = iter([False, True])
    clients = SimpleNamespace(look=lambda: next(outdated))
    world.loop._edges = replace(world.edges, clients=clients)  # type: ignore[arg-type]
    world.begin()
    assert not world.loop._stopping
    world.turn()
    assert world.loop._stopping


def test_of_all_that_is_due_a_portion_is_handed_over_before_more_is_decided(world: LoopWorld) -> None:
    world.turn([lone_offer(n, 10_000 + n) for n in range(4 * PORTION)])
    assert world.consumer.waited[-1] == TURN
    world.idle(200_000)
    assert len(world.delivery.calls) == PORTION
    assert world.runner.task.decided_to == 10_000 + PORTION - 1 + 1_000, "D tells no more than what is decided"
    for turns in (2, 3, 4):
        world.turn()
        assert world.consumer.waited[-1] == 0, "what is due waits for no record"
        assert len(world.delivery.calls) == turns * PORTION
    world.turn()
    assert [call.source.offset for call in world.delivery.calls] == list(range(4 * PORTION))
    assert world.runner.task.decided_to == world.runner.task.watermark
    world.turn()
    assert world.consumer.waited[-1] > 0


def test_tasks_share_a_portion() -> None:
    world = LoopWorld(partitions=3)
    three = [TopicPartition(topic, partition) for topic in TOPICS for partition in range(3)]
    world.turn(lambda consumer: consumer.on_assign(consumer, three))
    for task in [runner.task for runner in world.loop.tasks.runners.values()]:
        for n in range(PORTION):
            task.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10_000 + n)
        assert task.decide() == []
        for side in Side:
            task.idle(side, 200_000)
    world.loop.tasks.changed = True
    world.turn()
    shared = [runner.task.unsettled for runner in world.loop.tasks.runners.values()]
    assert shared == [PORTION // 3] * 3
