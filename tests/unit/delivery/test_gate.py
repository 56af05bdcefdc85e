"""The gate that every call passes at the moment it leaves."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
import structlog
from support import virtual_time
from support.delivery_world import DENIED, FAILED, NOT_FOUND, OK, REFUSED, DeliveryWorld, Highest, numbered
from support.owner import OWNER, Owner

from consumer.calls import Answer, AnswerKind, CallResult, OptOutCall, Withheld
from consumer.delivery.breaker import OFFERS_TO_OPEN
from consumer.delivery.gate import LOOK_S, OPEN, TRIAL_S, GateState, Opening
from consumer.events import Outcome

CLOSED = GateState(Opening.CLOSED, "outcomes cannot be written; look at the broker")
ONE = GateState(Opening.ONE_AT_A_TIME, "no outcome has been written yet")


class Switch:
    """A condition that the test sets. Its next answers may be scripted."""

    def __init__(self, state: GateState = OPEN) -> None:
        self.state = state
        self.script: list[GateState] = []
        self.asked = 0

    def __call__(self) -> GateState:
        self.asked += 1
        return self.script.pop(0) if self.script else self.state


def test_while_a_condition_is_closed_no_call_leaves_and_each_keeps_its_place() -> None:
    async def main() -> None:
        switch = Switch(CLOSED)
        world = DeliveryWorld(lambda _: OK, concurrency=1, conditions=[Switch(), switch])
        world.submit(*numbered(3))
        await world.until(100.0)
        assert world.made == []
        assert world.delivery.snapshot().calls.gate_closed == (CLOSED.reason,)
        switch.state = OPEN
        await world.until_results(3)
        assert world.loop.time() == pytest.approx(100.0 + LOOK_S + 0.3, abs=LOOK_S)
        assert world.offers() == numbered(3)
        assert world.delivery.snapshot().calls.gate_closed == ()

    virtual_time.run(main())


def test_a_condition_that_closes_stops_retries_too_and_leaves_those_in_flight_alone() -> None:
    async def main() -> None:
        switch = Switch()
        world = DeliveryWorld(lambda _: FAILED, random=Highest(), conditions=[switch])
        world.submit("offer")
        await world.until(0.05)
        switch.state = CLOSED
        await world.until(60.0)
        assert world.times() == [0.0]
        switch.state = OPEN
        await world.until(60.5)
        assert len(world.made) == 2

    virtual_time.run(main())


def test_a_call_given_out_just_before_a_condition_closes_takes_its_place_again() -> None:
    async def main() -> None:
        switch = Switch(CLOSED)
        switch.script = [OPEN, OPEN]
        world = DeliveryWorld(lambda _: OK, concurrency=2, conditions=[switch])
        world.submit("a", "b", "c")
        await world.until(50.0)
        assert world.offers() == ["a"], "the second look was that of the first call as it left"
        assert (world.delivery.queued, world.delivery.in_flight) == (2, 0)

    virtual_time.run(main())


def test_each_call_asks_anew_as_it_leaves_though_the_gate_was_open_just_before() -> None:
    async def main() -> None:
        switch = Switch()
        world = DeliveryWorld(lambda _: OK, concurrency=10, conditions=[switch])
        world.submit(*numbered(10))
        await world.until_results(10)
        assert 10 <= switch.asked < 20, "what only connects believes what was found just before"

    virtual_time.run(main())


def test_a_probe_that_did_not_leave_is_made_once_the_gate_is_open() -> None:
    async def main() -> None:
        switch = Switch()
        world = DeliveryWorld(lambda _: DENIED if world.loop.time() < 25 else OK, conditions=[switch])
        world.submit("offer")
        await world.until(29.99)
        switch.script, switch.state = [OPEN], CLOSED
        await world.until(31.0)
        assert len(world.made) == 1
        assert switch.script == [], "the probe was given out"
        switch.state = OPEN
        await world.until_results(1)
        assert world.loop.time() < 32.0, "not 30 s after a probe that never left"

    virtual_time.run(main())


def test_one_at_a_time_one_call_is_in_flight_and_the_next_waits_for_the_outcome_to_be_written() -> None:
    async def main() -> None:
        switch = Switch(ONE)
        world = DeliveryWorld(lambda _: OK, conditions=[switch])
        world.submit(*numbered(4))
        await world.until(3 * TRIAL_S)
        gaps = [later - earlier for earlier, later in pairwise(world.times())]
        assert len(gaps) == 2
        assert all(TRIAL_S <= gap <= TRIAL_S + 0.1 + LOOK_S for gap in gaps)
        switch.state = OPEN
        await world.until(3 * TRIAL_S + LOOK_S + 0.2)
        assert len(world.results) == 4

    virtual_time.run(main())


def test_one_at_a_time_a_call_that_did_not_settle_is_followed_by_another() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED, random=Highest(), conditions=[Switch(ONE)])
        world.submit("a", "b")
        await world.until(1.0)
        assert world.offers()[:2] == ["a", "b"]
        assert world.most_at_once == {"P": 1}

    virtual_time.run(main())


def test_a_condition_that_closes_while_calls_connect_stops_them() -> None:
    """What was asked before counts no more: a connection may take seconds."""

    async def main() -> None:
        switch = Switch()
        world = DeliveryWorld(lambda _: OK, conditions=[switch])
        world.connecting = 3.0
        world.submit(*numbered(3))
        await world.until(1.0)
        switch.state = CLOSED
        await world.until(60.0)
        assert world.made == []
        assert (world.delivery.queued, world.delivery.in_flight) == (3, 0)
        switch.state = OPEN
        await world.until_results(3)
        assert {(result.outcome, result.attempts) for _, result in world.results} == {(Outcome.OPTED_OUT, 1)}

    virtual_time.run(main())


@pytest.mark.parametrize("connecting", [1.0, TRIAL_S + 1.0])
def test_one_at_a_time_counts_for_calls_that_connect_and_one_gets_through(connecting: float) -> None:
    """Though one hangs, and though it takes longer to connect than the next one waits."""

    async def hang(_: OptOutCall) -> Answer:
        await asyncio.sleep(1_000)
        return FAILED

    async def main() -> None:
        switch = Switch()
        world = DeliveryWorld(lambda call: hang(call) if call.offer_id == "hangs" else OK, conditions=[switch])
        world.submit("hangs")
        await world.until(1.0)
        world.connecting = connecting
        world.submit(*numbered(4))
        await world.until(1.5)
        switch.state = ONE
        await world.until(80.0)
        times = world.times()
        assert len(times) == 5
        assert all(later - earlier >= TRIAL_S for earlier, later in pairwise(times[1:]))

    virtual_time.run(main())


def test_the_condition_that_opens_least_counts() -> None:
    async def main() -> None:
        one, other = Switch(CLOSED), Switch(ONE)
        world = DeliveryWorld(lambda _: OK, conditions=[other, one])
        world.submit("offer")
        await world.until(10.0)
        assert world.made == []
        calls = world.delivery.snapshot().calls
        assert (calls.gate_narrow, calls.gate_closed) == ((ONE.reason,), (CLOSED.reason,))

    virtual_time.run(main())


def test_closing_and_opening_are_logged_once_each_though_nothing_else_happens() -> None:
    async def main() -> None:
        switch = Switch(CLOSED)
        world = DeliveryWorld(lambda _: OK, conditions=[switch])
        with structlog.testing.capture_logs() as logs:
            world.submit("offer")
            await world.until(10.0)
            world.delivery.cancel([OWNER])
            switch.state = OPEN
            await world.until(11.0)
        assert [(log["log_level"], log.get("why")) for log in logs] == [("warning", CLOSED.reason), ("info", None)]
        assert "calls leave again" in logs[1]["event"]

    virtual_time.run(main())


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_what_waits_at_a_closed_gate_is_reported_once_when_it_is_given_up(how: str) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, conditions=[Switch(CLOSED)])
        world.submit("a", "b")
        await world.until(1.0)
        if how == "cancel":
            world.delivery.cancel([OWNER])
        else:
            await world.delivery.close(1.0)
        assert world.outcomes() == {"a": None, "b": None}
        await world.until(5.0)
        assert len(world.results) == 2
        assert world.made == []

    virtual_time.run(main())


def test_a_call_given_out_and_cancelled_before_it_left_is_not_made() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK)
        world.submit("offer")
        await asyncio.sleep(0)  # the queue is looked through, and the call given out
        assert world.delivery.in_flight == 1
        world.delivery.cancel([OWNER])
        await world.until(1.0)
        assert world.made == []
        assert world.outcomes() == {"offer": None}

    virtual_time.run(main())


def test_without_conditions_every_call_leaves() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK)
        world.submit(*numbered(100))
        await world.until_results(100)
        assert set(world.outcomes().values()) == {Outcome.OPTED_OUT}

    virtual_time.run(main())


# --- what the owner withholds


@pytest.mark.parametrize(
    ("withheld", "outcome", "note"), [(Withheld(), None, None), (Withheld("let go"), Outcome.RELEASED, "let go")]
)
def test_a_call_that_its_owner_withholds_is_given_up_as_it_would_leave(
    withheld: Withheld, outcome: Outcome | None, note: str | None
) -> None:
    async def main() -> None:
        owner = Owner()
        world = DeliveryWorld(lambda _: OK)
        _, call = world.submit("stays", "withheld", owner=owner)
        owner.withheld[1] = withheld
        await world.until(5.0)
        assert world.offers() == ["stays"]
        assert [result for _, result in world.results if result.call is call] == [
            CallResult(call, outcome, None, 0, note)
        ]
        assert len(world.results) == 2
        assert (world.delivery.queued, world.delivery.in_flight) == (0, 0)

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [FAILED, NOT_FOUND, REFUSED, DENIED])
def test_the_owner_is_asked_before_every_try(answer: Answer) -> None:
    async def main() -> None:
        owner = Owner()
        world = DeliveryWorld(lambda _: answer, not_found_limit=1)
        (call,) = world.submit("offer", owner=owner)
        await world.until(0.15)
        owner.withheld[0] = Withheld()
        await world.until(400.0)
        assert len(world.made) == 1
        ((_, result),) = world.results
        assert (result.call, result.outcome, result.attempts) == (call, None, 1)

    virtual_time.run(main())


def test_a_call_withheld_after_it_was_given_out_does_not_leave() -> None:
    async def main() -> None:
        owner = Owner()
        world = DeliveryWorld(lambda _: OK)
        world.submit("offer", owner=owner)
        await asyncio.sleep(0)
        assert world.delivery.in_flight == 1
        owner.withheld[0] = Withheld()
        await world.until(1.0)
        assert world.made == []
        assert world.outcomes() == {"offer": None}

    virtual_time.run(main())


def test_a_probe_that_is_withheld_is_followed_by_another_at_once() -> None:
    async def main() -> None:
        owner = Owner()
        world = DeliveryWorld(lambda _: DENIED if world.loop.time() < 25 else OK, concurrency=1)
        world.submit("a", "b", owner=owner)
        await world.until(29.0)
        owner.withheld[1] = Withheld()
        await world.until(31.0)
        assert world.offers() == ["a", "a"], "b was in turn, and did not cost the partner 30 s"

    virtual_time.run(main())


def test_what_flies_is_not_cut_though_its_owner_withholds_it_and_is_tried_no_more() -> None:
    async def main() -> None:
        owner = Owner()
        answers = {"heard": OK, "fails": FAILED}
        world = DeliveryWorld(lambda call: answers[call.offer_id])
        world.submit(*answers, owner=owner)
        await world.until(0.05)
        owner.withheld |= {0: Withheld(), 1: Withheld()}
        await world.until(100.0)
        assert world.outcomes() == {"heard": Outcome.OPTED_OUT, "fails": None}
        assert len(world.made) == 2

    virtual_time.run(main())


def test_a_call_that_is_withheld_while_it_waits_for_its_connection_was_no_try() -> None:
    """Nothing of it was sent: the insurer cannot have it, and it speaks neither against the partner nor for it."""

    async def main() -> None:
        owner = Owner()

        def answers(call: OptOutCall) -> Answer:
            if call.offer_id != "last":
                owner.withheld[call.chain_start] = Withheld()
                return Answer(AnswerKind.WITHHELD)
            return OK

        world = DeliveryWorld(answers, concurrency=10)
        with structlog.testing.capture_logs() as logs:
            world.submit(*numbered(OFFERS_TO_OPEN), "last", owner=owner)
            await world.until_results(OFFERS_TO_OPEN + 1)
        results = {result.call.offer_id: result for _, result in world.results}
        assert results.pop("last").outcome is Outcome.OPTED_OUT
        assert {(result.outcome, result.attempts, result.maybe_recorded) for result in results.values()} == {
            (None, 0, False)
        }
        assert not [line for line in logs if line["log_level"] == "warning"]

    virtual_time.run(main())


def test_a_call_whose_owner_withheld_it_for_a_moment_only_is_made() -> None:
    async def main() -> None:
        script = [Answer(AnswerKind.WITHHELD), OK]
        world = DeliveryWorld(lambda _: script.pop(0))
        world.submit("offer")
        await world.until_results(1)
        _, result = world.results[0]
        assert (result.outcome, result.attempts) == (Outcome.OPTED_OUT, 1)

    virtual_time.run(main())


def test_telling_why_it_is_closed_asks_no_condition_anew() -> None:
    """For some it counts since when they are asked: whoever looks must not begin a wait."""

    async def main() -> None:
        switch = Switch(CLOSED)
        world = DeliveryWorld(lambda _: OK, conditions=[switch])
        assert world.delivery.snapshot().calls.gate_closed == ()
        assert switch.asked == 0
        world.submit("offer")
        await world.until(1.0)
        asked = switch.asked
        assert world.delivery.snapshot().calls.gate_closed == (CLOSED.reason,)
        assert switch.asked == asked > 0

    virtual_time.run(main())
