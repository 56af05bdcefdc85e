"""What the delivery is doing, as a frozen value: who is stopped, by what, and how many calls wait."""

from __future__ import annotations

import pytest
from support import virtual_time
from support.delivery_world import DENIED, FAILED, NOT_FOUND, OK, REFUSED, DeliveryWorld, numbered, slow_down
from support.owner import OWNER

from consumer.calls import Answer, AnswerKind
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


@pytest.mark.parametrize("answer", [DENIED, FAILED, NOT_FOUND, slow_down(100.0)])
def test_a_partner_without_a_call_is_not_stopped(answer: Answer) -> None:
    """Its partitions went to another instance. Nobody probes without a call, so nobody would find that it is over."""

    async def main() -> None:
        world = DeliveryWorld(lambda _: answer, not_found_limit=3)
        world.submit(*numbered(OFFERS_TO_OPEN))
        await world.until(5.0)
        assert world.delivery.snapshot().calls.stopped["P"]
        world.delivery.cancel([OWNER])
        await world.until(50.0)
        found = world.delivery.snapshot()
        assert (found.calls.unsettled, found.calls.stopped) == ({"P": 0}, {"P": ()})
        assert (found.partners[0].stopped_by, found.partners[0].words) == ((), "calling")
        world.submit("another")
        assert world.delivery.snapshot().calls.stopped["P"], "what was known of it is known still"

    virtual_time.run(main())


def test_each_stop_is_told_with_the_answer_that_speaks_for_it() -> None:
    """One request is rejected and waits; later others of the partner fail, are not known, and are denied."""

    async def main() -> None:
        alone = Answer(AnswerKind.CREDENTIALS, 401, None, "not this one")
        answers = {"bad": [REFUSED] * 9, "later": [FAILED, OK], "odd": [DENIED, OK], "mine": [DENIED, alone] * 9}
        world = DeliveryWorld(lambda call: answers[call.offer_id].pop(0))
        told = [("bad", 422), ("later", 422), ("odd", 403)]
        for second, (offer, status) in enumerate(told, 1):
            world.submit(offer)
            await world.until(second)
            (partner,) = world.delivery.snapshot().partners
            assert (offer, partner.last_status) == (offer, status)
        await world.until(60.0)
        (partner,) = world.delivery.snapshot().partners
        assert (partner.stopped_by, partner.last_status, partner.last_note) == (("rejected",), 422, "Unexpected field")
        world.delivery.cancel([OWNER])
        assert world.delivery.snapshot().partners[0].last_status == 403, "nothing stops it: its last failure"

    virtual_time.run(main())


def test_an_offer_that_is_denied_alone_does_not_speak_for_the_credentials() -> None:
    async def main() -> None:
        answers = {"mine": [DENIED, DENIED], "ok": [OK], "key": [Answer(AnswerKind.CREDENTIALS, 401, None, "gone")] * 9}
        world = DeliveryWorld(lambda call: answers[call.offer_id].pop(0), concurrency=1)
        world.submit("mine", "ok")
        await world.until(70.0)
        (partner,) = world.delivery.snapshot().partners
        assert (partner.stopped_by, partner.last_status, partner.rejected) == (("rejected",), 403, 1)
        world.submit("key")
        await world.until(75.0)
        (partner,) = world.delivery.snapshot().partners
        assert (partner.stopped_by, partner.last_status) == (("credentials", "rejected"), 401)

    virtual_time.run(main())


def test_of_many_calls_only_those_that_are_rejected_wait_for_that() -> None:
    """One request of 2,000 is rejected; the others go out in their turn."""

    async def main() -> None:
        world = DeliveryWorld(lambda call: REFUSED if call.offer_id == "bad" else OK, rate_limit=10)
        world.submit("bad", *numbered(2_000))
        await world.until(5.0)
        (partner,) = world.delivery.snapshot().partners
        assert (partner.stopped_by, partner.rejected, partner.waiting) == (("rejected",), 1, 1)
        assert partner.unsettled > 1_900
        world.insurer = lambda _: DENIED
        await world.until(10.0)
        (partner,) = world.delivery.snapshot().partners
        assert partner.waiting == partner.unsettled, "now all of them wait"

    virtual_time.run(main())


def test_a_partner_that_is_stopped_is_told_though_many_have_more_calls() -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda call: DENIED if call.partner_code == "denied" else OK, rate_limit=0.01)
        for number in range(MOST_TOLD):
            world.submit(*numbered(5), partner=f"p-{number}")
        world.submit("o", partner="denied")
        await world.until(5.0)
        found = world.delivery.snapshot().partners
        assert (len(found), found[0].code) == (MOST_TOLD, "denied")

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
