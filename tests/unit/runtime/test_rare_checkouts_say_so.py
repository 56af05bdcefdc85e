"""A partition whose checkouts come each 20 minutes, with join.lateness = 15m: it is decided, or a line says why not."""

from __future__ import annotations

from datetime import timedelta

from structlog.testing import capture_logs
from support.builders import lone_checkout, lone_offer
from support.loop_world import LoopWorld

from consumer.core.watermark import Side
from consumer.runtime.edges import Clock

S = 1_000
M = 60 * S
EIGHT = 1_800_000_000 * S


def test_it_is_decided_or_a_line_says_why_not() -> None:
    minute = calls = 0
    clock = Clock(wall=lambda: EIGHT / 1000 + 60 * minute, monotonic=lambda: 1_000.0 + 60 * minute)
    join = {
        "window": timedelta(minutes=30),
        "lookback": timedelta(hours=2),
        "checkout_grace": timedelta(minutes=1),
        "lateness": timedelta(minutes=15),
        "max_skew": timedelta(minutes=5),
    }
    with capture_logs() as lines:
        world = LoopWorld(join=join, clock=clock, kafka={"commit_interval": timedelta(minutes=1)})
        world.begin()
        for minute in range(24 * 60):
            now = EIGHT + minute * M
            messages = [lone_offer(minute, now)]
            if minute % 20 == 0:
                messages.append(lone_checkout(minute // 20, now))
            world.turn(messages)
            for side in Side:
                world.runner.task.idle(side, now)
            world.loop.tasks.changed = True
            world.turn()
            calls += len(world.delivery.calls)
            world.delivery.answer()
    told = {line["event"] for line in lines if line["log_level"] in {"warning", "error"}}
    told.discard("a new group starts at the first record of both topics")
    assert calls > 1_000 or told
    assert world.committed or told
