"""No call leaves while a purchase is in hand, and what stands before it in its batch has to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.builders import CODEC, checkout, raw
from support.loop_world import LoopWorld

from consumer.delivery.gate import Opening
from consumer.kafka.producer import OutputProducer
from consumer.kafka.writes import Writes
from consumer.runtime.conditions import attended
from consumer.runtime.edges import Clock
from consumer.server.health import IN_HAND, Health


class FullQueue:
    """A producer whose queue has no room the first forty times that it is asked."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._full, self._wait = 40, wait

    def produce(self, topic: str, value: Any, key: Any, partition: int, delivered: Any, headers: Any = None) -> None:
        if self._full:
            self._full -= 1
            raise BufferError

    def poll(self, seconds: float) -> int:
        self._wait(seconds)
        return 0


def test_no_call_leaves_while_a_dead_letter_waits_for_room_and_a_purchase_stands_behind_it() -> None:
    now = 0.0
    left: list[float] = []

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds
        if attended(health)().opening is Opening.OPEN and call.owner.withholds(call) is None:
            left.append(now)

    clock = Clock(wall=lambda: 1_000.0 + now, monotonic=lambda: now)
    health = Health(95.0, clock.monotonic)
    world = LoopWorld(health=health, clock=clock, max_run=100, max_ratio=1.0)
    world.begin()
    world.decide()
    (call,) = world.delivery.calls
    outputs = OutputProducer(FullQueue(wait), "o", "d", CODEC, Writes("o", monotonic=clock.monotonic))  # type: ignore[arg-type]
    world.sink.dead_letter = outputs.dead_letter  # type: ignore[method-assign]
    world.turn([raw("offers", 1, "s9", b"\xff"), checkout(0, 10_500, "o1", session="s1")])
    assert now > 2 * IN_HAND, "it waited"
    assert call.owner.withholds(call) is not None, "now the purchase is known"
    assert max(left) <= IN_HAND + 0.1
