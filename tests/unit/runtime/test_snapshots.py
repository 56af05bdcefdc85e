"""What a run says of itself: made about once a second from what is at hand, and changing nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.builders import NOW, checkout, offer
from support.loop_world import LoopWorld, assign, revoke
from support.standing_world import StandingWorld

from consumer.core.guards import SuspendedBy
from consumer.errors import StopError
from consumer.kafka.retention import Kept
from consumer.runtime import snapshots
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.runner import TaskRunner
from consumer.runtime.snapshots import EVERY, MEASURE_EVERY, NEW, Since, instance_of
from consumer.settings import KafkaSettings
from consumer.snapshot import SUSPENSIONS, PartnerSnapshot

HOUR = 3_600_000


class Brokers:
    """Tells how long topics are kept, and where they end; counts the questions."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, int]]] = []
        self.told: dict[tuple[str, int], tuple[int, int]] = {}

    def kept(self, topic: str) -> Kept | None:
        return Kept(3_600_000, None) if topic == "offers" else None

    def ask_bounds(self, places: list[tuple[str, int]]) -> None:
        self.asked.append(places)

    def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        return self.told


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def world(brokers: Brokers) -> LoopWorld:
    made = LoopWorld(retention=brokers)
    made.begin()
    return made


def test_one_is_made_about_once_a_second_and_swapped_in() -> None:
    world = StandingWorld()
    world.begin()
    seen = []
    for _ in range(100):
        world.skipped += 0.1
        world.now += 0.1
        world.turn()
        if world.latest.snapshot not in seen:
            seen.append(world.latest.snapshot)
    assert 9 <= len(seen) <= 11
    assert EVERY == 1.0


def test_it_cannot_be_changed(world: LoopWorld) -> None:
    found = world.snapshot()
    with pytest.raises(FrozenInstanceError):
        found.full = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.counts.records["offers"] = 3  # type: ignore[index]


def test_a_task_is_told_with_what_it_has_read_keeps_and_waits_for(world: LoopWorld) -> None:
    world.turn([offer(0, 10_000), offer(1, 11_000, offer_id="o2", session="s2")])
    world.turn([checkout(5, 10_100, session="s2")])
    found = world.snapshot()
    assert found.assigned
    (task,) = found.tasks
    assert (task.partition, task.phase) == (0, "running")
    assert (task.offers.topic, task.offers.position, task.offers.watermark) == ("offers", 2, 10_998)
    assert (task.checkouts.topic, task.checkouts.position) == ("checkouts", 6)
    assert (task.sessions, task.open_presentations, task.kept_checkouts) == (2, 2, 1)
    assert (task.unsettled, task.due_uncalled, task.oldest_unsettled) == (0, 0, None)
    assert found.counts.records == {"offers": 2, "checkouts": 1}
    world.idle(20_000)
    (task,) = world.snapshot().tasks
    assert (task.unsettled, task.due_uncalled, task.open_presentations) == (2, 2, 0)
    assert task.oldest_unsettled is not None
    assert (task.oldest_unsettled.offer_id, task.oldest_unsettled.offset) == ("o1", 0)
    assert (task.oldest_unsettled.presented_at, task.oldest_unsettled.due_at) == (10_000, 11_000)
    world.delivery.answer()
    world.turn()
    assert (world.snapshot().tasks[0].unsettled, world.snapshot().tasks[0].due_uncalled) == (0, 0)


def test_a_commit_is_told_with_its_age_and_the_length_of_its_metadata(world: LoopWorld) -> None:
    (task,) = world.snapshot().tasks
    assert (task.offers.committed, task.metadata_limit) == (0, 4_095)
    world.loop.tasks.committed.clear()
    world.loop.tasks.committed_at.clear()
    (task,) = world.snapshot().tasks
    assert (task.committed_at, task.metadata_characters, task.offers.committed) == (None, 0, None)
    world.decide()
    world.delivery.answer()
    world.turn()
    world.commit()
    (task,) = world.snapshot().tasks
    assert (task.committed_at, task.offers.committed) == (1_000_000, 1)
    assert task.metadata_characters > 50
    world.loop.tasks.metadata_refused(0)
    assert world.snapshot().tasks[0].metadata_limit == 2_047


def test_where_there_is_nothing_better_to_commit_none_is_made_and_the_last_one_is_not_old() -> None:
    world = LoopWorld(join={"lateness": timedelta(minutes=5)})
    world.begin()
    world.commit()
    made = len(world.consumer.commits)
    world.now += 10
    world.commit()
    assert len(world.consumer.commits) == made
    assert world.snapshot().tasks[0].committed_at == 1_010_000


def test_a_commit_that_is_put_off_grows_old(world: LoopWorld) -> None:
    world.decide()
    world.commit()
    world.sink.acknowledges = False
    world.now += 60
    world.commit()
    assert world.snapshot().tasks[0].committed_at == 1_000_000


def test_log_ends_are_asked_for_at_an_interval_and_known_though_the_input_is_paused(
    world: LoopWorld, brokers: Brokers
) -> None:
    world.skipped += MEASURE_EVERY
    world.turn()
    assert brokers.asked[-1] == [("offers", 0), ("checkouts", 0)]
    asked = len(brokers.asked)
    world.turn()
    world.snapshot()
    assert len(brokers.asked) == asked
    assert world.snapshot().tasks[0].offers.lag is None, "not told yet"
    world.turn([offer(0, 10_000)])
    brokers.told = {("offers", 0): (0, 1_000), ("checkouts", 0): (0, 0)}
    world.set_max_unsettled(0)
    world.loop.tasks.changed = True
    world.turn()
    found = world.snapshot()
    assert found.full
    assert (found.tasks[0].offers.paused, found.tasks[0].offers.lag) == (True, 999)
    assert (found.tasks[0].checkouts.log_end, found.tasks[0].checkouts.lag) == (0, 0)


def test_what_is_left_of_the_retention_falls_with_the_age_of_what_is_held(world: LoopWorld) -> None:
    world.now = 10.0
    world.turn([offer(0, 10_000)])
    world.skipped += MEASURE_EVERY
    world.turn()
    assert world.snapshot().tasks[0].offers.retention_left == pytest.approx(3_600.0, abs=0.1)
    assert world.snapshot().tasks[0].checkouts.retention_left is None, "it is kept for ever"
    world.now += 600
    world.skipped += MEASURE_EVERY
    world.turn()
    assert world.snapshot().tasks[0].offers.retention_left == pytest.approx(3_000.0, abs=0.1)


def test_what_holds_the_watermark_is_told_after_some_seconds_and_not_while_it_moves() -> None:
    world = StandingWorld()
    world.begin()
    world.follow_clock()
    assert world.snapshot().tasks[0].held_back is None
    since = int(world.now * 1000)
    world.ends.told["checkouts"] = 7
    world.pass_time(2)
    assert world.snapshot().tasks[0].held_back is None
    world.pass_time(28)
    held = world.snapshot().tasks[0].held_back
    assert held is not None
    assert (held.side, held.cause, held.told) == ("checkouts", "unread", False)
    assert "do not come" in held.what
    assert 0 <= held.since - since + 10_000 < 20_000
    world.pass_time(60)
    held = world.snapshot().tasks[0].held_back
    assert held is not None
    assert held.told, "the log says so too"


def test_each_guard_that_suspends_is_told_with_since_when(world: LoopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.snapshot().suspended == ()
    world.now += NEW / 1000
    names = []
    for by in SuspendedBy:
        if by is SuspendedBy.NONE:
            continue
        world.loop.suspension.by = by
        monkeypatch.setattr(type(world.loop.suspension), "lets_decide", lambda *_: False)
        (found,) = world.snapshot().suspended
        names.append(found.reason)
        assert (found.since, found.partitions) == (1_060_000, ())
        assert found.what.startswith(("decisions are held", "checkouts come again"))
    world.loop.suspension.by = SuspendedBy.NONE
    world.loop.suspension._behind_gap = {world.runner.task: 0, object(): 0}  # type: ignore[dict-item]
    (found,) = world.snapshot().suspended
    names.append(found.reason)
    assert sorted(names) == sorted(SUSPENSIONS)


def test_only_the_partitions_that_a_guard_holds_are_named() -> None:
    world = LoopWorld(partitions=2)
    world.begin()
    task = world.runner.task
    other: Any = object()
    world.loop.suspension.words = lambda tasks: {"gap": ("words", [task])}  # type: ignore[method-assign]
    assert world.snapshot().suspended[0].partitions == ()
    runners = world.loop.tasks.runners
    taken = world.loop._snapshots._suspensions
    runners[7] = SimpleNamespace(task=other)  # type: ignore[assignment]
    assert taken(5)[0].partitions == (0,)


def test_since_when_something_is_so_is_remembered_until_it_is_not() -> None:
    since = Since()
    assert since.look(["a"], 5) == {"a": 5}
    assert since.look(["a", "b"], 9) == {"a": 5, "b": 9}
    assert since.look([], 10) == {}
    assert since.look(["a"], 12) == {"a": 12}


def test_partners_are_told_since_when_they_are_stopped(world: LoopWorld) -> None:
    stopped, free = PartnerSnapshot(code="A", stopped_by=("breaker",)), PartnerSnapshot(code="B")
    made = world.loop._snapshots._with_since((stopped, free), 2_000_007)
    assert [(one.code, one.stopped_since) for one in made] == [("A", 2_000_007), ("B", None)]
    made = world.loop._snapshots._with_since((stopped, free), 2_000_009)
    assert made[0].stopped_since == 2_000_007


def test_our_clock_is_told_against_a_witness_if_there_is_one() -> None:
    world = LoopWorld()
    assert world.snapshot().clock_ahead is None
    check = ClockCheck(lambda: NOW / 1000, lambda: 0.0, max_skew=300.0, ask=lambda: None)
    world = LoopWorld(clock_check=check)
    for behind, found in ((0.0, 0.0), (20.0, 19.0), (-20.0, -20.0)):
        check.api_told(NOW / 1000 - behind, 0.0, 0.0)
        check.look()
        assert world.snapshot().clock_ahead == pytest.approx(found, abs=0.01)


def test_the_first_unsettled_of_very_many_is_looked_for_less_often(
    world: LoopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MANY_UNSETTLED", 1)
    world.turn()
    world.decide()
    world.snapshot()
    assert world.snapshot().tasks[0].oldest_unsettled is None
    world.skipped += MEASURE_EVERY
    assert world.snapshot().tasks[0].oldest_unsettled is not None


def test_a_task_that_goes_is_told_no_more_and_one_that_drains_is(world: LoopWorld) -> None:
    world.runner.draining = True
    assert world.snapshot().tasks[0].phase == "draining"
    world.turn(revoke)
    assert world.snapshot().tasks == ()
    world.turn(assign)
    assert [task.partition for task in world.snapshot().tasks] == [0]


def test_repeats_skipped_outlive_their_task(world: LoopWorld) -> None:
    world.runner.task.repeats_skipped = 3
    assert world.snapshot().counts.repeats_skipped == 3
    world.turn(revoke)
    assert world.snapshot().counts.repeats_skipped == 3
    world.turn(assign)
    world.runner.task.repeats_skipped = 4
    assert world.snapshot().counts.repeats_skipped == 7


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"group_instance_id": "pod-3", "properties": {"client.id": "c"}}, "pod-3"),
        ({"properties": {"client.id": "c"}}, "c"),
        ({}, None),
    ],
)
def test_the_instance_is_named_by_group_client_or_host(settings: dict[str, Any], name: str | None) -> None:
    found = instance_of(KafkaSettings.model_validate(settings))
    assert found == name if name else found


def test_a_fault_in_telling_ends_nothing_and_is_said_once(world: LoopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.latest.snapshot
    monkeypatch.setattr(TaskRunner, "outstanding", property(lambda _: 1 // 0), raising=False)
    with capture_logs() as logs:
        for _ in range(3):
            world.loop._snapshots._next = 0.0
            world.loop._snapshots.look(stopping=False)
    assert world.latest.snapshot is before
    assert [line["log_level"] for line in logs if line["event"].startswith("metrics and the status page")] == ["error"]


def test_calls_that_have_failed_end_the_run_by_whoever_notices(
    world: LoopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed() -> None:
        raise StopError("the calls have failed")

    monkeypatch.setattr(world.delivery, "snapshot", failed)
    world.loop._snapshots._next = 0.0
    with pytest.raises(StopError):
        world.loop._snapshots.look(stopping=False)


def test_since_when_something_is_so_is_not_told_where_it_may_have_begun_before() -> None:
    since = Since()
    assert since.look(["a"], 5, known=False) == {"a": None}
    assert since.look(["a", "b"], 90_000) == {"a": None, "b": 90_000}


def test_a_partner_is_told_to_be_stopped_since_what_stops_it_now_does(world: LoopWorld) -> None:
    """Its breaker opened at 02:00, its key is revoked at 05:00 before that has closed, and is right again at 06:00."""

    def since(at: int, *by: str) -> int | None:
        found = world.loop._snapshots._with_since((PartnerSnapshot(code="A", stopped_by=by),), at * HOUR)
        return found[0].stopped_since

    assert since(2, "breaker") == 2 * HOUR
    assert since(5, "credentials", "breaker") == 5 * HOUR
    assert since(6, "breaker") == 2 * HOUR
    assert since(7) is None


def test_what_is_found_soon_after_a_start_may_have_begun_before(world: LoopWorld) -> None:
    stopped = (PartnerSnapshot(code="A", stopped_by=("credentials",)),)
    look = world.loop._snapshots._with_since
    assert look(stopped, 1_000_000 + NEW - 1)[0].stopped_since is None
    assert look(stopped, 1_000_000 + NEW + HOUR)[0].stopped_since is None


def test_what_suspends_soon_after_a_task_has_come_may_have_begun_before(world: LoopWorld) -> None:
    world.now += 3_600
    world.turn(revoke)
    world.turn(assign)
    assert world.snapshot().suspended == ()
    world.loop.suspension.by = SuspendedBy.UNMATCHED
    world.now += 3_600
    (found,) = world.snapshot().suspended
    assert found.since == int(world.now * 1000)
    world.loop.suspension.by = SuspendedBy.NONE
    world.turn(revoke)
    world.turn(assign)
    assert world.snapshot().suspended == ()
    world.loop.suspension.by = SuspendedBy.UNMATCHED
    (found,) = world.snapshot().suspended
    assert found.since is None


def test_a_phase_is_told_with_since_when_and_a_commit_before_the_first_since_the_task_runs(world: LoopWorld) -> None:
    begun = int(world.now * 1000)
    world.now += 600
    (task,) = world.snapshot().tasks
    assert (task.phase, task.phase_since) == ("running", begun)
    world.loop.tasks.committed_at.clear()
    (task,) = world.snapshot().tasks
    assert (task.committed_at, task.uncommitted_since) == (None, begun)
    world.runner.draining = True
    (task,) = world.snapshot().tasks
    assert (task.phase, task.phase_since, task.uncommitted_since) == ("draining", begun + 600_000, None)


def test_an_offer_is_told_with_when_it_was_decided_which_may_be_long_after_it_was_due(world: LoopWorld) -> None:
    world.decide()
    (task,) = world.snapshot().tasks
    assert task.oldest_unsettled is not None
    assert task.oldest_unsettled.due_at < 20_000
    assert task.oldest_unsettled.decided_at == task.oldest_unsettled.waits_since == 1_000_000


def test_offers_that_are_read_no_further_are_told_with_their_partitions(world: LoopWorld) -> None:
    assert world.snapshot().offers_stopped == ()
    world.loop._back_pressure.stops_offers = frozenset({world.runner.task})
    assert world.snapshot().offers_stopped == (0,)


def test_how_long_a_topic_is_kept_is_told_with_what_is_left(world: LoopWorld) -> None:
    world.turn([offer(0, 10_000)])
    world.skipped += MEASURE_EVERY
    world.turn()
    (task,) = world.snapshot().tasks
    assert (task.offers.retention, task.checkouts.retention) == (3_600.0, None)
