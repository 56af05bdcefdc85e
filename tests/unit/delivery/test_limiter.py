"""What the calls of one credential share: the rate limit and the Retry-After gate."""

from __future__ import annotations

import pytest
import structlog
from support import virtual_time
from support.delivery_world import (
    OK,
    World,
    numbered,
    slow_down,
)

from consumer.events import Outcome


def test_retry_after_gates_all_partners_of_the_credential() -> None:
    async def main() -> None:
        answers = iter([slow_down(40.0)])
        world = World(lambda _: next(answers, OK), shared_key=True)
        with structlog.testing.capture_logs() as logs:
            world.submit("a", partner="A")
            await world.until(1.0)
            world.submit("b", partner="B")
            await world.until_results(2)
        assert world.times("B") == [40.1]
        assert world.times("A")[1] >= 40.1
        assert [log["seconds"] for log in logs if "Retry-After" in log["event"]] == [40.0]

    virtual_time.run(main())


def test_retry_after_of_one_credential_does_not_gate_another() -> None:
    async def main() -> None:
        world = World(lambda call: slow_down(40.0) if call.partner_code == "A" else OK)
        world.submit("a", partner="A")
        await world.until(1.0)
        world.submit("b", partner="B")
        await world.until(2.0)
        assert world.outcomes() == {"b": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_shorter_retry_after_does_not_shorten_a_longer_one() -> None:
    async def main() -> None:
        waits = {"a": 100.0, "b": 5.0}
        world = World(lambda call: slow_down(waits[call.offer_id]) if len(world.made) <= 2 else OK)
        world.submit("a", "b")
        await world.until_results(2)
        assert min(world.times()[2:]) == 100.1

    virtual_time.run(main())


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= when < start + 1.0 - 1e-6 for when in times) for start in times)


def test_no_second_ever_sees_more_calls_than_the_rate() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10, shared_key=True)
        world.submit(*numbered(40), partner="A")
        world.submit(*numbered(40), partner="B")
        await world.until_results(80)
        assert world.loop.time() == pytest.approx(79 * 0.1 + 0.1, abs=0.01), "nor fewer, while calls wait"
        await world.until(1_000.0)
        world.submit(*numbered(40))  # a pause saves up nothing to be spent in a burst
        await world.until_results(120)
        assert most_in_a_second(world.times()) == 10

    virtual_time.run(main())


def test_each_credential_has_a_rate_of_its_own() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10)
        world.submit(*numbered(11), partner="A")
        world.submit(*numbered(11), partner="B")
        await world.until_results(22)
        assert world.loop.time() == pytest.approx(1.1, abs=0.01)

    virtual_time.run(main())


def test_an_instance_uses_its_share_of_the_rate_and_a_new_share_at_once() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10)
        world.delivery.set_share(0.1)
        world.submit(*numbered(200))
        await world.until(9.5)
        assert world.times() == pytest.approx([float(second) for second in range(10)])
        world.delivery.set_share(0.5)
        await world.until(11.4)
        assert len(world.made) == 20
        world.delivery.set_share(0.0)
        await world.until(100.0)
        assert len(world.made) == 20
        world.delivery.set_share(1.0)
        await world.until(100.95)
        assert len(world.made) == 30

    virtual_time.run(main())


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_part_of_the_whole(fraction: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            World(lambda _: OK).delivery.set_share(fraction)

    virtual_time.run(main())
