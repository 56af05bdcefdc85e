"""A hand-over waits for calls in flight: meanwhile nothing is read, so that none is bad either."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.builders import raw
from support.loop_world import Waiting, revoke

from consumer.core.checkpoint import OfferCheckpoint

BAD = [raw("offers", offset, f"s{offset}", b"\x00 another schema") for offset in range(1, 61)]


@pytest.mark.parametrize("seconds", [1, 10])
def test_a_hand_over_that_waits_for_calls_settles_nothing_of_a_row_either(seconds: int) -> None:
    """10 s are `kafka.revoke_timeout` as shipped; an API that hangs has calls in flight for as long."""
    world = Waiting(revoke_timeout=timedelta(seconds=seconds))
    world.begin()
    world.decide()  # its call is under way, and has no answer
    world.turn(BAD)
    world.turn(revoke)
    offset = world.consumer.committed_offsets["offers", 0]
    found = OfferCheckpoint.decode(world.consumer.texts["offers", 0, offset], offset)
    assert set(range(1, 61)) <= found.unsettled, f"of 60 that are bad none is settled by a hand-over: {found.dead}"
