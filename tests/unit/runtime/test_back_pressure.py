"""What is read no further while too much is unsettled."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.loop_world import TOPICS, LoopWorld, Waiting

from consumer.calls import CallResult
from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side
from consumer.events import Outcome
from consumer.runtime import suspension
from consumer.runtime.clock_check import ClockCheck


def test_reading_pauses_when_too_much_is_unsettled(world: LoopWorld) -> None:
    world.set_max_unsettled(1)
    world.decide()
    world.turn()
    assert world.consumer.paused == {"offers"}, "a checkout may be a purchase that takes back a call"
    world.delivery.answer()
    world.turn()
    assert world.consumer.paused == set()


def test_reading_goes_on_when_a_tenth_of_max_unsettled_is_settled(waiting: Waiting) -> None:
    waiting.set_max_unsettled(10)
    waiting.turn([offer(n, 10_000, session=f"s{n}") for n in range(9)])
    waiting.idle(20_000)
    assert waiting.consumer.paused == set(), "nine are not ten"
    waiting.turn([offer(9, 20_000)])
    waiting.idle(30_000)
    calls = waiting.delivery.calls
    with capture_logs() as logs:
        waiting.turn()
        assert len(waiting.consumer.paused) == 1
        for left, paused in ((9, 1), (8, 0)):
            waiting.results.ready.append(CallResult(calls[left], Outcome.OPTED_OUT, 204, 1, None))
            waiting.turn()
            assert len(waiting.consumer.paused) == paused
    assert [line["unsettled"] for line in logs if "reading" in line["event"]] == [8]


def test_with_too_much_unsettled_a_silence_still_reads_the_checkouts_that_end_it() -> None:
    world = LoopWorld(join={"checkout_silence": timedelta(seconds=5)})
    world.begin()
    world.set_max_unsettled(1)
    world.turn([checkout(0, 10_000), offer(0, 10_000)])
    world.idle(12_000)
    assert len(world.delivery.calls) == 1
    assert world.consumer.paused == {"offers"}
    world.turn([offer(1, 16_000, session="s1")])
    world.idle(16_000)
    assert world.consumer.paused == {"offers"}


def test_with_too_much_unsettled_and_decisions_held_what_waits_for_our_clock_still_stops_its_input() -> None:
    check = ClockCheck(lambda: 1_000.0, lambda: 0.0, max_skew=10.0, ask=lambda: None)
    world = LoopWorld(clock_check=check)
    world.begin()
    world.decide()
    world.set_max_unsettled(1)
    check.api_told(1_000.0 + 3_600.0, 0.0, 0.0)
    world.turn()
    assert world.consumer.paused == {"offers"}, "checkouts may take back calls that wait"
    world.turn([checkout(0, 1_500_000)])
    assert world.runner.waiting.sides == {Side.CHECKOUTS}
    assert world.consumer.paused == set(TOPICS), "or all that is written until the clock is mended is kept in memory"


@pytest.mark.parametrize("by", [SuspendedBy.UNMATCHED, SuspendedBy.CLOCK, SuspendedBy.NONE])
def test_checkouts_are_not_read_without_bound_while_offers_are_not_and_decisions_are_held(
    by: SuspendedBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids match nothing for a weekend, or our clock is wrong. Nothing above the watermark is forgotten."""
    monkeypatch.setattr(suspension, "_LEAST_KEPT", 40)
    check = ClockCheck(lambda: 10_000.0, lambda: 0.0, max_skew=10.0, ask=lambda: None)
    limit = 2 if by is SuspendedBy.UNMATCHED else 0
    world = LoopWorld(join={"unmatched_limit": limit, "checkout_silence": timedelta(0)}, clock_check=check)
    world.now = 10_000.0
    world.begin()
    world.set_max_unsettled(1)
    world.decide()
    if by is SuspendedBy.CLOCK:
        check.api_told(10_000.0 - 3_600.0, 0.0, 0.0)
    if by is SuspendedBy.UNMATCHED:
        world.turn([checkout(0, 10_000, "booking-1", "booking-2", session="s9")])
    world.turn()
    world.turn([offer(1, 20_000, session="s1")])
    assert world.loop.suspension.by is by
    assert "offers" in world.consumer.paused
    before = world.loop.sessions
    with capture_logs() as logs:
        for n in range(200):
            if "checkouts" not in world.consumer.paused:
                world.turn([checkout(1 + n, 20_000 + 1_000 * n, session=f"later{n}")])
                world.turn()
    most = 40 if by is SuspendedBy.UNMATCHED else 20  # one comes a second, and lookback is two seconds
    assert 0 < world.loop.sessions - before <= most
    told = [line for line in logs if line["event"].startswith("checkouts are read no further")]
    assert len(told) == (by is SuspendedBy.UNMATCHED)


def test_what_ends_by_a_newer_checkout_is_read_to_it_however_far_ahead_it_is() -> None:
    """The silence has lasted for longer than lookback, and so much is undecided that no offer is read."""
    world = LoopWorld(join={"checkout_silence": timedelta(seconds=5), "lateness": timedelta(seconds=1)})
    world.begin()
    world.set_max_unsettled(1)
    world.turn([checkout(0, 10_000, session="s8"), *(offer(n, 16_000 + n, session=f"s{n}") for n in range(3))])
    world.idle(18_000)
    world.turn([offer(3, 18_000, session="s3")])
    assert world.loop.suspension.by is SuspendedBy.SILENCE
    assert "offers" in world.consumer.paused
    n = 0
    while world.loop.suspension.by is not SuspendedBy.NONE:
        assert "checkouts" not in world.consumer.paused
        n += 1
        world.turn([checkout(n, 60_000 + 1_000 * n, session=f"later{n}")])
    assert n > 1, "they had to land"
