"""A fault may not take more than it says: else what breaks is the simulation, not the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from simulation.simulate import run
from simulation.workload.faults import Faults
from simulation.workload.kinds import kinds_of
from simulation.workload.scenario import CHECKOUTS, OFFERS
from simulation.world.broker import Partition
from simulation.world.consumer import SimulatedConsumer
from simulation.world.world import World

from consumer.kafka.leader_epochs import CutLogs


def test_retention_spares_what_a_member_reads_again_and_will_commit() -> None:
    world, place = World(0), (CHECKOUTS, 0)
    broker, log = world.broker, world.broker.logs[place]
    broker.on_commit = lambda _: None
    for _ in range(6):
        log.append(0, b"s", b"")
    broker.group.committed[place] = 5, "with the lookback of the run before"
    process: Any = SimpleNamespace(name="p1", **dict.fromkeys(("touch", "tell", "begins"), lambda _: None))
    process.wait = lambda until, timeout: until()
    process.wall = lambda: broker.clock.now
    process.consumer = SimulatedConsumer(broker, process, lambda _: None)
    process.consumer.subscribe([], lambda consumer, _: consumer.assign([TopicPartition(*place, 2)]), None, None)
    while not process.consumer.began:
        process.consumer.consume(1, 0.0)
        world.clock.now += 1.0
        broker.heartbeat("p1")
        broker.tick()
    world.processes.append(process)
    Faults(world).retain()
    assert log.start == 2
    process.consumer.commit([TopicPartition(*place, 4)], asynchronous=False)
    Faults(world).retain()
    assert log.start == 4


def test_a_log_that_was_cut_has_grown_to_where_it_was_by_another_leader() -> None:
    log = Partition()
    for gap in (0, 0, 3, 0):
        log.append(7, b"s", b"v", gap=gap)
    log.mark(2)
    assert [record.offset for record in log.records] == [0, 1, 5, 6]
    assert log.cut(3) == [5, 6]
    assert [(r.offset, r.value is None) for r in log.records] == [
        (0, False),
        (1, False),
        (3, True),
        (5, True),
        (6, True),
    ]
    assert (log.end, log.end_of(0), log.epoch_of(1), log.epoch_of(3)) == (9, 3, 0, 1)


CUT = {OFFERS: 88200012, CHECKOUTS: 88200009}
"""Of each topic, a seed in which it loses its end."""


@pytest.mark.parametrize("topic", CUT)
def test_a_start_is_refused_where_a_log_was_cut_and_an_operator_answers(topic: str) -> None:
    done = run(CUT[topic], kinds=kinds_of(["cut logs"]))
    assert done.failure is None
    assert done.faults[f"{topic} lose their end, and have grown since"] == 1
    assert done.faults["stopped: PositionsError"] > 0
    assert done.faults["an operator answers by --accept"] + done.faults["an operator answers by --reset-to"] > 0


@pytest.mark.parametrize("seed", [88300004, 88300005])
def test_the_second_judge_notices_a_service_that_takes_a_cut_log_for_the_old_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CutLogs, "of", lambda self, read, timeout=None: {})
    assert "invariant broken" in (run(seed, kinds=kinds_of(["cut logs"])).failure or "")
    monkeypatch.undo()
    assert run(seed, kinds=kinds_of(["cut logs"])).failure is None
