"""What the delivery is doing, as a frozen value: who is stopped, by what, and how many calls wait."""

from __future__ import annotations

from support import virtual_time
from support.delivery_world import DENIED, FAILED, NOT_FOUND, OK, REFUSED, DeliveryWorld, numbered, slow_down

from consumer.calls import Answer
from consumer.delivery.breaker import OFFERS_TO_OPEN
from consumer.delivery.doing import MOST_TOLD
from consumer.snapshot import MOST_PARTNERS, OTHER, STOPS


def test_each_stop_is_named_and_gone_once_calls_succeed() -> None:
    async def main() -> None:
        answers: dict[str, Answer] = {
            "denied": DENIED, "failing": FAILED, "slow": slow_down(30.0), "unknown": NOT_FOUND, "wrong": REFUSED,
        }  # fmt: skip
        world = DeliveryWorld(lambda call: answers.get(call.partner_code, OK), not_found_limit=3)
        for partner in answers:
            world.submit(*numbered(OFFERS_TO_OPEN), partner=partner)
        await world.until(5.0)
        calls = world.delivery.snapshot().calls
        assert calls.stopped == {
            "denied": ("credentials",),
            "failing": ("breaker",),
            # Calls that were in flight fail too, and a 429 is a failure.
            "slow": ("breaker", "retry_after"),
            "unknown": ("not_found",),
            "wrong": ("rejected",),
        }
        assert {stop for stops in calls.stopped.values() for stop in stops} == set(STOPS)
        assert calls.unsettled == dict.fromkeys(answers, OFFERS_TO_OPEN)
        (denied,) = [one for one in world.delivery.snapshot().partners if one.code == "denied"]
        assert (denied.stopped_by, denied.last_status, denied.last_note) == (("credentials",), 403, "no access")
        assert denied.words.startswith("credentials refused")
        assert denied.answered == {"403": calls.answers["denied", "403"]}
        answers.clear()
        await world.until(1_000.0)
        calls = world.delivery.snapshot().calls
        assert set(calls.stopped.values()) == {()}, "known, and not stopped"
        assert set(calls.unsettled.values()) == {0}
        assert calls.retried == sum(calls.retries.values()) > 0

    virtual_time.run(main())


def test_what_was_taken_does_not_change() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK)
        world.submit("o-1")
        before = world.delivery.snapshot()
        assert (before.calls.queued, before.calls.in_flight, before.calls.answers) == (1, 0, {})
        await world.until_results(1)
        assert (before.calls.queued, before.calls.answers, before.partners[0].unsettled) == (1, {}, 1)
        assert world.delivery.snapshot().calls.answers == {("P", "204"): 1}

    virtual_time.run(main())


def test_a_thousand_partners_are_told_up_to_a_bound_and_the_rest_together() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: FAILED, concurrency=1)
        for number in range(1_000):
            world.submit(*numbered(2 if number == 999 else 1), partner=f"p-{number}")
        await world.until(1.0)
        found = world.delivery.snapshot()
        assert len(found.calls.unsettled) == len(found.calls.stopped) == MOST_PARTNERS + 1
        assert sum(found.calls.unsettled.values()) == 1_001
        assert found.calls.unsettled[OTHER] >= 900
        assert len(found.partners) == MOST_TOLD
        assert found.partners[0].code == "p-999", "those with the most calls first"

    virtual_time.run(main())


def test_of_those_that_are_told_together_one_that_is_stopped_shows() -> None:
    async def main() -> None:
        codes, denied = [f"p-{number}" for number in range(MOST_PARTNERS + 50)], set[str]()
        world = DeliveryWorld(lambda call: DENIED if call.partner_code in denied else OK)
        for code in codes:
            world.submit("o", partner=code)
        await world.until(5.0)
        told_apart = world.delivery.snapshot().calls.stopped
        first = next(code for code in codes if code not in told_apart)
        denied.add(first)
        world.submit("another", partner=first)
        await world.until(10.0)
        found = world.delivery.snapshot().calls
        assert {name: stops for name, stops in found.stopped.items() if stops} == {OTHER: ("credentials",)}
        assert found.unsettled[OTHER] == 1

    virtual_time.run(main())


def test_the_rate_limit_is_that_of_this_instance() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: OK, rate_limit=10)
        world.delivery.set_share(0.25)
        world.submit("o-1")
        assert world.delivery.snapshot().partners[0].rate_limit == 2.5
        free = DeliveryWorld(lambda _: OK)
        free.submit("o-1")
        assert free.delivery.snapshot().partners[0].rate_limit is None

    virtual_time.run(main())
