"""When a refused request is given back to be dead-lettered."""

from __future__ import annotations

import pytest
import structlog
from support import virtual_time
from support.delivery_world import (
    DENIED,
    FAILED,
    NOT_FOUND,
    ODD,
    OK,
    REFUSED,
    DeliveryWorld,
    make_calls,
    numbered,
    states,
)

from consumer.calls import Answer, CallResult
from consumer.events import Outcome


def test_a_refused_request_is_given_back_at_once_to_be_dead_lettered_if_set_so() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: REFUSED if call.offer_id == "bad" else OK, rejected="dead-letter")
        bad, _ = world.submit("bad", "good")
        await world.until(1_000.0)
        assert world.results[0] == (0.1, CallResult(bad, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field"))
        assert world.outcomes()["good"] is Outcome.OPTED_OUT
        assert len(world.made) == 2

    virtual_time.run(main())


def test_only_refused_requests_are_given_back_to_be_dead_lettered() -> None:
    async def main() -> None:
        for answer in (FAILED, DENIED, ODD, NOT_FOUND):
            world = DeliveryWorld(lambda _, answer=answer: answer, rejected="dead-letter", not_found_limit=1)
            world.submit("offer")
            await world.until(world.loop.time() + 1_000)
            assert world.results == []

    virtual_time.run(main())


def test_requests_refused_in_a_row_are_held_beyond_the_limit_so_that_a_wrong_path_drains_nothing() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: REFUSED, rejected="dead-letter", max_refused_run=5)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(50))
            await world.until(3_000.0)
        assert list(world.outcomes().values()) == [Outcome.DEAD_LETTERED] * 5
        assert len(world.made) > 5 + 45 * 9, "those held are tried again every five minutes"
        (warning,) = [line for line in logs if line["event"].startswith("nothing but rejected")]
        assert (warning["log_level"], warning["partner_code"], warning["in_a_row"]) == ("warning", "P", 6)

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [OK, NOT_FOUND])
def test_what_was_held_is_dead_lettered_once_a_request_of_the_partner_is_not_refused(answer: Answer) -> None:
    async def main() -> None:
        world = DeliveryWorld(
            lambda call: answer if call.offer_id == "good" else REFUSED,
            rejected="dead-letter", max_refused_run=5, not_found_limit=0,
        )  # fmt: skip
        world.submit(*numbered(8))
        await world.until(10.0)
        world.submit("good", partner="Q")
        await world.until(20.0)
        assert sum(outcome is Outcome.DEAD_LETTERED for outcome in world.outcomes().values()) == 5
        world.submit("good")
        await world.until(400.0)
        assert sum(outcome is Outcome.DEAD_LETTERED for outcome in world.outcomes().values()) == 8
        assert states(world.delivery.snapshot()) == {}

    virtual_time.run(main())


def test_answers_between_refusals_keep_single_bad_offers_from_counting_as_a_run() -> None:
    async def main() -> None:
        world = DeliveryWorld(
            lambda call: REFUSED if call.offer_id.startswith("bad") else OK,
            rejected="dead-letter", max_refused_run=1, concurrency=1,
        )  # fmt: skip
        for number in range(20):
            world.submit(f"bad{number}", f"good{number}")
        await world.until_results(40)
        assert None not in world.outcomes().values()

    virtual_time.run(main())


def test_a_limit_of_0_dead_letters_none() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: REFUSED, rejected="dead-letter", max_refused_run=0)
        world.submit("bad")
        await world.until(1_000.0)
        assert world.results == []

    virtual_time.run(main())


def test_a_call_that_cannot_be_dead_lettered_is_held_and_tried_again() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: REFUSED if world.loop.time() < 700 else OK, rejected="dead-letter")
        world.latency = 0.0
        world.delivery.submit(make_calls(["gone"]), retry_refused=True)
        await world.until_results(1)
        assert world.times() == [0.0, 300.0, 600.0, 900.0]
        assert world.outcomes() == {"gone": Outcome.OPTED_OUT}

    virtual_time.run(main())
