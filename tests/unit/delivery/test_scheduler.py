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
    NOT_FOUND,
    OK,
    REFUSED,
    DeliveryWorld,
    Highest,
    never,
    numbered,
    slow_down,
    states,
)
from support.owner import OWNER, Owner

from consumer.calls import Answer, OptOutCall
from consumer.delivery import queue, runs
from consumer.delivery import scheduler as scheduler_file
from consumer.delivery.partner import Partner, PendingCall
from consumer.delivery.scheduler import MOST_IDLE
from consumer.events import Outcome


def test_a_partner_that_hangs_takes_at_most_half_of_the_slots() -> None:
    def insurer(call: OptOutCall) -> object:
        return never(call) if call.partner_code == "HANGS" else OK

    async def main() -> None:
        world = DeliveryWorld(insurer, concurrency=8, shared_key=True)  # type: ignore[arg-type]
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
        world = DeliveryWorld(lambda _: OK, concurrency=8)
        world.submit(*numbered(100))
        await world.until_results(100)
        assert world.most_at_once["P"] == 8

    virtual_time.run(main())


@pytest.mark.parametrize("shared_key", [True, False])
def test_a_partner_has_all_slots_again_when_no_other_waits_any_more(shared_key: bool) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, concurrency=8, shared_key=shared_key)
        world.submit("once", partner="SEEN-ONCE")
        await world.until_results(1)
        world.submit(*numbered(80))
        await world.until_results(81)
        assert world.most_at_once["P"] == 8
        assert world.loop.time() == pytest.approx(0.1 + 80 / 8 * 0.1)

    virtual_time.run(main())


def test_a_partner_whose_calls_are_stopped_waits_for_no_slot() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=8)
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
        world = DeliveryWorld(lambda call: slow(call) if call.partner_code == "SLOW" else OK, concurrency=8)
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
        world = DeliveryWorld(insurer, concurrency=4, rate_limit=1)  # type: ignore[arg-type]
        world.submit(*numbered(20), partner="FINE")
        world.submit(*numbered(50), partner="HANGS")
        await world.until(9.5)
        assert world.times("FINE") == pytest.approx([float(second) for second in range(10)])
        assert world.most_at_once["HANGS"] == 2

    virtual_time.run(main())


def test_partners_of_one_credential_take_turns_whatever_their_backlogs() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, rate_limit=10, shared_key=True)
        world.submit(*numbered(10_000), partner="LARGE")
        await world.until(1.0)
        world.submit(*numbered(10), partner="SMALL")
        await world.until(3.2)
        assert len(world.times("SMALL")) == 10
        assert all(after - before <= 0.3 for before, after in pairwise(world.times("SMALL")))

    virtual_time.run(main())


def test_credentials_take_turns_when_slots_are_short() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, concurrency=1)
        world.submit(*numbered(1_000), partner="LARGE")
        world.submit(*numbered(10), partner="SMALL")
        await world.until(2.05)
        assert len(world.times("SMALL")) == 10

    virtual_time.run(main())


def test_a_new_call_leaves_at_once_while_others_wait_for_another_try() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: FAILED if call.offer_id in {"x", "y"} else OK, random=Highest())
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
        world = DeliveryWorld(lambda call: DENIED if call.partner_code == "DENIED" else OK, concurrency=64)
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


# --- partners without a call


def test_of_100_000_partner_codes_only_the_last_ones_are_remembered() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK)
        scheduler = world.delivery._scheduler
        for number in range(100_000):
            scheduler.idle(scheduler.partner(f"P{number}"))
            assert len(scheduler._partners) == len(scheduler._limiters) == len(scheduler._idle) <= MOST_IDLE
        assert {partner.code for partner in scheduler.partners()} == {f"P{99_000 + number}" for number in range(1_000)}

    virtual_time.run(main())


@pytest.mark.parametrize("shared_key", [True, False])
@pytest.mark.parametrize("answer", [OK, NOT_FOUND, REFUSED, DENIED], ids=["204", "404", "422", "403"])
def test_a_partner_is_forgotten_whatever_it_was_answered(answer: Answer, shared_key: bool) -> None:
    async def main() -> None:
        settings = {"rejected": "dead-letter", "not_found_limit": 0}
        world = DeliveryWorld(lambda _: answer, shared_key=shared_key, concurrency=1_000, **settings)
        world.latency = 0.0
        for batch in range(4):
            for number in range(1_000):
                world.submit("offer", partner=f"P{batch}-{number}", owner=OWNER)
            await asyncio.sleep(0.1)
            if answer is DENIED:
                world.delivery.cancel([OWNER])
            scheduler = world.delivery._scheduler
            assert len(scheduler.partners()) <= MOST_IDLE + 1_000
            assert len(scheduler._limiters) <= MOST_IDLE + 1_000
        assert len(world.results) == 4_000
        assert len(scheduler.partners()) == len(scheduler._idle) == MOST_IDLE
        assert len(scheduler._waiting) + len(scheduler._parked) == 0

    virtual_time.run(main())


def test_404s_in_a_row_are_counted_on_however_many_others_come_between() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: NOT_FOUND if call.partner_code == "slow" else OK, not_found_limit=2)
        world.submit("first", partner="slow")
        await world.until(61.0)
        assert world.outcomes() == {"first": Outcome.NOT_FOUND}, "believed, with no 204"
        for number in range(2 * MOST_IDLE):
            world.submit("other", partner=f"P{number}")
        await world.until(70.0)
        assert "slow" not in {partner.code for partner in world.delivery._scheduler.partners()}
        world.submit("second", partner="slow")
        await world.until(200.0)
        assert "second" not in world.outcomes(), "two in a row are not believed, however slowly they come"

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("answer", "outcome", "most"), [(NOT_FOUND, Outcome.NOT_FOUND, 9), (REFUSED, Outcome.DEAD_LETTERED, 10)]
)
def test_partners_in_turn_lose_no_more_offers_than_one_alone(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, outcome: Outcome, most: int
) -> None:
    monkeypatch.setattr(scheduler_file, "MOST_IDLE", 3)

    async def main() -> None:
        right = {"P3"}
        world = DeliveryWorld(
            lambda call: OK if call.partner_code in right else answer,
            not_found_limit=10,
            rejected="dead-letter",
            max_refused_run=10,
        )
        for number in range(20):
            for partner in range(9):
                world.submit(f"o{number}", partner=f"P{partner}")
                await world.until(world.loop.time() + 10.0)
        lost = Counter(result.call.partner_code for _, result in world.results if result.outcome is outcome)
        assert lost == {f"P{number}": most for number in range(9) if number != 3}
        right.update(f"P{number}" for number in range(9))
        await world.until(world.loop.time() + 1_000.0)
        assert len(world.results) == 20 * 9, "those that were held are told once the route is right"

    virtual_time.run(main())


def test_once_more_runs_are_open_than_are_kept_no_404_of_a_forgotten_partner_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_file, "MOST_IDLE", 3)
    monkeypatch.setattr(runs, "MOST_KEPT", 2)

    async def main() -> None:
        world = DeliveryWorld(lambda call: OK if call.offer_id == "known" else NOT_FOUND, not_found_limit=3)
        for number in range(6):
            for partner in range(9):
                world.submit(f"o{number}", partner=f"P{partner}")
                await world.until(world.loop.time() + 10.0)
        lost = Counter(result.call.partner_code for _, result in world.results)
        assert max(lost.values()) == 2, "as many as a partner alone loses"
        world.submit("o", partner="new")
        await world.until(world.loop.time() + 1_000.0)
        assert states(world.delivery.snapshot())["new"].startswith("nothing but 404s")
        world.submit("known", partner="new")
        await world.until(world.loop.time() + 200.0)
        assert "new" not in states(world.delivery.snapshot()), "a 204 begins the count anew"
        (told,) = [result for _, result in world.results if result.call.offer_id == "o"]
        assert told.outcome is Outcome.NOT_FOUND

    virtual_time.run(main())


def test_a_partner_whose_credential_changed_is_forgotten_with_the_limiter_that_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_file, "MOST_IDLE", 2)

    async def main() -> None:
        keys: dict[str, str] = {}
        world = DeliveryWorld(lambda _: OK, credential_of=lambda code: keys.get(code, f"key of {code}"))
        scheduler = world.delivery._scheduler
        scheduler.idle(scheduler.partner("P"))
        for new_key in ("new key", "key of Q"):
            keys["P"] = new_key
            for code in ("Q", "R", "S"):
                scheduler.idle(scheduler.partner(code))
            assert set(scheduler._limiters) == {"key of R", "key of S"}, "only those of the partners that are known"
            keys.clear()
            scheduler.idle(scheduler.partner("P"))

    virtual_time.run(main())


def test_the_limiter_of_another_partner_is_not_forgotten_with_one_whose_credential_changed_to_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_file, "MOST_IDLE", 2)

    async def main() -> None:
        keys = {"P": "old"}
        world = DeliveryWorld(lambda _: OK, credential_of=lambda code: keys.get(code, "shared"))
        scheduler = world.delivery._scheduler
        scheduler.idle(scheduler.partner("P"))
        keys["P"] = "shared"
        shared = scheduler.partner("Q").limiter
        scheduler.idle(scheduler.partner("R"))
        scheduler.idle(scheduler.partner("S"))
        assert {partner.code for partner in scheduler.partners()} == {"Q", "R", "S"}
        assert scheduler.partner("P").limiter is shared
        assert set(scheduler._limiters) == {"shared"}

    virtual_time.run(main())


@pytest.mark.parametrize("shared_key", [True, False])
def test_a_credential_that_is_told_to_wait_waits_though_its_partners_are_forgotten(shared_key: bool) -> None:
    async def main() -> None:
        other = Owner("other")
        answers = {"told": slow_down(250.0)}
        world = DeliveryWorld(lambda call: answers.get(call.offer_id, OK), shared_key=shared_key)
        world.submit("told", partner="waits")
        await world.until(0.2)
        world.delivery.cancel([OWNER])
        answers.clear()
        for number in range(3 * MOST_IDLE):
            world.submit("other", partner=f"P{number}", owner=other)
        await world.until(10.0)
        world.submit("offer", partner="waits", owner=other)
        await world.until(249.0)
        assert world.offers("waits") == ["told"]
        await world.until(260.0)
        assert world.offers("waits") == ["told", "offer"]
        assert len(world.delivery._scheduler.partners()) <= MOST_IDLE + 1

    virtual_time.run(main())
