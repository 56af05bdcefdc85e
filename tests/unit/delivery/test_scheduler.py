"""Whose turn it is."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import pairwise
from typing import NoReturn

import pytest
from support import virtual_time
from support.delivery_world import (
    DENIED,
    FAILED,
    OK,
    Highest,
    World,
    never,
    numbered,
)

from consumer.calls import Answer, OptOutCall
from consumer.delivery import queue
from consumer.delivery.partner import Partner, PendingCall
from consumer.events import Outcome


def test_a_partner_that_hangs_takes_at_most_half_of_the_slots() -> None:
    def insurer(call: OptOutCall) -> object:
        return never(call) if call.partner_code == "HANGS" else OK

    async def main() -> None:
        world = World(insurer, concurrency=8, shared_key=True)  # type: ignore[arg-type]
        world.submit(*numbered(500), partner="HANGS")
        world.submit(*numbered(400, "f"), partner="FINE")
        await world.until_results(390)
        assert world.most_at_once["HANGS"] == 4
        await world.until_results(400)
        assert world.loop.time() <= 400 / 4 * 0.1 + 0.2, "the other half of the slots is never idle"
        assert world.most_at_once["HANGS"] == 8, "no other waits any more"

    virtual_time.run(main())


def test_a_partner_alone_may_take_all_slots() -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=8)
        world.submit(*numbered(100))
        await world.until_results(100)
        assert world.most_at_once["P"] == 8

    virtual_time.run(main())


@pytest.mark.parametrize("shared_key", [True, False])
def test_a_partner_has_all_slots_again_when_no_other_waits_any_more(shared_key: bool) -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=8, shared_key=shared_key)
        world.submit("once", partner="SEEN-ONCE")
        await world.until_results(1)
        world.submit(*numbered(80))
        await world.until_results(81)
        assert world.most_at_once["P"] == 8
        assert world.loop.time() == pytest.approx(0.1 + 80 / 8 * 0.1)

    virtual_time.run(main())


def test_a_partner_whose_calls_are_stopped_waits_for_no_slot() -> None:
    async def main() -> None:
        world = World(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=8)
        world.submit(*numbered(500), partner="DENIED")
        await world.until(1.0)
        world.submit(*numbered(800, "g"), partner="GOOD")
        await world.until_results(800)
        assert world.most_at_once["GOOD"] == 8
        assert world.loop.time() == pytest.approx(1.0 + 800 / 8 * 0.1, abs=0.2)
        await world.until(31.0)
        assert world.times("DENIED")[-1] == pytest.approx(30.1, abs=0.1), "its probe finds a slot all the same"

    virtual_time.run(main())


def test_slots_kept_for_others_are_given_back_as_soon_as_no_other_waits() -> None:
    """Not only when one of the waiting partner's own calls ends: those may take as long as a time-out."""

    async def slow(_: OptOutCall) -> Answer:
        await asyncio.sleep(9.0)
        return OK

    async def main() -> None:
        world = World(lambda call: slow(call) if call.partner_code == "SLOW" else OK, concurrency=8)
        world.submit(*numbered(8), partner="SLOW")
        world.submit(*numbered(6, "f"), partner="FINE")
        await world.until(1.0)
        assert world.times("SLOW") == [0.0] * 4 + [0.1] * 2 + [0.2] * 2

    virtual_time.run(main())


def test_a_rate_limited_partner_finds_a_slot_kept_for_it() -> None:
    """It waits for its rate, not for a slot; but when its time comes there must be one."""

    def insurer(call: OptOutCall) -> object:
        return never(call) if call.partner_code == "HANGS" else OK

    async def main() -> None:
        world = World(insurer, concurrency=4, rate_limit=1)  # type: ignore[arg-type]
        world.submit(*numbered(20), partner="FINE")
        world.submit(*numbered(50), partner="HANGS")
        await world.until(9.5)
        assert world.times("FINE") == pytest.approx([float(second) for second in range(10)])
        assert world.most_at_once["HANGS"] == 2

    virtual_time.run(main())


def test_partners_of_one_credential_take_turns_whatever_their_backlogs() -> None:
    async def main() -> None:
        world = World(lambda _: OK, rate_limit=10, shared_key=True)
        world.submit(*numbered(10_000), partner="LARGE")
        await world.until(1.0)
        world.submit(*numbered(10), partner="SMALL")
        await world.until(3.2)
        assert len(world.times("SMALL")) == 10
        assert all(after - before <= 0.3 for before, after in pairwise(world.times("SMALL")))

    virtual_time.run(main())


def test_credentials_take_turns_when_slots_are_short() -> None:
    async def main() -> None:
        world = World(lambda _: OK, concurrency=1)
        world.submit(*numbered(1_000), partner="LARGE")
        world.submit(*numbered(10), partner="SMALL")
        await world.until(2.05)
        assert len(world.times("SMALL")) == 10

    virtual_time.run(main())


def test_a_new_call_leaves_at_once_while_others_wait_for_another_try() -> None:
    async def main() -> None:
        world = World(lambda call: FAILED if call.offer_id in {"x", "y"} else OK, random=Highest())
        world.submit("x", "y")
        await world.until(50.0)
        world.submit("new")
        await world.until(50.2)
        assert world.outcomes() == {"new": Outcome.OPTED_OUT}

    virtual_time.run(main())


def test_a_hundred_thousand_calls_that_wait_are_not_looked_through_while_others_are_made() -> None:
    class Unlooked(deque[PendingCall]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("looked through")

        __contains__ = __reversed__ = index = count = remove = __iter__  # type: ignore[assignment]

    taken: Counter[str] = Counter()

    class Counted(Partner):
        def take(self, now: float) -> PendingCall | None:
            taken[self.code] += 1
            return super().take(now)

    async def main() -> None:
        world = World(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=64)
        world.delivery._scheduler.partner("DENIED").fresh = Unlooked()
        world.delivery._scheduler.partner("GOOD").fresh = Unlooked()
        world.submit(*numbered(100_000), partner="DENIED")
        await world.until(1.0)
        world.submit(*numbered(10_000, "g"), partner="GOOD")
        await world.until(20.0)
        assert len(world.results) == 10_000
        assert 10_000 <= taken["GOOD"] <= 10_000 + 2
        assert taken["DENIED"] <= 64 + 66, "one look each time that one of its calls ends, none for those of others"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "Partner", Counted)
        virtual_time.run(main())
