"""What waits is told with its cause and since when, also where a start found it and where the first commit fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import LoopWorld, assign, both, revoke
from support.run_states import GOOD_PULSE
from support.standing_world import StandingWorld

from consumer.core.watermark import Side
from consumer.runtime.snapshots import Since
from consumer.server.problems import Pulse, problems_of
from consumer.snapshot import PartnerSnapshot

MINUTE, HOUR = 60_000, 3_600_000


def sentences(world: LoopWorld) -> list[str]:
    found = world.snapshot()
    return [problem.sentence for problem in problems_of(found, GOOD_PULSE, found.taken_at)]


def restarted(world: StandingWorld) -> None:
    """The process ends after a commit, and begins anew: it remembers what the commit says, and nothing else."""
    world.commit()
    consumer = world.consumer
    for (topic, partition), offset in consumer.commits[-1].items():
        consumer.committed_offsets[topic, partition] = offset
        consumer.texts[topic, partition, offset] = consumer.metadata[topic, partition]
    world.turn(revoke)
    snapshots = world.loop._snapshots
    snapshots._suspended, snapshots._stopped = Since(), Since()
    world.turn(assign)


def test_a_landing_that_was_remembered_over_a_restart_is_told() -> None:
    """Behind a gap of two hours checkouts land, and the process begins anew: decisions wait, and nothing says so."""
    world = StandingWorld(join={"checkout_silence": timedelta(minutes=30)})
    world.begin()
    world.follow_clock()
    begun = int(world.now * 1000)
    world.read(checkout(0, begun, session="one", stamp=begun))
    world.pass_time(120, step=60.0)
    now = int(world.now * 1000)
    world.read(checkout(1, now, session="two", stamp=now))
    assert [one.reason for one in world.snapshot().suspended] == ["gap"]
    restarted(world)
    world.read(checkout(1, now, session="two", stamp=now))
    for _ in range(5):
        world.pass_time(1)
        assert world.snapshot().tasks[0].phase == "running"
        if not world.loop.suspension.lets_decide(world.runner.task):
            assert world.snapshot().suspended, "nothing of the partition is decided, and that is told"
            assert sentences(world)


def test_a_silence_goes_on_over_a_restart_and_is_as_old_as_it_is() -> None:
    """Nobody looks at a broken producer of checkouts again because the pods were restarted."""
    world = StandingWorld(join={"checkout_silence": timedelta(minutes=30)})
    world.begin()
    world.follow_clock()
    begun = int(world.now * 1000)
    world.read(checkout(0, begun, session="other", stamp=begun))
    shown: list[Message] = []

    def minutes(count: int) -> None:
        for _ in range(count):
            world.now += 59
            world.skipped += 59
            number, now = len(shown), int(world.now * 1000)
            shown.append(offer(number, now, offer_id=f"o{number}", session=f"s{number}", stamp=now))
            world.read(shown[-1])

    minutes(90)
    (before,) = (one for one in world.snapshot().suspended if one.reason == "checkout_silence")
    restarted(world)
    world.read(checkout(0, begun, session="other", stamp=begun))
    world.read(*shown[world.runner.task.next_offset(Side.OFFERS) :])
    assert world.snapshot().tasks[0].phase == "running"
    (after,) = (one for one in world.snapshot().suspended if one.reason == "checkout_silence")
    assert before.since is not None
    assert after.since == before.since, "by the log, so that a restart changes nothing"
    assert abs(after.since - (begun + 30 * MINUTE)) < MINUTE


def test_commits_that_fail_from_the_first_on_are_told() -> None:
    world = LoopWorld()
    world.turn(assign)
    world.loop.tasks.committed.clear()
    world.loop.tasks.committed_at.clear()
    world.consumer.commit = refused  # type: ignore[method-assign]
    for _ in range(20):
        world.now += 60
        world.skipped += 60
        number = int(world.now)
        world.turn([offer(number, 1000 * number, offer_id=f"o{number}", session=f"s{number}")])
        world.loop.tasks.commit([0], 0.1)
    found = world.snapshot()
    assert found.tasks[0].committed_at is not None or sentences(world), "twenty minutes without one commit"
    assert sentences(world)


def refused(offsets: list[Any], asynchronous: bool) -> list[Any]:
    raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))


def test_a_fault_in_telling_stops_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoopWorld()
    world.begin()

    def broken() -> Any:
        raise RuntimeError("a mistake in what is told to those outside")

    monkeypatch.setattr(world.delivery, "snapshot", broken)
    world.skipped += 5
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    assert [call.offer_id for call in world.delivery.calls] == ["o1"]


def test_a_partner_that_is_denied_is_not_said_to_be_since_its_breaker_opened() -> None:
    """The API was down from 02:00 to 04:00. At 05:00 a key is revoked before the breaker has closed."""
    look = LoopWorld().loop._snapshots._with_since
    down, denied = (PartnerSnapshot(code="A", stopped_by=(by,)) for by in ("breaker", "credentials"))
    assert look((down,), 2 * HOUR)[0].stopped_since == 2 * HOUR
    assert look((denied,), 5 * HOUR)[0].stopped_since == 5 * HOUR, "answers 403 since 05:00"


def test_a_backlog_that_is_called_as_it_is_decided_is_no_trouble() -> None:
    """A new group reads a week: what it has just decided was due days ago, and is called within the second."""
    world = StandingWorld(join={"checkout_silence": timedelta(0)})
    world.begin()
    world.now = 1_000_000.0
    for number in range(3):
        at = int(world.now * 1000) - 7 * 24 * HOUR + number * 2 * HOUR
        world.read(
            offer(number, at, offer_id=f"o{number}", session=f"s{number}", stamp=at),
            checkout(number, at, session=f"c{number}", stamp=at),
        )
    assert world.runner.task.unsettled, "decided in this second"
    assert not any("wait for their turn" in one for one in sentences(world))


def test_first_calls_that_wait_for_checkouts_are_not_said_to_be_made() -> None:
    """After a start no call is handed over until the checkouts are read that were there: an open transaction, say."""
    world = LoopWorld()
    world.consumer.ends["checkouts"] = 50
    world.begin()
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    assert world.snapshot().tasks[0].due_uncalled == 1
    assert world.delivery.calls == [], "it is not even queued"
    said = sentences(world)
    assert said, "it was due 16 minutes ago"
    assert not any("calls of partner P are made" in one for one in said)


def test_a_silence_is_not_told_as_a_gap_that_ends_by_itself_as_well() -> None:
    """A producer that is broken for hours: beside it stood `a quiet partition has such a gap every night`."""
    world = StandingWorld(join={"checkout_silence": timedelta(minutes=30)})
    world.begin()
    world.follow_clock()
    begun = int(world.now * 1000)
    world.read(checkout(0, begun, session="other", stamp=begun))
    for number in range(60):
        world.now += 59
        world.skipped += 59
        now = int(world.now * 1000)
        world.read(offer(number, now, offer_id=f"o{number}", session=f"s{number}", stamp=now))
    assert [one.reason for one in world.snapshot().suspended] == ["checkout_silence"]


def test_what_waits_behind_a_suspension_is_counted() -> None:
    """Three hundred offers are read, most of them due. How many are due nobody counts before it is decided."""
    world = StandingWorld(join={"checkout_silence": timedelta(minutes=30), "window": timedelta(minutes=30)})
    world.begin()
    world.follow_clock()
    begun = int(world.now * 1000)
    world.read(checkout(0, begun, session="other", stamp=begun))
    for number in range(300):
        world.now += 29
        world.skipped += 29
        now = int(world.now * 1000)
        world.read(offer(number, now, offer_id=f"o{number}", session=f"s{number}", stamp=now))
    found = world.snapshot()
    assert "checkout_silence" in {one.reason for one in found.suspended}
    assert found.tasks[0].open_presentations == 300
    assert any("; 300 offers are read and not decided" in one for one in sentences(world))


def test_a_partition_that_waits_for_its_pair_is_told() -> None:
    """The log warns, and the runbook says today: the page says that all is well, and that this instance is spare."""
    world = LoopWorld(kafka={"group_protocol": "consumer"})
    world.consumer.incremental_assign = lambda places: None  # type: ignore[attr-defined]
    half = both()[:1]
    world.turn(lambda consumer: consumer.on_assign(consumer, half))
    for _ in range(20):
        world.now += 60
        world.skipped += 60
        world.turn()
    found = world.snapshot()
    assert "spare" not in world.health.ready().reason
    assert problems_of(found, Pulse.of(world.health), found.taken_at)


def test_a_fault_in_telling_is_not_said_to_be_a_loop_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are old, and the loop turns: whoever is woken by `the loop stands still` restarts it for nothing."""
    world = LoopWorld()
    world.begin()
    found = world.snapshot()

    def broken() -> Any:
        raise RuntimeError("a mistake in what is told to those outside")

    monkeypatch.setattr(world.delivery, "snapshot", broken)
    for _ in range(5):
        world.now += 60
        world.skipped += 60
        world.turn()
    assert world.latest.snapshot is found, "it is the last one that could be made"
    said = [one.sentence for one in problems_of(found, Pulse.of(world.health), int(world.now * 1000))]
    assert said
    assert not any("the loop has not turned" in one for one in said)
