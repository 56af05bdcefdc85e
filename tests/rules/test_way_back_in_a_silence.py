"""A way back in the middle of a silence that was noticed: what ends it is a newer checkout, and none has come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.changes_world import CHECKOUTS, NOW, OFFERS, RULES, ChangesWorld

from consumer.core.checkpoint import CheckoutCheckpoint, GuardState
from consumer.core.rules import MAX_TIME, MIN_TIME

STAMPS = [NOW - 100_000 + 1_000 * n for n in range(100)]


@pytest.mark.parametrize("back", [50_000, 100_000_000])
@pytest.mark.parametrize(
    ("found", "left"),
    [
        (GuardState(STAMPS[98], STAMPS[0], MAX_TIME, 3, STAMPS[90]), GuardState(STAMPS[98], resume_at=MAX_TIME)),
        (GuardState(MIN_TIME, STAMPS[0], MAX_TIME), GuardState(resume_at=MAX_TIME)),
        (GuardState(STAMPS[98], resume_at=NOW + 1), GuardState(resume_at=NOW + 1)),
        (GuardState(STAMPS[98], resume_at=NOW - RULES.lateness), GuardState()),
    ],
    ids=["silent", "silent from the first offer on", "landing", "landed"],
)
def test_a_way_back_remembers_what_the_logs_do_not_tell(found: GuardState, left: GuardState, back: int) -> None:
    """The partition may be quiet: what told of the silence stands in another one, which may be another instance's by
    then. The newest checkout would hide gaps between those that are read again, where no silence holds them all."""
    world = ChangesWorld()
    world.consumer.stamps = {"offers": STAMPS, "checkouts": STAMPS}
    world.commit(
        "offers", 90, replace(OFFERS, decided_to=NOW - 10_000, next_offset=95, unsettled=frozenset()).encode(90)
    )
    world.commit("checkouts", 98, CheckoutCheckpoint(1, 99, CHECKOUTS.horizon, found, CHECKOUTS.lookback).encode(98))
    world.changes.reset_to(NOW - back, NOW)
    offset, checkpoint = world.checkouts()
    assert offset < 98
    assert (GuardState() if checkpoint is None else checkpoint.guard) == left
