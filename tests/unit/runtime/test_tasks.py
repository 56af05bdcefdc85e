"""Tasks as they come and go: what they begin with, and what is waited for, committed and dropped at their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError, TopicPartition
from structlog.testing import capture_logs
from support.builders import offer, raw
from support.loop_world import TOPICS, LoopWorld, Waiting, assign, lose, revoke
from support.several import EACH, INPUT, SEVERAL, page

from consumer.core.checkpoint import OfferCheckpoint, Position
from consumer.core.rules import MAX_TIME, DecisionRules
from consumer.core.watermark import Side
from consumer.errors import PartitionsChangedError, PositionsError
from consumer.events import Outcome, Reason, RecordRef
from consumer.kafka.start_offsets import TaskStart
from consumer.runtime.loop import PROGRESS
from consumer.runtime.mode import RunMode
from consumer.runtime.tasks import rules_of
from consumer.settings import JoinSettings

# --- begin


def test_the_rules_are_those_of_the_settings_in_ms() -> None:
    join = JoinSettings(
        window=timedelta(seconds=2),
        checkout_grace=timedelta(seconds=1),
        lookback=timedelta(seconds=3),
        lateness=timedelta(seconds=4),
        max_skew=timedelta(seconds=5),
        abandoned="ignore",
        checkout_silence=timedelta(seconds=6),
    )
    assert rules_of(join) == DecisionRules(
        2_000, 1_000, 3_000, 4_000, 5_000, call_abandoned=False, checkout_silence=6_000
    )


def test_a_task_begins_with_the_h_of_its_start(waiting: Waiting) -> None:
    waiting.loop.tasks.begin(1, TaskStart(Position(5), Position(5), MAX_TIME))
    task = waiting.loop.tasks.runners[1].task
    assert task.restoring
    assert task.restore_until(Side.CHECKOUTS) is None, "H is to be learnt from the first checkout"


def test_what_the_run_knows_to_be_lost_is_late_and_stands_in_each_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunMode, "lost_below", lambda self, partition: 9_000 + partition)
    world = LoopWorld()
    world.begin()
    lookback = world.loop.tasks._rules.lookback
    for number, at in enumerate((8_999, 9_000)):
        world.turn([offer(number, lookback + at, session=f"s{number}", offer_id=f"o{number}")])
    world.idle(lookback + 1_000_000)
    assert [(o.offer_id, o.reason) for o in world.sink.outcomes] == [("o0", Reason.LATE)]
    assert [call.offer_id for call in world.delivery.calls] == ["o1"]
    world.commit()
    offset = world.committed
    assert offset is not None
    assert OfferCheckpoint.decode(world.consumer.metadata["offers", 0], offset).lost_below == 9_000


def test_a_task_of_records_that_hold_several_commits_by_that_setting_and_begins_by_no_other() -> None:
    several = LoopWorld(codec=SEVERAL, inputs={"offers": INPUT})
    several.begin()
    several.turn([page(0, 10_000, "a", "b", "c")])
    several.idle(20_000)
    several.delivery.calls.pop()  # the third is not answered
    several.delivery.answer()
    several.turn()
    several.commit()
    text = several.consumer.metadata["offers", 0]
    found = OfferCheckpoint.decode(text, 0)
    assert (several.committed, found.each, found.unsettled) == (0, EACH, {2})
    again = LoopWorld(codec=SEVERAL, inputs={"offers": INPUT})
    plain = LoopWorld()
    for world in (again, plain):
        for topic in TOPICS:
            world.consumer.committed_offsets[topic, 0] = 0
            world.consumer.texts[topic, 0, 0] = several.consumer.metadata[topic, 0]
    again.begin()
    again.turn([page(0, 10_000, "a", "b", "c")])
    assert [call.offer_id for call in again.delivery.calls] == ["c"]
    with pytest.raises(PositionsError, match=r"another input\.offers\.each"):
        plain.begin()


def test_an_instance_takes_the_share_of_the_rate_that_its_tasks_are(world: LoopWorld) -> None:
    assert world.delivery.share == 1.0
    world.turn(revoke)
    assert world.delivery.share == 0.0


def test_the_share_of_the_rate_is_tasks_here_of_all_tasks() -> None:
    world = Waiting(partitions=4)
    world.begin()
    world.loop.tasks.begin(1, TaskStart(Position(0), Position(0), None))
    assert world.delivery.share == 0.5
    world.loop.tasks.lost([0])
    assert world.delivery.share == 0.25


def test_an_assignment_after_a_revoke_begins_anew(waiting: Waiting) -> None:
    waiting.turn(revoke)
    waiting.turn(assign)
    assert set(waiting.loop.tasks.runners) == {0}


def test_topics_that_grew_stop_the_service(world: LoopWorld) -> None:
    world.consumer.partitions = 2
    with pytest.raises(PartitionsChangedError, match="had 1 partitions when this service started and has 2 now"):
        world.turn(assign)


def test_a_broker_that_does_not_know_a_topic_for_a_moment_stops_nothing(world: LoopWorld) -> None:
    world.consumer.partitions = 0
    world.turn(assign)


def test_a_partition_that_was_not_there_at_the_start_stops_the_service_whatever_the_broker_tells(
    world: LoopWorld,
) -> None:
    new = [TopicPartition(topic, 1) for topic in TOPICS]
    with pytest.raises(PartitionsChangedError, match="has more now"):
        world.turn(lambda consumer: consumer.on_assign(consumer, new))


def test_partitions_are_counted_at_an_assignment_and_not_at_each_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoopWorld()
    asked: list[str] = []
    count = world.consumer.list_topics
    monkeypatch.setattr(
        world.consumer, "list_topics", lambda topic, timeout: asked.append(topic) or count(topic, timeout)
    )
    world.turn(assign)
    world.turn()
    assert asked == list(TOPICS)


# --- the end


def test_revoked_waits_for_calls_in_flight_and_commits(world: LoopWorld) -> None:
    world.decide()
    world.delivery.answer()
    world.turn(revoke)
    assert world.committed == 1
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


def test_revoked_commits_no_call_that_is_still_in_flight(world: LoopWorld) -> None:
    world.decide()
    world.turn(revoke)
    assert world.committed == 0


def test_revoked_waits_for_calls_in_flight_within_its_budget_and_leaves_time_to_flush(waiting: Waiting) -> None:
    waiting.decide()
    runner = waiting.runner
    with capture_logs() as logs:
        waiting.turn(revoke)
    assert sum(waiting.results.waits) == pytest.approx(0.3), "kafka.revoke_timeout of this world"
    assert max(waiting.results.waits) <= 0.1, "an error of the delivery is to be seen meanwhile"
    assert min(waiting.results.waits) > 0
    assert waiting.flushes == [0.5]
    assert waiting.cancelled == [runner]
    assert runner.draining
    assert [line["calls"] for line in logs if "in flight" in line["event"]] == [1]


def test_revoked_waits_no_longer_than_for_the_last_call_and_flushes_with_what_is_left(waiting: Waiting) -> None:
    waiting.decide()
    waiting.answer()
    with capture_logs() as logs:
        waiting.loop.tasks.revoked([0])
    assert waiting.results.waits == []
    assert waiting.flushes == [pytest.approx(0.5)]
    assert [line for line in logs if "in flight" in line["event"]] == []
    assert waiting.committed == 1
    waiting = Waiting(revoke_timeout=timedelta(seconds=7))
    waiting.begin()
    waiting.flushes.clear()
    waiting.loop.tasks.revoked([0])
    assert waiting.flushes == [pytest.approx(7)]


def test_a_revoke_does_not_wait_for_a_record_beyond_its_time_and_commits_nothing_of_it(world: LoopWorld) -> None:
    world.decide()
    world.delivery.answer(Outcome.DEAD_LETTERED)
    world.turn(revoke)
    assert world.reader.asked == [RecordRef("offers", 0, 0)]
    assert world.committed == 0
    assert world.sink.outcomes == []


def test_lost_commits_nothing_and_a_late_result_is_written_all_the_same(world: LoopWorld) -> None:
    world.decide()
    world.turn(lose)
    world.delivery.answer()
    world.turn()
    assert world.committed is None
    assert [outcome.outcome for outcome in world.sink.outcomes] == [Outcome.OPTED_OUT]


def test_lost_takes_back_the_calls_that_wait_and_waits_for_none(waiting: Waiting) -> None:
    waiting.decide()
    runner = waiting.runner
    waiting.turn(lose)
    assert waiting.cancelled == [runner]
    assert (waiting.results.waits, waiting.flushes, waiting.stops) == ([], [], [])
    waiting.loop.tasks.lost([0])
    assert waiting.cancelled == [runner], "it is gone already"


def test_partitions_that_never_began_are_dropped_without_ado(waiting: Waiting) -> None:
    waiting.loop.tasks.lost([5, 0])
    assert waiting.loop.tasks.runners == {}


# --- commits


def test_a_broker_that_takes_less_metadata_is_given_less(world: LoopWorld) -> None:
    world.turn([offer(n, 10_000 + n, session=f"s{n}") for n in range(0, 2_000, 2)])
    world.idle(20_000)
    world.delivery.calls = world.delivery.calls[::2]
    world.delivery.answer()
    world.turn()
    world.consumer.most_metadata = 700
    lengths = []
    for _ in range(6):
        world.commit()
        lengths.append(len(world.consumer.metadata["offers", 0]))
    assert lengths[0] > 700
    assert lengths[-1] <= 700


def test_only_a_task_that_could_commit_and_may_not_is_reported(waiting: Waiting) -> None:
    def reported() -> list[list[int]]:
        waiting.commit()
        waiting.skipped += PROGRESS
        with capture_logs() as logs:
            waiting.turn()
        return [line["partitions"] for line in logs if "put off" in line["event"]]

    assert reported() == []
    waiting.sink.dead_letter = lambda *_, **__: None  # type: ignore[method-assign] # it is not acknowledged
    waiting.turn([raw("checkouts", 0, "s", b"\\xff")])
    assert reported() == [[0]]
    waiting.runner.task._found = object()  # type: ignore[assignment] # as while rebuilding
    assert reported() == []


# --- what is told of commits


def test_commits_that_fail_are_told_until_they_succeed_or_the_task_is_gone(waiting: Waiting) -> None:
    writes = waiting.edges.writes
    waiting.begin()
    waiting.turn([offer(0, 10_000)])
    refused = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    waiting.consumer.refused = {"offers": refused}
    waiting.commit()
    assert "commits of the partitions [0] have failed" in (writes.trouble() or "")
    waiting.consumer.refused = {}
    waiting.commit()
    assert writes.trouble() is None
    waiting.turn([offer(1, 10_001, session="s2")])
    waiting.consumer.refused = {"offers": refused}
    waiting.commit()
    assert writes.trouble()
    waiting.loop.tasks.lost([0])
    assert writes.trouble() is None


def test_a_task_with_nothing_to_commit_is_in_no_trouble_any_more(waiting: Waiting) -> None:
    writes = waiting.edges.writes
    waiting.begin()
    waiting.turn([offer(0, 10_000)])
    waiting.consumer.errors["commit"] = [KafkaError.GROUP_AUTHORIZATION_FAILED]
    waiting.commit()
    assert writes.trouble()
    waiting.runner.task.prepare_commit = lambda *_, **__: None  # type: ignore[method-assign]
    waiting.commit()
    assert writes.trouble() is None
