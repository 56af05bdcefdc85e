"""Calls that are made no more: let go by an operator, or refused and to be dead-lettered."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from support import virtual_time
from support.delivery_world import DENIED, FAILED, NOT_FOUND, ODD, OK, REFUSED, World, make_calls, numbered

from consumer.calls import Answer, CallResult, OptOutCall
from consumer.events import Outcome

NOTE = "released by on call: gone"
LET_GO = {("P", "released"): NOTE}


@pytest.mark.parametrize("answer", [REFUSED, DENIED, FAILED, ODD, NOT_FOUND])
def test_an_offer_that_is_let_go_is_called_no_more_whatever_its_call_waits_for(answer: Answer) -> None:
    async def main() -> None:
        world = World(lambda _: answer if world.loop.time() < 10 else OK, rejected="hold")
        released, _ = world.submit("released", "stays")
        await world.until(0.15)
        world.delivery.release(LET_GO)
        assert world.results == [(0.15, CallResult(released, Outcome.RELEASED, answer.status_code, 1, NOTE))]
        calls = world.offers().count("released")
        await world.until_results(2)
        assert world.outcomes()["stays"] in {Outcome.OPTED_OUT, Outcome.NOT_FOUND}, (
            "another offer of the partner must go on"
        )
        assert world.offers().count("released") == calls == 1
        assert world.delivery.snapshot().partners == {}

    virtual_time.run(main())


def test_an_offer_that_is_let_go_before_its_turn_is_never_called() -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=1)
        world.submit("first", "released")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        await world.until_results(2)
        assert world.outcomes() == {"released": Outcome.RELEASED, "first": Outcome.OPTED_OUT}
        assert world.offers() == ["first"]

    virtual_time.run(main())


def test_only_the_partners_own_offer_is_let_go() -> None:
    async def main() -> None:
        world = World(lambda _: REFUSED, rejected="hold")
        world.submit("released", partner="Q")
        await world.until(5.0)
        world.delivery.release(LET_GO)
        assert world.results == []

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("answer", "outcome"), [(OK, Outcome.OPTED_OUT), (FAILED, Outcome.RELEASED), (REFUSED, Outcome.RELEASED)]
)
def test_a_call_in_flight_is_not_cut_and_counts_if_its_answer_settles_it(answer: Answer, outcome: Outcome) -> None:
    async def main() -> None:
        world = World(lambda _: answer, rejected="dead-letter")
        world.submit("released")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        world.delivery.release({})
        assert world.results == []
        await world.until(1_000.0)
        ((when, result),) = world.results
        assert (when, result.outcome, result.status_code, result.attempts) == (0.1, outcome, answer.status_code, 1)
        assert len(world.made) == 1

    virtual_time.run(main())


@pytest.mark.parametrize(("limit", "outcome"), [(0, Outcome.NOT_FOUND), (20, Outcome.RELEASED)])
def test_a_404_in_flight_counts_if_it_is_believed(limit: int, outcome: Outcome) -> None:
    async def main() -> None:
        world = World(lambda _: NOT_FOUND, not_found_limit=limit)
        world.submit("released")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        await world.until(1.0)
        assert world.outcomes() == {"released": outcome}

    virtual_time.run(main())


def test_what_is_let_go_of_a_cancelled_owner_is_still_told_apart() -> None:
    async def main() -> None:
        world = World(lambda _: FAILED)
        world.submit("released", "cancelled")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        world.delivery.cancel(["owner"])
        await world.until(1.0)
        assert world.outcomes() == {"released": Outcome.RELEASED, "cancelled": None}

    virtual_time.run(main())


def test_a_refused_request_is_given_back_at_once_to_be_dead_lettered_if_set_so() -> None:
    async def main() -> None:
        world = World(lambda call: REFUSED if call.offer_id == "bad" else OK, rejected="dead-letter")
        bad, _ = world.submit("bad", "good")
        await world.until(1_000.0)
        assert world.results[0] == (0.1, CallResult(bad, Outcome.DEAD_LETTERED, 422, 1, "Unexpected field"))
        assert world.outcomes()["good"] is Outcome.OPTED_OUT
        assert len(world.made) == 2

    virtual_time.run(main())


def test_only_refused_requests_are_given_back_to_be_dead_lettered() -> None:
    async def main() -> None:
        for answer in (FAILED, DENIED, ODD, NOT_FOUND):
            world = World(lambda _, answer=answer: answer, rejected="dead-letter", not_found_limit=1)
            world.submit("offer")
            await world.until(world.loop.time() + 1_000)
            assert world.results == []

    virtual_time.run(main())


def test_requests_refused_in_a_row_are_held_beyond_the_limit_so_that_a_wrong_path_drains_nothing() -> None:
    async def main() -> None:
        world = World(lambda _: REFUSED, rejected="dead-letter", max_refused_run=5)
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
        world = World(
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
        assert world.delivery.snapshot().partners == {}

    virtual_time.run(main())


def test_answers_between_refusals_keep_single_bad_offers_from_counting_as_a_run() -> None:
    async def main() -> None:
        world = World(
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
        world = World(lambda _: REFUSED, rejected="dead-letter", max_refused_run=0)
        world.submit("bad")
        await world.until(1_000.0)
        assert world.results == []

    virtual_time.run(main())


def test_a_call_that_cannot_be_dead_lettered_is_held_and_tried_again() -> None:
    async def main() -> None:
        world = World(lambda _: REFUSED if world.loop.time() < 700 else OK, rejected="dead-letter")
        world.latency = 0.0
        world.delivery.submit(make_calls(["gone"]), retry_refused=True)
        await world.until_results(1)
        assert world.times() == [0.0, 300.0, 600.0, 900.0]
        assert world.outcomes() == {"gone": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_refused_call_that_is_given_up_in_flight_is_no_longer_counted_as_refused() -> None:
    slow = asyncio.Event()

    async def main() -> None:
        async def later(_: OptOutCall) -> Answer:
            await slow.wait()
            return REFUSED

        world = World(lambda call: REFUSED if len(world.made) == 1 else later(call), rejected="hold")
        world.submit("released")
        await world.until(301.0)
        assert world.delivery.in_flight == 1
        world.delivery.release(LET_GO)
        slow.set()
        await world.until_results(1)
        assert world.delivery._turns.partner("P").refused == 0

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, REFUSED, NOT_FOUND])
def test_a_call_in_flight_at_the_close_is_given_up_by_an_answer_that_does_not_settle_it(answer: Answer) -> None:
    async def main() -> None:
        world = World(lambda _: answer)
        world.submit("offer")
        await world.until(0.05)
        await world.delivery.close(5.0)
        assert world.outcomes() == {"offer": None}

    virtual_time.run(main())
