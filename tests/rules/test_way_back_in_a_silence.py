"""A way back in the middle of a silence that was noticed: what ends it is a checkout, and none has come."""

from __future__ import annotations

from dataclasses import replace

from support.changes_world import CHECKOUTS, NOW, OFFERS, ChangesWorld

from consumer.core.checkpoint import CheckoutCheckpoint, GuardState, are_new_checkouts
from consumer.core.rules import MAX_TIME


def test_a_way_back_remembers_a_silence_that_was_noticed() -> None:
    """The partition is quiet: what told of the silence stands in another one, which may be another instance's then."""
    world = ChangesWorld()
    stamps = [NOW - 100_000 + 1_000 * n for n in range(100)]
    world.consumer.stamps = {"offers": stamps, "checkouts": stamps}
    newest = stamps[98]
    held = CheckoutCheckpoint(1, 99, CHECKOUTS.horizon, GuardState(newest, stamps[0], MAX_TIME), CHECKOUTS.lookback)
    world.commit("offers", 90, _offers())
    world.commit("checkouts", 98, held.encode(98))
    world.changes.reset_to(NOW - 50_000, NOW)
    offset, text = world.left("checkouts")
    assert offset < 98
    assert not are_new_checkouts(text, offset)
    assert CheckoutCheckpoint.decode(text, offset).guard.resume_at == MAX_TIME


def _offers() -> str:

    return replace(OFFERS, decided_to=NOW - 10_000, next_offset=95, next_checkout=99, unsettled=frozenset()).encode(90)
