"""A purchase that is read while its offer's call still waits: the call is taken back, as a restart would have it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy

import httpx
import pytest
from support import virtual_time
from support.builders import NOW, checkout, offer
from support.delivery_world import FAILED, NOT_FOUND, OK, REFUSED, DeliveryWorld, make_calls
from support.guarded_instance import LATER, RULES
from support.loop_world import LoopWorld
from support.owner import OWNER
from support.runner_world import RunnerWorld, record
from support.strategies import FAR, START

from consumer.calls import Answer, CallResult, Withheld
from consumer.core.admission import Admission, CheckoutEffect
from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.delivery.thread import DeliveryThread
from consumer.events import CheckoutCompleted, OfferPresented, Outcome, Reason
from consumer.settings import ApiSettings, DeliverySettings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials

BEGIN = Position(0)


def bought(at: int, offset: int = 0) -> CheckoutCompleted:
    return CheckoutCompleted("s", f"c{offset}", START + at, offset, ("o1",))


class Decided:
    """A task that has decided one offer of each partner as abandoned, at 100, and does not settle it."""

    def __init__(self, *partners: str, watermark: int = 200) -> None:
        self.task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN)
        self.shown = [OfferPresented("s", partner, "o1", START, n) for n, partner in enumerate(partners or ("ada",))]
        for shown in self.shown:
            self.task.offer(shown, START, LATER)
        for side in Side:
            self.task.idle(side, START + watermark)
        self.chains = self.task.decide()
        assert {chain.reason for chain in self.chains} == {Reason.ABANDONED}

    def read(self, *checkouts: CheckoutCompleted) -> tuple[list[Chain], list[Chain]]:
        """What is to be taken back, and what was called before, after these checkouts."""
        effects = [self.task.checkout(copy(event), min(event.completed_at, LATER), LATER) for event in checkouts]
        return (
            [chain for effect in effects for chain in effect.bought_before_settled],
            [chain for effect in effects for chain in effect.bought_after_call],
        )


def test_a_restart_finds_the_purchase_of_an_offer_whose_call_waits() -> None:
    world = Decided()
    world.read(bought(50))
    plan = world.task.prepare_commit()
    assert plan is not None
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    again.checkout(bought(50), START + 50, LATER)
    again.offer(world.shown[0], START, LATER)
    assert [found.reason for found in again.decide()] == [Reason.PURCHASED]


def test_a_checkout_of_several_offers_takes_back_the_call_of_each() -> None:
    task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN)
    for offset, offer_id in enumerate(("o1", "o2")):
        task.offer(OfferPresented("s", "ada", offer_id, START, offset), START, LATER)
    for side in Side:
        task.idle(side, START + 200)
    chains = task.decide()
    effect = task.checkout(CheckoutCompleted("s", "c", START + 50, 0, ("o1", "o2")), START + 50, LATER)
    assert effect.bought_before_settled == tuple(chains)


@pytest.mark.parametrize("at", [-10_000, -301, -300, 50, 100, 101, 10_000])
def test_a_purchase_takes_the_call_back_while_it_waits_whatever_its_date(at: int) -> None:
    world = Decided()
    assert world.read(bought(at)) == (world.chains, [])
    assert world.read(bought(at, 1)) == ([], []), "once"


@pytest.mark.parametrize("at", [-301, 101, 10_000])
def test_a_purchase_that_the_decision_does_not_count_and_that_is_read_before_it_is_known_with_it(at: int) -> None:
    task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.offer(OfferPresented("s", "ada", "o1", START, 0), START, LATER)
    task.checkout(bought(at), min(START + at, LATER), LATER)
    for side in Side:
        task.idle(side, START + 200)
    (chain,) = task.decide()
    assert chain.reason is Reason.ABANDONED, "the decision is the same"
    assert chain.bought_by is not None
    assert chain.bought_by.completed_at == START + at


def test_the_first_call_waits_while_the_offer_is_shown_again_and_the_second_chain_is_bought() -> None:
    world = Decided()
    world.task.offer(OfferPresented("s", "ada", "o1", START + 150, 1), START + 150, LATER)
    assert world.read(bought(160)) == (world.chains, [])
    for side in Side:
        world.task.idle(side, START + 300)
    (second,) = world.task.decide()
    assert (second.reason, second.bought_by) == (Reason.PURCHASED, None)


@pytest.mark.parametrize("at", [-10_000, 101, 10_000])
def test_an_undated_purchase_withholds_the_call_wherever_it_lies(at: int) -> None:
    world = Decided()
    effect = world.task.checkout(CheckoutCompleted("s", "c", FAR, 0, ("o1",)), max(START + at, 0), LATER)
    assert effect == CheckoutEffect(Admission.IMPLAUSIBLE, bought_before_settled=tuple(world.chains))


def test_what_is_listed_after_a_restart_knows_the_purchase_from_after_its_decision() -> None:
    world = Decided()
    world.read(bought(10_000))
    plan = world.task.prepare_commit()
    assert plan is not None
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    again.offer(world.shown[0], START, LATER)
    assert again.restoring
    again.checkout(bought(10_000), START + 10_000, LATER)
    (chain,) = again.decide()
    assert chain.reason is Reason.ABANDONED
    assert chain.bought_by is not None


@pytest.mark.parametrize("read_again", [True, False])
def test_a_second_purchase_after_a_restart_is_a_surprise_only_where_no_first_one_is_known(read_again: bool) -> None:
    world = Decided("ada", "bob")
    bob = world.chains[1]
    if read_again:
        world.read(bought(10_000))
    world.task.settle(bob, called=not read_again)
    plan = world.task.prepare_commit()
    assert plan is not None
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    for shown in world.shown:
        again.offer(shown, START, LATER)
    if read_again:
        again.checkout(bought(10_000), START + 10_000, LATER)
    again.decide()
    effect = again.checkout(bought(10_001, 1), START + 10_001, LATER)
    assert [chain.partner_code for chain in effect.bought_after_call] == ([] if read_again else ["bob"])


def test_a_purchase_withholds_the_call_that_waits_and_is_reported_for_the_one_that_was_made() -> None:
    world = Decided("ada", "bob")
    world.task.settle(world.chains[0])
    assert world.read(bought(10_000)) == ([world.chains[1]], [world.chains[0]])


def test_the_purchase_of_a_withheld_offer_names_an_offer_for_the_guard() -> None:
    world = Decided()
    world.read(bought(150))
    world.task.settle(world.chains[0], called=False)
    for side in Side:
        world.task.idle(side, START + 300)
    world.task.guard.ids.judge(world.task.watermark)
    row = world.task.guard.ids.row
    assert (row.times, row.right_before) == ([], START + 150 + 1)


def test_an_undated_purchase_takes_back_what_it_may_have_bought() -> None:
    world = Decided()
    effect = world.task.checkout(CheckoutCompleted("s", "c", FAR, 0, ("o1",)), START + 50, LATER)
    assert effect == CheckoutEffect(Admission.IMPLAUSIBLE, bought_before_settled=tuple(world.chains))


@pytest.mark.parametrize("settled", [False, True])
def test_a_checkout_that_names_an_offer_for_each_of_its_products_tells_of_it_once(settled: bool) -> None:
    world = Decided()
    if settled:
        world.task.settle(world.chains[0])
    twice = CheckoutCompleted("s", "c", START + 150, 0, ("o1", "o1"))
    assert world.read(twice) == (([], world.chains) if settled else (world.chains, []))


def test_an_id_that_a_checkout_names_twice_is_one_id_without_a_match() -> None:
    world = Decided()
    world.read(CheckoutCompleted("s", "c", START + 150, 0, ("booking", "booking")))
    world.task.guard.ids.judge(START + 10**5)
    assert world.task.guard.ids.unmatched == 1


def test_what_is_settled_is_not_taken_back_but_reported() -> None:
    world = Decided()
    world.task.settle(world.chains[0])
    assert world.read(bought(50)) == ([], world.chains)


def test_every_call_of_the_offer_that_waits_is_taken_back() -> None:
    world = Decided("ada", "bob", "eve")
    world.task.settle(world.chains[1])
    withheld, told = world.read(bought(50))
    assert {chain.partner_code for chain in withheld} == {"ada", "eve"}
    assert told == [world.chains[1]]


def test_a_call_that_waits_is_found_behind_one_that_was_settled_and_one_decided_later() -> None:
    world = Decided("ada", "bob")
    world.task.settle(world.chains[1])
    world.task.offer(OfferPresented("s", "eve", "o1", START + 150, 2), START + 150, LATER)
    for side in Side:
        world.task.idle(side, START + 300)
    (eve,) = world.task.decide()
    assert world.read(bought(60)) == ([eve, world.chains[0]], [world.chains[1]])


def test_a_call_that_waits_for_long_is_taken_back_too_and_is_forgotten_once_it_is_settled() -> None:
    world = Decided("ada", "bob")
    first, second = world.chains
    world.task.settle(second)
    for late in (10**5, 2 * 10**5):
        for side in Side:
            world.task.idle(side, START + late)
        assert world.task.decide() == []
    assert world.read(bought(50))[0] == [first]
    world.task.settle(first)
    for side in Side:
        world.task.idle(side, START + 3 * 10**5)
    world.task.decide()
    assert world.read(bought(50, 1))[1] == []


def test_what_was_called_and_settled_is_forgotten_whatever_was_called_after_it() -> None:
    world = Decided("ada", "bob")
    for chain in world.chains:
        world.task.settle(chain)
    for side in Side:
        world.task.idle(side, START + 10**5)
    world.task.decide()
    assert world.read(bought(50)) == ([], [])


# --- the runner


def late_purchase(world: RunnerWorld) -> Sequence[int]:
    """Returns the starts of the chains whose calls are to be taken back."""
    return world.runner.on_message(Side.CHECKOUTS, checkout(0, 10_500, "o1", session="s1", checkout_id="late"), NOW)


def fates(world: RunnerWorld) -> list[tuple[Outcome, Reason, str | None]]:
    return [(o.outcome, o.reason, o.checkout_id) for o in world.sink.outcomes]


PURCHASED = [(Outcome.PURCHASED, Reason.PURCHASED, "late")]


@pytest.mark.parametrize("outcome", [None, Outcome.DEAD_LETTERED, Outcome.RELEASED])
@pytest.mark.parametrize("maybe_recorded", [False, True])
def test_a_call_that_is_not_made_any_more_is_settled_as_purchased(
    outcome: Outcome | None, maybe_recorded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    world = RunnerWorld()
    call = world.call()
    assert world.runner.withholds(call) is None
    assert late_purchase(world) == [call.chain_start]
    assert world.runner.withholds(call) == Withheld()
    world.runner.on_result(CallResult(call, outcome, None, 1, None, maybe_recorded))
    assert fates(world) == PURCHASED
    assert (world.committed, world.runner.outstanding, world.reader.asked, world.sink.records) == (1, 0, [], [])
    assert ("purchase_after_opt_out" in capsys.readouterr().out) is maybe_recorded


@pytest.mark.parametrize("outcome", [Outcome.OPTED_OUT, Outcome.NOT_FOUND])
def test_a_call_that_was_made_all_the_same_is_told_as_it_was_and_reported(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    world = RunnerWorld()
    call = world.call()
    late_purchase(world)
    world.runner.on_result(CallResult(call, outcome, 204, 1, None))
    assert fates(world) == [(outcome, Reason.ABANDONED, None)]
    assert world.committed == 1
    assert "purchase_after_opt_out" in capsys.readouterr().out


def test_an_offer_bought_while_its_record_is_read_again_is_not_dead_lettered() -> None:
    world = RunnerWorld()
    refused = world.refused()
    late_purchase(world)
    assert world.runner.on_record_fetched(refused, record()) is None
    assert fates(world) == PURCHASED
    assert (world.committed, world.runner.outstanding, world.sink.records) == (1, 0, [])


def test_after_the_runner_is_closed_nothing_is_settled_as_purchased() -> None:
    world = RunnerWorld()
    call = world.call()
    late_purchase(world)
    world.runner.close()
    world.runner.on_result(CallResult(call, None, None, 0, None))
    assert (world.committed, world.runner.outstanding, fates(world)) == (0, 0, [])


def test_an_offer_bought_before_its_call_is_handed_out_is_not_called() -> None:
    world = RunnerWorld()
    world.runner.on_message(Side.OFFERS, offer(0, 10_000), NOW)
    for side in Side:
        world.runner.task.idle(side, 12_000)
    due = world.runner.task.decide()
    world.runner.task._listed = due  # as after a rebuild, with more records in the same batch
    late_purchase(world)
    assert world.runner.decide() == []
    assert fates(world) == PURCHASED


# --- the service and the delivery


def test_a_call_that_waits_is_taken_back_when_its_purchase_is_read() -> None:
    world = LoopWorld()
    world.begin()
    world.decide()
    (call,) = world.delivery.calls
    world.turn([checkout(0, 10_500, "o1", session="s1", checkout_id="late")])
    assert world.delivery.withdrawn == [call.chain_start]
    world.delivery.answer(None)
    world.turn()
    assert [(o.outcome, o.checkout_id) for o in world.sink.outcomes] == [(Outcome.PURCHASED, "late")]
    world.commit()
    assert world.committed == 1
    assert world.delivery.withdrawn == [call.chain_start], "once"


@pytest.mark.parametrize("answer", [FAILED, REFUSED, NOT_FOUND])
def test_a_withdrawn_call_is_made_no_more_whatever_it_waits_for(answer: Answer) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: answer)
        world.delivery.submit(make_calls(["bought", "stays"]))
        await world.until(0.15)
        world.delivery.withdraw(OWNER, {0})
        assert world.outcomes() == {"bought": None}
        await world.until(400.0)
        assert world.offers().count("bought") == 1

    virtual_time.run(main())


@pytest.mark.parametrize(("answer", "outcome"), [(OK, Outcome.OPTED_OUT), (FAILED, None)])
def test_a_withdrawn_call_in_flight_counts_if_its_answer_settles_it(answer: Answer, outcome: Outcome | None) -> None:
    async def main() -> None:
        world = DeliveryWorld(lambda _: answer, concurrency=1)
        world.delivery.submit(make_calls(["flies", "waits"]))
        await world.until(0.05)
        world.delivery.withdraw(OWNER, {0, 1})
        await world.until_results(2)
        assert world.outcomes() == {"waits": None, "flies": outcome}
        assert world.offers() == ["flies"]

    virtual_time.run(main())


def test_the_thread_that_makes_the_calls_hands_a_withdrawal_on() -> None:
    api, refusing = ApiSettings(auth="none"), httpx.MockTransport(lambda _: httpx.Response(422))
    thread = DeliveryThread(
        lambda _: OptOutApi(api, Credentials(api, time.time), refusing, time.time),
        DeliverySettings(),
    )
    thread.start()
    try:
        thread.submit(make_calls(["bought", "stays"]))
        thread.withdraw(OWNER, [0])
        result = thread.results.get(timeout=10)
        assert (result.call.offer_id, result.outcome) == ("bought", None)
        thread.check()
        assert thread.results.empty()
    finally:
        thread.stop(1.0)
