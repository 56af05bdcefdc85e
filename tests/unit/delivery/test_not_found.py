"""When a 404 is believed."""

from __future__ import annotations

from collections import Counter

import pytest
import structlog
from support import virtual_time
from support.delivery_world import (
    NOT_FOUND,
    OK,
    DeliveryWorld,
    numbered,
    states,
)
from support.owner import Owner

from consumer.events import Outcome


def test_each_204_settles_the_404s_since_the_one_before() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: OK if call.offer_id.startswith("known") else NOT_FOUND, concurrency=1)
        for number in range(10):
            world.submit(*numbered(19, f"lost {number} "), f"known {number}")
        await world.until_results(200)
        assert world.loop.time() == pytest.approx(20.0)
        counted = Counter(world.outcomes().values())
        assert counted == {Outcome.OPTED_OUT: 10, Outcome.NOT_FOUND: 190}
        assert len(world.made) == 200

    virtual_time.run(main())


@pytest.mark.parametrize("rate", [0, 10], ids=["all at once", "ten a second"])
def test_of_5000_404s_after_one_204_none_is_believed(rate: int) -> None:
    async def main() -> None:
        world = DeliveryWorld(
            lambda call: OK if call.offer_id == "known" or world.loop.time() > 200 else NOT_FOUND, rate_limit=rate
        )
        with structlog.testing.capture_logs() as logs:
            world.submit("known")
            await world.until_results(1)
            world.submit(*numbered(5_000))
            await world.until(200.0)
            assert world.outcomes() == {"known": Outcome.OPTED_OUT}
        assert sum(log["event"].startswith("nothing but 404s") for log in logs) == 1
        await world.until_results(5_001)
        assert set(world.outcomes().values()) == {Outcome.OPTED_OUT}, "and each is told once the route is right"

    virtual_time.run(main())


def test_a_run_that_a_204_has_ended_believes_none_of_the_next_one_too_early() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: OK if call.offer_id == "known" else NOT_FOUND)
        world.submit("first")
        await world.until(30.0)
        world.submit("known")
        await world.until(50.0)
        world.submit("second")
        await world.until(109.0)
        assert world.outcomes() == {"first": Outcome.NOT_FOUND, "known": Outcome.OPTED_OUT}, "not at 60 s"
        await world.until(111.0)
        assert world.outcomes()["second"] is Outcome.NOT_FOUND

    virtual_time.run(main())


def test_a_204_settles_the_404s_held_before_it() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: OK if call.offer_id == "known" else NOT_FOUND, concurrency=1)
        world.submit("lost", "known")
        await world.until_results(2)
        assert world.loop.time() == pytest.approx(0.2)
        assert world.outcomes() == {"lost": Outcome.NOT_FOUND, "known": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_another_partners_204_proves_nothing() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: OK if call.partner_code == "A" else NOT_FOUND)
        world.submit("a", partner="A")
        world.submit("b", partner="B")
        await world.until(50.0)
        assert world.outcomes() == {"a": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_404_is_held_for_60_s_and_then_believed() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND)
        world.submit(*numbered(18))
        await world.until(60.0)
        assert not world.results
        assert states(world.delivery.snapshot()) == {"P": "18 answered 404, held until a 204 or 0 s pass"}
        await world.until(60.2)
        assert world.outcomes() == dict.fromkeys(numbered(18), Outcome.NOT_FOUND)
        assert {result.attempts for _, result in world.results} == {1}
        world.submit("later")
        await world.until(60.4)
        assert world.outcomes()["later"] is Outcome.NOT_FOUND, "after that a 404 is terminal at once"
        world.submit("the twentieth")
        await world.until(600.0)
        assert "the twentieth" not in world.outcomes(), "however slowly they came, twenty without a 204 trip the guard"

    virtual_time.run(main())


def test_twenty_404s_without_a_204_are_retried_until_a_204_comes() -> None:
    async def main() -> None:
        right_url = 3_600.0
        world = DeliveryWorld(lambda call: OK if world.loop.time() > right_url and call.offer_id == "o3" else NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(20))
            await world.until(right_url)
            assert not world.results, "a wrong URL must not settle a single offer"
            assert "wrong base URL" in states(world.delivery.snapshot())["P"]
            await world.until_results(20)
        assert world.loop.time() < right_url + 200
        assert world.outcomes() == {
            name: Outcome.OPTED_OUT if name == "o3" else Outcome.NOT_FOUND for name in numbered(20)
        }
        warnings = [log["event"] for log in logs if log["log_level"] == "warning"]
        assert len(warnings) == 1
        assert "nothing but 404s" in warnings[0]

    virtual_time.run(main())


def test_the_guard_counts_to_its_limit_and_not_one_further() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND, not_found_limit=3)
        world.submit("a", "b")
        await world.until(30.0)
        assert len(world.made) == 2
        world.submit("c")
        await world.until(200.0)
        assert not world.results
        assert len(world.made) > 6

    virtual_time.run(main())


@pytest.mark.parametrize(
    "bursts",
    [
        {0.0: 64},
        {0.0: 19, 61.0: 64},
        {0.0: 10, 59.95: 64, 120.0: 64},
        dict.fromkeys((float(second) for second in range(0, 1_000, 40)), 1),
        {0.0: 1, 59.85: 18, 59.95: 1, 60.05: 200},
    ],
)
def test_of_nothing_but_404s_fewer_than_the_limit_are_believed_whatever_is_in_flight(bursts: dict[float, int]) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND, concurrency=64)
        for when, count in bursts.items():
            await world.until(when)
            world.submit(*numbered(count, f"{when}-"))
        await world.until(1_100.0)
        assert len(world.results) <= 19
        assert set(world.outcomes().values()) <= {Outcome.NOT_FOUND}
        assert len({offer for _, _, offer in world.made}) == sum(bursts.values()), "the others are still tried"

    virtual_time.run(main())


def test_404s_believed_without_a_204_are_told_once() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(3))
            await world.until(61.0)
            world.submit("later")
            await world.until(62.0)
        assert len(world.results) == 4
        (warning,) = [log for log in logs if log["log_level"] == "warning"]
        assert warning["event"].startswith("404s are believed though no 204 has come")
        assert (warning["partner_code"], warning["believed"]) == ("P", 3)

    virtual_time.run(main())


def test_what_one_process_saw_of_a_partner_proves_nothing_to_the_next() -> None:
    async def main() -> None:
        before = DeliveryWorld(lambda call: OK if call.offer_id == "known" else NOT_FOUND)
        before.submit("known", "lost")
        await before.until_results(2)
        restarted = DeliveryWorld(lambda _: NOT_FOUND)
        restarted.submit("lost")
        await restarted.until(59.0)
        assert not restarted.results, "settings may have changed in between"
        await restarted.until_results(1)

    virtual_time.run(main())


def test_404s_held_when_their_task_is_taken_away_settle_nothing_here() -> None:
    async def main() -> None:
        gone = Owner("gone")
        world = DeliveryWorld(lambda _: NOT_FOUND)
        world.submit(*numbered(5), owner=gone)
        world.submit("stays", owner=Owner("stays"))
        await world.until(30.0)
        world.delivery.cancel([gone])
        assert world.outcomes() == dict.fromkeys(numbered(5))
        await world.until(61.0)
        assert world.outcomes() == dict.fromkeys(numbered(5)) | {"stays": Outcome.NOT_FOUND}
        world.submit("o0", owner=Owner("came back"))
        await world.until(62.0)
        assert world.outcomes()["o0"] is Outcome.NOT_FOUND, "the hold is of the partner, not of the task"
        assert len(world.results) == 7

    virtual_time.run(main())


def test_404s_held_that_were_all_taken_away_are_not_told_as_believed() -> None:
    async def main() -> None:
        gone = Owner("gone")
        world = DeliveryWorld(lambda _: NOT_FOUND)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(5), owner=gone)
            await world.until(30.0)
            world.delivery.cancel([gone])
            await world.until(61.0)
        assert [log["event"] for log in logs if log["log_level"] != "debug"] == []

    virtual_time.run(main())


def test_without_the_guard_a_404_is_terminal_at_once() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND, not_found_limit=0)
        world.submit(*numbered(50))
        await world.until_results(50)
        assert world.loop.time() == pytest.approx(0.1)
        assert set(world.outcomes().values()) == {Outcome.NOT_FOUND}

    virtual_time.run(main())
