"""Checkouts that are read on while offers are not: what bounds them?"""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.builders import checkout, offer
from support.loop_world import LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck


@pytest.mark.parametrize("by", [SuspendedBy.UNMATCHED, SuspendedBy.CLOCK, SuspendedBy.NONE])
def test_while_decisions_are_held_and_offers_are_read_no_further_checkouts_are_not_read_without_bound(
    by: SuspendedBy,
) -> None:
    """A weekend: the ids match nothing, or our clock is wrong. All that is written meanwhile would be in memory, since
    nothing above W is forgotten; and as it counts as read, a restart reads all of it again."""
    check = ClockCheck(lambda: 1_000.0, lambda: 0.0, max_skew=10.0, ask=lambda: None)
    world = LoopWorld(
        join={"unmatched_limit": 2 if by is SuspendedBy.UNMATCHED else 0, "checkout_silence": timedelta(0)},
        clock_check=check,
    )
    world.begin()
    world.set_max_unsettled(1)
    world.decide()
    if by is SuspendedBy.CLOCK:
        check.api_told(1_000.0 - 3_600.0, 0.0, 0.0)
    if by is SuspendedBy.UNMATCHED:
        world.turn([checkout(0, 10_000, "booking-1", "booking-2", session="s9")])
    world.turn()
    world.turn([offer(1, 20_000, session="s1")])
    assert world.loop.suspension.by is by
    assert "offers" in world.consumer.paused
    before = world.loop.sessions
    for n in range(200):  # 100 lookbacks
        if "checkouts" not in world.consumer.paused:
            world.turn([checkout(1 + n, 20_000 + 1_000 * n, session=f"later{n}")])
            world.turn()
    assert world.loop.sessions - before < 20, "lookback is two seconds, and one checkout comes a second"


def test_first_calls_are_not_given_out_while_checkouts_only_wait_for_somebody_to_tell_the_time() -> None:
    """So many are unsettled that no offer is read. The first checkout is dated ahead of our clock, which nobody has
    confirmed yet: it waits, and those behind it are read in the moment in which the API tells. But the calls were given
    out meanwhile, and leave in that moment too: the gate opens before what was there at the start is read."""
    check = ClockCheck(lambda: 1_000.0, lambda: 0.0, max_skew=10.0, ask=lambda: None)
    world = LoopWorld(clock_check=check)
    world.consumer.ends["checkouts"] = 5
    world.set_max_unsettled(1)
    world.begin()
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    world.turn()
    assert world.delivery.calls == []
    world.turn([checkout(0, 1_500_000, session="another")])
    assert world.runner.waiting() != set()
    world.turn()
    check.api_told(1_000.0, 0.0, 0.0)
    world.turn()
    assert world.runner.waiting() == set()
    assert check.gate().opening is Opening.OPEN
    leave = [call.offer_id for call in world.delivery.calls if world.runner.withholds(call) is None]
    assert leave == [], "four checkouts that were there are not read, and now they may be"
