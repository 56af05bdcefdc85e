"""What becomes of a call: settled, tried again, cancelled, let go by an operator."""

from __future__ import annotations

import asyncio

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
    TIMED_OUT,
    DeliveryWorld,
    Highest,
    make_calls,
    numbered,
    states,
)
from support.owner import OWNER, Owner
from support.traced_calls import TRACE_ID, traced_call

from consumer.calls import Answer, CallResult, OptOutCall
from consumer.events import Outcome

NOTE = "released by on call: gone"
LET_GO = {("P", "released"): NOTE}


def test_a_204_settles_a_call_at_its_first_try() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK)
        (call,) = world.submit("offer")
        await world.until_results(1)
        assert world.results == [(0.1, CallResult(call, Outcome.OPTED_OUT, 204, 1, None))]
        assert world.times() == [0.0], "a call must leave at once"

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, TIMED_OUT, ODD])
def test_what_is_transient_is_retried_for_ever(answer: Answer) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: answer if world.loop.time() < 86_400 else OK)
        world.submit("offer")
        await world.until_results(1)
        ((when, result),) = world.results
        assert result.outcome is Outcome.OPTED_OUT
        assert 86_400 <= when < 86_400 + 62, "after a day it still comes within a minute of the recovery"
        assert result.attempts == len(world.made)
        assert world.delivery.snapshot().calls.retried == len(world.made) - 1

    virtual_time.run(main())


def test_an_error_in_the_caller_is_retried_and_reported_not_lost() -> None:
    def broken(_: OptOutCall) -> Answer:
        if len(world.made) == 1:
            raise ValueError("a mistake")
        return OK

    async def main() -> None:
        nonlocal world
        world = DeliveryWorld(broken)
        with structlog.testing.capture_logs() as logs:
            world.submit("offer")
            await world.until_results(1)
        assert world.outcomes() == {"offer": Outcome.OPTED_OUT}
        assert any(log["log_level"] == "warning" and "a mistake" in log["note"] for log in logs)

    world: DeliveryWorld
    virtual_time.run(main())


def test_a_refused_request_is_tried_again_every_five_minutes_and_reported_once() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: REFUSED if world.loop.time() < 900 else OK)
        world.latency = 0.0
        with structlog.testing.capture_logs() as logs:
            world.submit("a", "b")
            await world.until(1.0)
            assert states(world.delivery.snapshot()) == {"P": "2 refused by the API"}
            await world.until_results(2)
        assert world.times() == [0.0, 0.0, 300.0, 300.0, 600.0, 600.0, 900.0, 900.0]
        assert world.outcomes() == {"a": Outcome.OPTED_OUT, "b": Outcome.OPTED_OUT}
        assert [log["log_level"] for log in logs if "rejected" in log["event"]] == ["warning", "info"]

    virtual_time.run(main())


def test_refused_requests_do_not_keep_others_from_being_called() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: REFUSED if call.offer_id.startswith("bad") else OK, rate_limit=10)
        world.submit(*numbered(5_000, "bad"))
        await world.until(1_000.0)  # more than 300 s' worth of rate are busy being refused
        world.submit(*numbered(10, "good"))
        await world.until(1_003.0)
        assert sum(outcome is Outcome.OPTED_OUT for outcome in world.outcomes().values()) == 10

    virtual_time.run(main())


def test_cancelling_reports_what_waits_at_once_and_calls_it_no_more() -> None:
    async def main() -> None:
        gone, stays = Owner("gone"), Owner("stays")
        world = DeliveryWorld(lambda _: OK, concurrency=2)
        world.submit("a", "b", "c", "d", owner=gone)
        world.submit("e", owner=stays)
        await world.until(0.05)
        world.delivery.cancel([gone])
        assert world.outcomes() == {"c": None, "d": None}, "queued calls are reported now"
        await world.until_results(5)
        assert world.outcomes() == {"c": None, "d": None, "a": Outcome.OPTED_OUT, "b": Outcome.OPTED_OUT} | {
            "e": Outcome.OPTED_OUT
        }, "those in flight were made, so they count"
        assert sorted(world.offers()) == ["a", "b", "e"]

    virtual_time.run(main())


def test_a_cancelled_call_in_flight_that_does_not_settle_is_reported_without_an_outcome() -> None:
    async def main() -> None:
        answers = {"fails": FAILED, "refused": REFUSED, "lost": NOT_FOUND}
        world = DeliveryWorld(lambda call: answers[call.offer_id])
        world.submit(*answers)
        await world.until(0.05)
        world.delivery.cancel([OWNER])
        assert not world.results
        await world.until(1_000.0)
        assert world.outcomes() == dict.fromkeys(answers), "a 404 that is not believed yet settles nothing"
        assert len(world.made) == 3

    virtual_time.run(main())


def test_cancelling_reports_calls_that_wait_for_another_try() -> None:
    async def main() -> None:
        answers = {"fails": FAILED, "refused": REFUSED, "lost": NOT_FOUND}
        world = DeliveryWorld(lambda call: answers[call.offer_id], random=Highest())
        world.submit(*answers)
        await world.until(0.5)
        world.delivery.cancel([OWNER])
        assert world.outcomes() == dict.fromkeys(answers)
        assert world.delivery.queued == 0
        await world.until(1_000.0)
        assert len(world.made) == 3
        assert len(world.results) == 3

    virtual_time.run(main())


def test_queued_calls_cost_no_task_each_and_are_cancelled_together() -> None:
    async def main() -> None:
        gone = Owner("gone")
        world = DeliveryWorld(lambda _: OK, concurrency=4)
        world.delivery.submit(make_calls(numbered(100_000), owner=gone))
        world.submit("stays", owner=Owner("stays"))
        await world.until(0.05)
        assert len(asyncio.all_tasks()) == 5
        world.delivery.cancel([gone])
        assert len(world.results) == 99_996
        await world.until_results(100_001)
        assert world.outcomes()["stays"] is Outcome.OPTED_OUT

    virtual_time.run(main())


def test_closing_waits_for_calls_in_flight_and_makes_no_new_ones() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, concurrency=1)
        world.submit("a", "b")
        await world.until(0.05)
        await world.delivery.close(5.0)
        assert world.loop.time() == pytest.approx(0.1)
        assert world.outcomes() == {"b": None, "a": Outcome.OPTED_OUT}
        world.submit("late")
        assert world.outcomes()["late"] is None
        assert world.offers() == ["a"]

    virtual_time.run(main())


def test_closing_cancels_what_takes_longer_than_the_time_allowed() -> None:
    async def hang(_: OptOutCall) -> Answer:
        await asyncio.sleep(1_000)
        return OK

    async def main() -> None:
        world = DeliveryWorld(hang)
        world.submit("a")
        await world.until(0.05)
        await world.delivery.close(5.0)
        assert world.loop.time() == pytest.approx(5.05)
        assert world.outcomes() == {"a": None}
        assert world.delivery.in_flight == 0

    virtual_time.run(main())


def test_every_call_gets_exactly_one_result_whatever_is_answered() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, concurrency=8, rate_limit=50, shared_key=True)
        random = world.delivery._random
        answers = [OK, OK, NOT_FOUND, FAILED, REFUSED, ODD, TIMED_OUT]
        owners = [Owner(str(number)) for number in range(5)]
        world.insurer = lambda _: random.choice(answers)
        calls = [call for n in range(300) for call in world.submit(f"o{n}", partner=f"P{n % 3}", owner=owners[n % 5])]
        await world.until(3.0)
        world.delivery.cancel(owners[1:3])
        await world.until_results(300)
        await world.until(world.loop.time() + 1_000)
        assert sorted(map(id, (result.call for _, result in world.results))) == sorted(map(id, calls))
        assert {result.call.owner for _, result in world.results if result.outcome is None} <= set(owners[1:3])
        assert (world.delivery.queued, world.delivery.in_flight) == (0, 0)
        assert states(world.delivery.snapshot()) == {}

    virtual_time.run(main())


def test_each_call_is_logged_with_where_it_came_from_and_never_with_metadata() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED if len(world.made) == 1 else OK)
        with structlog.testing.capture_logs() as logs:
            world.submit("offer")
            await world.until_results(1)
        assert [log["attempt"] for log in logs] == [1, 2]
        assert logs[0] == {
            "event": "call answered",
            "log_level": "debug",
            "partner_code": "P",
            "offer_id": "offer",
            "session_id": "session",
            "topic": "offers",
            "partition": 3,
            "offset": 14,
            "status": 500,
            "attempt": 1,
            "elapsed": 0.1,
            "note": None,
        }
        assert "s3cr3t" not in repr(logs)

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [REFUSED, DENIED, FAILED, ODD, NOT_FOUND])
def test_an_offer_that_is_let_go_is_called_no_more_whatever_its_call_waits_for(answer: Answer) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: answer if world.loop.time() < 10 else OK, rejected="hold")
        released, _ = world.submit("released", "stays")
        await world.until(0.15)
        world.delivery.release(LET_GO)
        expected = CallResult(released, Outcome.RELEASED, answer.status_code, 1, NOTE, answer in (FAILED, ODD))
        assert world.results == [(0.15, expected)]
        calls = world.offers().count("released")
        await world.until_results(2)
        assert world.outcomes()["stays"] in {Outcome.OPTED_OUT, Outcome.NOT_FOUND}, (
            "another offer of the partner must go on"
        )
        assert world.offers().count("released") == calls == 1
        assert states(world.delivery.snapshot()) == {}

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("answers", "maybe_recorded"),
    [
        ([DENIED], False),
        ([REFUSED], False),
        ([NOT_FOUND], False),
        ([FAILED], True),
        ([TIMED_OUT], True),
        ([ODD], True),
        ([TIMED_OUT, DENIED], True),
    ],
)
def test_what_was_given_up_tells_whether_the_insurer_may_have_recorded_a_try_of_it(
    answers: list[Answer], maybe_recorded: bool
) -> None:
    async def main() -> None:
        left = iter(answers)
        world = DeliveryWorld(lambda _: next(left, answers[-1]), rejected="hold")
        world.submit("offer")
        await world.until(2.0)
        world.delivery.cancel([OWNER])
        ((_, result),) = world.results
        assert result.attempts >= len(answers)
        assert result.maybe_recorded is maybe_recorded

    virtual_time.run(main())


def test_what_is_cut_at_the_close_may_have_been_recorded() -> None:
    async def hang(_: OptOutCall) -> Answer:
        await asyncio.sleep(1_000)
        return OK

    async def main() -> None:
        world = DeliveryWorld(hang)
        world.submit("offer")
        await world.until(0.05)
        await world.delivery.close(1.0)
        assert [result.maybe_recorded for _, result in world.results] == [True]

    virtual_time.run(main())


def test_an_offer_that_is_let_go_before_its_turn_is_never_called() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, concurrency=1)
        world.submit("first", "released")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        await world.until_results(2)
        assert world.outcomes() == {"released": Outcome.RELEASED, "first": Outcome.OPTED_OUT}
        assert world.offers() == ["first"]

    virtual_time.run(main())


def test_only_the_partners_own_offer_is_let_go() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: REFUSED, rejected="hold")
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
        world = DeliveryWorld(lambda _: answer, rejected="dead-letter")
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


def test_what_is_let_go_of_a_cancelled_owner_is_still_told_apart() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED)
        world.submit("released", "cancelled")
        await world.until(0.05)
        world.delivery.release(LET_GO)
        world.delivery.cancel([OWNER])
        await world.until(1.0)
        assert world.outcomes() == {"released": Outcome.RELEASED, "cancelled": None}

    virtual_time.run(main())


def test_a_refused_call_that_is_given_up_in_flight_is_no_longer_counted_as_refused() -> None:
    slow = asyncio.Event()

    async def main() -> None:
        async def later(_: OptOutCall) -> Answer:
            await slow.wait()
            return REFUSED

        world = DeliveryWorld(lambda call: REFUSED if len(world.made) == 1 else later(call), rejected="hold")
        world.submit("released")
        await world.until(301.0)
        assert world.delivery.in_flight == 1
        world.delivery.release(LET_GO)
        slow.set()
        await world.until_results(1)
        assert world.delivery._scheduler.partner("P").refused == 0

    virtual_time.run(main())


@pytest.mark.parametrize("how", ["cancel", "withdraw", "release", "close"])
@pytest.mark.parametrize(("limit", "believed"), [(0, True), (20, False)], ids=["believed", "not believed yet"])
def test_a_404_that_comes_after_its_call_was_given_up_settles_it_if_it_is_believed(
    how: str, limit: int, believed: bool
) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: NOT_FOUND, not_found_limit=limit)
        world.submit("released")
        await world.until(0.05)
        match how:
            case "cancel":
                world.delivery.cancel([OWNER])
            case "withdraw":
                world.delivery.withdraw(OWNER, [0])
            case "release":
                world.delivery.release(LET_GO)
            case _:
                await world.delivery.close(5.0)
        await world.until(100.0)
        given_up = Outcome.RELEASED if how == "release" else None
        assert world.outcomes() == {"released": Outcome.NOT_FOUND if believed else given_up}
        assert len(world.results) == len(world.made) == 1

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, REFUSED, NOT_FOUND])
def test_a_call_in_flight_at_the_close_is_given_up_by_an_answer_that_does_not_settle_it(answer: Answer) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: answer)
        world.submit("offer")
        await world.until(0.05)
        await world.delivery.close(5.0)
        assert world.outcomes() == {"offer": None}

    virtual_time.run(main())


def test_the_lines_that_an_answer_to_a_traced_call_causes_have_its_trace() -> None:
    async def main() -> list[dict[str, object]]:
        world = DeliveryWorld(lambda _: FAILED if len(world.made) <= 3 else REFUSED if len(world.made) == 4 else OK)
        with structlog.testing.capture_logs() as logs:
            world.delivery.submit([traced_call()])
            await world.until_results(1)
            world.delivery.submit([traced_call(None)])
            await world.until_results(2)
        return [dict(entry) for entry in logs]

    lines = virtual_time.run(main())
    told = [(str(entry["event"]).partition(":")[0], entry.get("trace_id")) for entry in lines]
    assert told == [
        *[("call answered", TRACE_ID)] * 4,
        ("rejected", TRACE_ID),
        ("call answered", TRACE_ID),
        ("no rejected request of the partner waits any more", TRACE_ID),
        ("call answered", None),
    ]


def test_no_other_call_has_anything_of_a_trace() -> None:
    async def main() -> list[dict[str, object]]:
        world = DeliveryWorld(lambda _: FAILED if world.loop.time() < 100 else OK)
        with structlog.testing.capture_logs() as logs:
            world.delivery.submit(
                [
                    traced_call(None if n else "00-" + "7" * 32 + "-" + "8" * 16 + "-01", offer_id=f"{n}")
                    for n in range(6)
                ]
            )
            await world.until_results(6)
        return [dict(entry) for entry in logs]

    for line in virtual_time.run(main()):
        if "offer_id" in line:
            assert line.get("trace_id") == ("7" * 32 if line["offer_id"] == "0" else None)
