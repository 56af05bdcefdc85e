"""A fault may not take more than it says: else what breaks is the simulation, not the service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from confluent_kafka import TopicPartition
from simulation.workload.faults import Faults
from simulation.workload.scenario import CHECKOUTS
from simulation.world.consumer import SimulatedConsumer
from simulation.world.world import World


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
