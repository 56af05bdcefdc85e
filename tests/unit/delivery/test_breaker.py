"""How long to wait after a failure, and when a partner that fails is left alone."""

from __future__ import annotations

from itertools import pairwise

import structlog
from support import virtual_time
from support.delivery_world import (
    FAILED,
    OK,
    DeliveryWorld,
    Highest,
    numbered,
    states,
)


def test_back_off_doubles_up_to_a_minute() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED, random=Highest())
        world.latency = 0.0
        world.submit("offer")
        await world.until(400.0)
        gaps = [round(after - before, 3) for before, after in pairwise(world.times())]
        assert gaps[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]

    virtual_time.run(main())


def test_failures_in_a_row_open_the_breaker_and_one_probe_closes_it() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED if world.loop.time() < 600 else OK, concurrency=8)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(1_000))
            await world.until(590.0)
            assert len(world.made) < 60, "a server in need must not be asked by a thousand"
            assert "failing, next probe in" in states(world.delivery.snapshot())["P"]
            await world.until_results(1_000)
        assert world.loop.time() < 600 + 60 + 60 + 13
        events = [log["event"].split(":")[0] for log in logs if log["log_level"] != "debug"]
        assert events == ["breaker opened", "breaker closed"]

    virtual_time.run(main())


def test_a_partner_that_fails_does_not_slow_another() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: FAILED if call.partner_code == "BAD" else OK, shared_key=True)
        world.submit(*numbered(500), partner="BAD")
        world.submit(*numbered(500, "g"), partner="GOOD")
        await world.until_results(500)
        assert world.loop.time() < 2.0

    virtual_time.run(main())


def test_one_offer_that_always_fails_does_not_stop_its_partner() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: FAILED if call.offer_id == "bad" else OK, concurrency=2)
        world.submit("bad", *numbered(1_000))
        await world.until_results(1_000)
        assert world.loop.time() < 60.0

    virtual_time.run(main())
