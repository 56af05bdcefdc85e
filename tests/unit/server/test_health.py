"""What is live and what is ready, by a clock that the test sets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import TopicPartition
from support.builders import NOW, end, offer
from support.health import BOUND, Told
from support.loop_world import LoopWorld, assign, lose, revoke
from support.runner_world import committed_after

from consumer.kafka.end_offsets import TIMEOUT
from consumer.server.health import ANSWER, Health, HealthStatus, bound_of
from consumer.settings import DeliverySettings, KafkaSettings, Settings


@pytest.fixture
def health() -> Told:
    return Told()


# --- live


def test_live_while_the_loop_turns_and_not_beyond_the_bound(health: Told) -> None:
    health.turn()
    health.now += BOUND
    assert health.live().ok
    health.now += 0.1
    assert health.live() == health.ready()
    assert not health.live().ok
    assert health.live().reason == "the loop has not turned for 95 s, and is stuck beyond 95 s"
    health.turn()
    assert health.live().ok


def test_a_start_has_the_same_time(health: Told) -> None:
    health.now += BOUND
    assert health.live().ok
    health.now += 1
    assert not health.live().ok


def test_a_wait_for_the_brokers_is_live_however_long_and_what_follows_has_its_whole_time(health: Told) -> None:
    health.turn()
    with health.waiting("a commit"):
        health.now += 10 * BOUND
        assert health.live().ok
        assert health.live().reason.startswith("waiting for the brokers: a commit; the loop turned 950")
        assert health.ready().ok
    health.now += BOUND
    assert health.live().ok
    health.now += 1
    assert not health.live().ok


def test_a_wait_that_ends_in_an_error_is_over(health: Told) -> None:
    with pytest.raises(ValueError, match="refused"), health.waiting("a commit"):
        raise ValueError("refused")
    health.now += BOUND + 1
    assert not health.live().ok


def test_the_bound_leaves_room_for_the_waits_that_are_set_and_is_within_the_poll_interval_by_default() -> None:
    assert bound_of(Settings()) == BOUND < 300
    assert 2 * TIMEOUT <= ANSWER
    waits = Settings(
        kafka=KafkaSettings(revoke_timeout=timedelta(seconds=100)),
        delivery=DeliverySettings(shutdown_timeout=timedelta(seconds=200)),
    )
    assert bound_of(waits) == ANSWER + 300


# --- ready


def test_what_a_ready_member_waits_for_is_said_and_takes_nothing_from_it(health: Told) -> None:
    standing = tuple(f"the watermark of partition {n} stands still" for n in range(5))
    health.turned(assigned=True, tasks=(0, 1), restoring=(), stopping=False, standing=standing)
    told = health.ready()
    assert told.ok
    assert told.reason == (
        "running partitions 0, 1; the watermark of partition 0 stands still; the watermark of partition 1 stands "
        "still; the watermark of partition 2 stands still; and 2 more"
    )
    with health.waiting("a commit"):
        assert health.ready().reason.startswith("running partitions 0, 1; waiting for the brokers: a commit; the water")
    health.turn()
    assert health.ready().reason == "running partitions 0"


def test_not_ready_before_the_group_has_assigned_anything(health: Told) -> None:
    assert (health.live().ok, health.ready().ok) == (True, False)
    health.turn(assigned=False, tasks=())
    assert not health.ready().ok
    assert "the group has not said yet" in health.ready().reason


def test_not_ready_while_a_task_is_restoring(health: Told) -> None:
    health.turn(tasks=(3, 1), restoring=(3,))
    assert not health.ready().ok
    assert health.ready().reason == "reading again what was read before the start: partitions 3"
    health.turn(tasks=(3, 1))
    assert health.ready().ok
    assert health.ready().reason == "running partitions 1, 3"


def test_a_member_to_which_no_partition_falls_is_ready(health: Told) -> None:
    health.turn(tasks=())
    assert health.ready().ok
    assert "more members than partitions" in health.ready().reason


def test_not_ready_while_it_stops(health: Told) -> None:
    health.turn(stopping=True)
    assert (health.live().ok, health.ready().ok) == (True, False)
    assert health.ready().reason == "stopping"


# --- what the service tells


def readiness(world: LoopWorld) -> tuple[bool, str]:
    ready = world.health.ready()
    return ready.ok, ready.reason


def test_the_service_tells_at_each_turn() -> None:
    told = Told()
    world = LoopWorld(health=told)
    world.turn()
    told.now += BOUND + 1
    assert not told.live().ok
    world.turn()
    assert told.live().ok


def test_the_service_is_ready_from_its_assignment_until_it_is_taken_away() -> None:
    world = LoopWorld()
    world.turn()
    assert not readiness(world)[0]
    world.turn(assign)
    assert readiness(world) == (True, "running partitions 0")
    for take in (revoke, lose):
        world.turn(take)
        assert not readiness(world)[0]
        world.turn(assign)
        assert readiness(world)[0]


def test_the_service_is_ready_when_it_is_assigned_nothing() -> None:
    world = LoopWorld()
    world.turn(lambda consumer: consumer.on_assign(consumer, []))
    assert readiness(world) == (True, "spare: the group has more members than partitions")


def test_the_service_is_not_ready_while_it_rebuilds() -> None:
    world = LoopWorld()
    committed = dict(zip(("offers", "checkouts"), committed_after([0]), strict=True))
    world.consumer.committed = lambda places, timeout: [  # type: ignore[method-assign]
        TopicPartition(place.topic, 0, committed[place.topic].offset, metadata=committed[place.topic].metadata)
        for place in places
    ]
    world.turn(assign)
    assert readiness(world) == (False, "reading again what was read before the start: partitions 0")
    world.turn([offer(0, NOW)])
    world.turn([end("checkouts", 100)])
    assert readiness(world) == (True, "running partitions 0")


def test_the_service_tells_that_it_stops_before_it_waits_for_calls_in_flight() -> None:
    world = LoopWorld()
    world.turn(assign)
    seen = []
    world.delivery.cancel = lambda owners: seen.append(readiness(world))  # type: ignore[method-assign]
    world.loop.stop()
    world.loop.run()
    assert seen[0] == (False, "stopping")


@pytest.mark.parametrize("call", ["commit", "close"])
def test_the_service_is_live_while_a_commit_or_the_leaving_of_the_group_waits_for_the_brokers(call: str) -> None:
    told = Told()
    world = LoopWorld(health=told)
    world.begin()
    seen = []
    answered = getattr(world.consumer, call)

    def hang(*given: object, **named: object) -> object:
        told.now += 10 * BOUND
        seen.append(told.live().ok)
        return answered(*given, **named)

    setattr(world.consumer, call, hang)
    world.decide()
    world.delivery.answer()
    world.loop.stop()
    world.loop.run()
    assert seen
    assert all(seen)


def test_the_service_is_live_while_joining_waits_for_the_brokers() -> None:
    told = Told()
    world = LoopWorld(health=told)
    seen = []

    def subscribe(now: int, before: object) -> None:
        told.now += 10 * BOUND
        seen.append(told.live().ok)

    world.loop.tasks.consumer.subscribe = subscribe  # type: ignore[method-assign]
    world.loop.stop()
    world.loop.run()
    assert seen == [True]


def test_an_instance_that_has_halves_alone_is_not_called_spare() -> None:
    health = Health(BOUND)
    health.turned(assigned=True, tasks=(), restoring=(), stopping=False, halves=(3,))
    assert health.ready() == HealthStatus(True, "nothing runs: the pair of partitions 3 is not here")


def test_it_tells_for_how_long_the_loop_has_not_turned() -> None:
    told = Told()
    told.turned(assigned=True, tasks=(), restoring=(), stopping=False)
    told.now += 7
    assert told.turned_ago() == 7
