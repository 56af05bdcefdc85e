"""A producer of checkouts is 20 minutes ahead, and the task moves: the offers of its sessions are not lost."""

from __future__ import annotations

from datetime import timedelta

from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.loop_world import LoopWorld, assign, revoke

from consumer.core.watermark import Side
from consumer.runtime.edges import Clock

S = 1_000
M = 60 * S
T = 1_800_000_000 * S


def test_the_offer_is_called() -> None:
    minute = 0
    clock = Clock(wall=lambda: T / 1000 + 60 * minute, monotonic=lambda: 1_000.0 + 60 * minute)
    join = {
        "window": timedelta(minutes=30),
        "lookback": timedelta(hours=2),
        "checkout_grace": timedelta(minutes=1),
        "lateness": timedelta(minutes=5),
        "max_skew": timedelta(minutes=5),
        "checkout_silence": timedelta(0),
    }
    ahead = T + 21 * M
    records = offer(0, T, offer_id="o", stamp=T), checkout(0, ahead, "x", session="s1", stamp=ahead)
    with capture_logs():
        world = LoopWorld(join=join, clock=clock, kafka={"commit_interval": timedelta(minutes=1)})
        world.begin()

        def idle() -> None:
            for side in Side:
                world.runner.task.idle(side, T + minute * M)
            world.loop.tasks.changed = True
            world.turn()

        for minute in range(34):
            world.turn(list(records) if minute == 1 else [])
            idle()
        assert not world.delivery.calls
        assert world.committed == 0
        world.turn(revoke)
        world.turn(assign)
        world.turn(list(records)[: 2 if world.consumer.committed_offsets["checkouts", 0] == 0 else 1])
        for minute in range(35, 120):  # noqa: B007 - idle() reads it
            idle()
    assert [call.offer_id for call in world.delivery.calls] == ["o"]
